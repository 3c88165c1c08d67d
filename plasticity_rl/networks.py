"""One network: a spec says what it is, `build` fixes its shapes, and the Network is three pure things: init, apply, layers.

Parameters are a `dict[str, Tensor]` of ONE network. Nothing about them is guessed from a name or a rank: `Network.layers` is the wiring.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from plasticity_rl.checks import UsageError, check

Params = dict[str, Tensor]

ACTIVATIONS = {"relu": F.relu, "leaky-relu": F.leaky_relu, "tanh": torch.tanh, "gelu": F.gelu}
HOMOGENEOUS = ("relu", "leaky-relu")  # f(cx) = c f(x) for c > 0
EPSILON = 1e-5  # of the norms; PyTorch's default


class Layer(NamedTuple):
    """The names of one layer's parameters, and how it is wired. Units are a dense layer's outputs or a convolution's channels."""

    name: str
    weight: str
    """(units, fan in) or (units, channels, height, width)"""
    bias: str | None
    """(units,)"""
    scale: str | None
    """(units,), of the norm before the activation"""
    offset: str | None
    """(units,)"""
    units: int
    readers: tuple[str, ...]
    """names of the layers that read these units; empty for a head"""
    columns: int
    """how many neighbouring inputs of a reader (dimension 1 of its weight) hold one unit: 1, or the positions of a flattened image"""
    activation: str | None
    """None for a head"""

    @property
    def head(self) -> bool:
        return not self.readers

    @property
    def own(self) -> tuple[str, ...]:
        """Its parameters; dimension 0 of each is the units."""
        return tuple(name for name in (self.weight, self.bias, self.scale, self.offset) if name is not None)


class Dense(NamedTuple):
    units: int


class Conv(NamedTuple):
    """A convolution without padding."""

    units: int
    kernel: int
    stride: int


@dataclass(frozen=True)
class NetworkSpec(ABC):
    """What every torso shares. Each hidden layer is: linear or convolution -> norm -> activation; the head is linear alone.

    With a norm, its learnable offset makes the bias before it redundant, so the bias is left out (NaP, arXiv 2407.01800, does so; an rms
    norm carries an offset for the same reason). The norm of a convolution runs over channels and positions of one example; scale and
    offset are per channel. Weights and biases start uniform in +-1/sqrt(fan in), PyTorch's and DQN Zoo's choice; scales at 1, offsets at 0.
    """

    norm: Literal["none", "layer", "rms"] = "none"
    """what stands before every activation"""
    activation: Literal["relu", "leaky-relu", "tanh", "gelu"] = "relu"

    def __post_init__(self) -> None:
        check(self, width="[1, 65536]", depth="[1, 1000]")

    @abstractmethod
    def stages(self) -> tuple[Dense | Conv, ...]:
        """The hidden layers in order."""

    def shares_well(self, members: int) -> bool:
        """Is an update of so many members enough work to be shared among threads? A few small dense layers are faster on one."""
        return members >= 16 or any(isinstance(stage, Conv) for stage in self.stages())

    def build(self, inputs: tuple[int, ...], outputs: int) -> "Network":
        """The network for one example of shape `inputs`. Raises UsageError where the torso cannot read it."""
        return Network(self, inputs, outputs)


@dataclass(frozen=True)
class MLP(NetworkSpec):
    """Equal dense layers; an image is flattened. Two or three layers of 100 are the field's small standard (Kumar et al. 2023)."""

    width: int = 100
    """units of each hidden layer"""
    depth: int = 3
    """hidden layers"""

    def stages(self) -> tuple[Dense | Conv, ...]:
        return (Dense(self.width),) * self.depth


@dataclass(frozen=True)
class Nature(NetworkSpec):
    """The convolutional torso of Mnih et al. 2015 (Nature 518): three convolutions and a dense layer, for inputs (4, 84, 84)."""

    width: int = 512
    """units of the dense layer"""

    def stages(self) -> tuple[Dense | Conv, ...]:
        return (Conv(32, 8, 4), Conv(64, 4, 2), Conv(64, 3, 1), Dense(self.width))


class Network:
    """Pure functions of one network's parameters. Made by `NetworkSpec.build`."""

    def __init__(self, spec: NetworkSpec, inputs: tuple[int, ...], outputs: int) -> None:
        self.spec, self.inputs, self.outputs = spec, inputs, outputs
        self._stages = (*spec.stages(), Dense(outputs))
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.layers = self._wire()

    def _wire(self) -> tuple[Layer, ...]:
        names = [f"hidden{i}" for i in range(len(self._stages) - 1)] + ["head"]
        layers, shape = [], self.inputs
        for i, (name, stage) in enumerate(zip(names, self._stages, strict=True)):
            head = name == "head"
            if isinstance(stage, Conv):
                if len(shape) != 3 or min(shape[1:]) < stage.kernel:
                    torso, size = type(self.spec).__name__, f"{stage.kernel} x {stage.kernel}"
                    raise UsageError(f"{torso} cannot read inputs of shape {self.inputs}: {name} reads images of {size} or more")
                weight_shape = (stage.units, shape[0], stage.kernel, stage.kernel)
                shape = (stage.units, *((side - stage.kernel) // stage.stride + 1 for side in shape[1:]))
            else:
                weight_shape = (stage.units, prod(shape))
                shape = (stage.units,)
            normed = not head and self.spec.norm != "none"
            flattened = not head and isinstance(stage, Conv) and isinstance(self._stages[i + 1], Dense)
            layer = Layer(
                name=name,
                weight=f"{name}.weight",
                bias=None if normed else f"{name}.bias",
                scale=f"{name}.scale" if normed else None,
                offset=f"{name}.offset" if normed else None,
                units=stage.units,
                readers=() if head else (names[i + 1],),
                columns=prod(shape[1:]) if flattened else 1,
                activation=None if head else self.spec.activation,
            )
            self.shapes |= dict.fromkeys(layer.own, (stage.units,)) | {layer.weight: weight_shape}
            layers.append(layer)
        return tuple(layers)

    def init(self, generator: torch.Generator) -> Params:
        """A new network's parameters, float32, drawn from `generator` alone."""
        params: Params = {}
        for layer in self.layers:
            bound = prod(self.shapes[layer.weight][1:]) ** -0.5
            for name in layer.own:
                if name == layer.scale:
                    params[name] = torch.ones(self.shapes[name])
                elif name == layer.offset:
                    params[name] = torch.zeros(self.shapes[name])
                else:
                    params[name] = (torch.rand(self.shapes[name], generator=generator) * 2 - 1) * bound
        return params

    def apply(self, params: Params, inputs: Tensor) -> tuple[Tensor, Params]:
        """`inputs` (batch, *shape), float or uint8 (then divided by 255) -> outputs (batch, outputs), and each hidden layer's units after
        the activation, (samples, units): a sample is an example, or one position of one example's convolution."""
        x = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs
        features: Params = {}
        for layer, stage in zip(self.layers, self._stages, strict=True):
            if isinstance(stage, Conv):
                x = F.conv2d(x, params[layer.weight], None if layer.bias is None else params[layer.bias], stage.stride)
            else:
                x = F.linear(x.flatten(1), params[layer.weight], None if layer.bias is None else params[layer.bias])
            if layer.scale is not None and layer.offset is not None:
                shape = (-1, *(1,) * (x.ndim - 2))
                x = self._normalize(x) * params[layer.scale].view(shape) + params[layer.offset].view(shape)
            if layer.activation is not None:
                x = ACTIVATIONS[layer.activation](x)
                features[layer.name] = x.movedim(1, -1).reshape(-1, layer.units)
        return x, features

    def _normalize(self, x: Tensor) -> Tensor:
        if self.spec.norm == "layer":
            return F.layer_norm(x, x.shape[1:], eps=EPSILON)
        return x * (x.square().mean(dim=tuple(range(1, x.ndim)), keepdim=True) + EPSILON).rsqrt()
