"""One network: a spec says what it is, `build` fixes its shapes, and the Network is three pure things: init, apply, layers.

Parameters are a `dict[str, Tensor]` of ONE network. Nothing about them is guessed from a name or a rank: `Network.layers` is the wiring.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from math import pi, prod
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
    """how many neighbouring inputs of a reader (dimension 1 of its weight) hold one unit: 1, or the positions of a flattened image; of
    a `shared` layer, whose readers may differ in it, it is not told"""
    activation: str | None
    """None for a head, and where the units are first added to others and read without one"""
    weight_noise: str | None = None
    """of a noisy layer: the standard deviations beside the weight, of its shape"""
    bias_noise: str | None = None
    shared: bool = False
    """are these units added to a residual stream? Others write and read the same channels, so no unit there is this layer's alone"""

    @property
    def head(self) -> bool:
        return not self.readers

    @property
    def weights(self) -> tuple[str, ...]:
        """What multiplies the inputs; only all of them together can be rescaled without a trace where a norm follows."""
        return (self.weight,) if self.weight_noise is None else (self.weight, self.weight_noise)

    @property
    def own(self) -> tuple[str, ...]:
        """Its parameters; dimension 0 of each is the units."""
        names = (self.weight, self.bias, self.scale, self.offset, self.weight_noise, self.bias_noise)
        return tuple(name for name in names if name is not None)


class Dense(NamedTuple):
    units: int


class Conv(NamedTuple):
    """A convolution without padding."""

    units: int
    kernel: int
    stride: int


class Block(NamedTuple):
    """A convolution of 3 x 3, a maximum over 3 x 3 at every second position, and two residual branches activation -> convolution ->
    activation -> convolution, each added to what it read (Espeholt et al. 2018, arXiv 1802.01561)."""

    units: int


Stage = Dense | Conv | Block


@dataclass(frozen=True)
class Ends:
    """What an agent asks of a network beyond its torso."""

    heads: tuple[tuple[str, int], ...]
    """name and number of outputs of each linear head; `apply` returns them side by side"""
    streams: bool = False
    """give each head a last hidden layer of its own (dueling; Wang et al. 2016, arXiv 1511.06581)"""
    noise: float | None = None
    """sigma0 of factorised noise in the last hidden layers and the heads (NoisyNets; Fortunato et al. 2018, arXiv 1706.10295)"""
    cosines: int = 0
    """how many cosines of a fraction are embedded and multiplied with what the last hidden layers read (IQN; arXiv 1806.06923)"""
    tasks: int = 1
    """how many sets of heads there are, one for each task"""


@dataclass(frozen=True)
class NetworkSpec(ABC):
    """What every torso shares. Each hidden layer is: linear or convolution -> norm -> activation; the heads are linear alone.

    With a norm, its learnable offset makes the bias before it redundant, so the bias is left out (NaP, arXiv 2407.01800, does so; an rms
    norm carries an offset for the same reason). The norm of a convolution runs over channels and positions of one example; scale and
    offset are per channel. Weights and biases start uniform in +-1/sqrt(fan in), PyTorch's and DQN Zoo's choice; scales at 1, offsets at 0.
    """

    norm: Literal["none", "layer", "rms"] = "none"
    """what stands before every activation"""
    activation: Literal["relu", "leaky-relu", "tanh", "gelu"] = "relu"
    precision: Literal["float32", "bfloat16"] = "float32"
    """of what hidden layers multiply; parameters, norms, heads, losses and the optimizer are float32 all the same"""

    def __post_init__(self) -> None:
        check(self, width="[1, 65536]", depth="[1, 1000]", scale="[1, 64]")

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The hidden layers in order; the last is dense."""

    def shares_well(self, members: int) -> bool:
        """Is an update of so many members enough work to be shared among threads? A few small dense layers are faster on one."""
        return members >= 16 or self.convolves

    @property
    def convolves(self) -> bool:
        """Does it read images as images?"""
        return not all(isinstance(stage, Dense) for stage in self.stages())

    def build(self, inputs: tuple[int, ...], ends: int | Ends) -> "Network":
        """The network for one example of shape `inputs`; a number of outputs stands for one plain head of that name.

        Raises UsageError where the torso cannot read the inputs.
        """
        return Network(self, inputs, Ends((("head", ends),)) if isinstance(ends, int) else ends)


@dataclass(frozen=True)
class MLP(NetworkSpec):
    """Equal dense layers; an image is flattened. Two or three layers of 100 are the field's small standard (Kumar et al. 2023)."""

    width: int = 100
    """units of each hidden layer"""
    depth: int = 3
    """hidden layers"""

    def stages(self) -> tuple[Stage, ...]:
        return (Dense(self.width),) * self.depth


@dataclass(frozen=True)
class Nature(NetworkSpec):
    """The convolutional torso of Mnih et al. 2015 (Nature 518): three convolutions and a dense layer, for inputs (4, 84, 84)."""

    width: int = 512
    """units of the dense layer"""

    def stages(self) -> tuple[Stage, ...]:
        return (Conv(32, 8, 4), Conv(64, 4, 2), Conv(64, 3, 1), Dense(self.width))


@dataclass(frozen=True)
class Impala(NetworkSpec):
    """The residual torso of Espeholt et al. 2018 (arXiv 1802.01561, figure 3, without its LSTM): blocks of 16, 32 and 32 channels.

    Norms stand before the activations, as everywhere: what a residual branch and the dense layer read of the sum is normalised, the sum
    itself is not.
    """

    width: int = 256
    """units of the dense layer"""
    scale: int = 1
    """times as many channels; BBF (arXiv 2305.19452) takes 4"""

    def stages(self) -> tuple[Stage, ...]:
        return (Block(16 * self.scale), Block(32 * self.scale), Block(32 * self.scale), Dense(self.width))


class _Step(NamedTuple):
    """How a layer of the torso computes."""

    layer: Layer
    stride: int = 0
    """0 for a dense layer"""
    padding: int = 0
    pool: bool = False
    adds: bool = False


class Network:
    """Pure functions of one network's parameters. Made by `NetworkSpec.build`."""

    def __init__(self, spec: NetworkSpec, inputs: tuple[int, ...], ends: Ends) -> None:
        self.spec, self.inputs, self.ends = spec, inputs, ends
        self.outputs = sum(outputs for _, outputs in ends.heads)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._torso: list[_Step] = []
        *stages, last = spec.stages()
        assert isinstance(last, Dense)
        names = [f"hidden{i}" for i in range(len(stages) + 1)]
        streams = [f"{names[-1]}_{name}" for name, _ in ends.heads] if ends.streams else [names[-1]] * len(ends.heads)
        tops = tuple(dict.fromkeys(streams))
        shape = inputs
        for i, (stage, onward) in enumerate(pairwise((*stages, last))):
            shape = self._add_stage(names[i], stage, shape, tops if i == len(stages) - 1 else (names[i + 1],), onward)
        self._embedding: Layer | None = None
        if ends.cosines:
            self._embedding = self._layer("quantiles", (prod(shape), ends.cosines), tops)
        self._tops = [
            self._layer(
                top, (last.units, prod(shape)), tuple(h for (h, _), s in zip(ends.heads, streams, strict=True) if s == top), noisy=True
            )
            for top in tops
        ]
        self._heads = [self._layer(name, (outputs * ends.tasks, last.units), (), noisy=True) for name, outputs in ends.heads]
        self._feeds = [tops.index(stream) for stream in streams]
        embedding = () if self._embedding is None else (self._embedding,)
        self.layers: tuple[Layer, ...] = (*(step.layer for step in self._torso), *embedding, *self._tops, *self._heads)
        self.noise = 0
        """how many normal numbers a noisy network takes for one example; 0 for others"""
        self._numbers: dict[str, slice] = {}
        for layer in self.layers:
            if layer.weight_noise is not None:
                start, self.noise = self.noise, self.noise + sum(self.shapes[layer.weight])
                self._numbers[layer.name] = slice(start, self.noise)

    def _add_stage(self, name: str, stage: Stage, shape: tuple[int, ...], readers: tuple[str, ...], onward: Stage) -> tuple[int, ...]:
        """Wire one stage of the torso, which the stage `onward` reads; returns the shape of what it makes."""
        if isinstance(stage, Dense):
            self._torso.append(_Step(self._layer(name, (stage.units, prod(shape)), readers)))
            return (stage.units,)
        kernel = stage.kernel if isinstance(stage, Conv) else 3
        if len(shape) != 3 or min(shape[1:]) < kernel:
            torso = type(self.spec).__name__
            raise UsageError(f"{torso} cannot read inputs of shape {self.inputs}: {name} reads images of {kernel} x {kernel} or more")
        if isinstance(stage, Conv):
            shape_after = (stage.units, *((side - kernel) // stage.stride + 1 for side in shape[1:]))
            columns = prod(shape_after[1:]) if isinstance(onward, Dense) else 1
            weight = (stage.units, shape[0], kernel, kernel)
            self._torso.append(_Step(self._layer(name, weight, readers, columns), stage.stride))
            return shape_after
        branches = [f"{name}_{branch}" for branch in (1, 2)]
        square = (stage.units, stage.units, 3, 3)
        for which, writer in enumerate((name, *(f"{branch}b" for branch in branches))):
            later = (*(f"{branch}a" for branch in branches[which:]), *readers)  # all that read the sum from here on
            weight = square if which else (stage.units, shape[0], 3, 3)
            layer = self._layer(writer, weight, later, shared=True, bare=which == 2 and isinstance(onward, Block))
            self._torso.append(_Step(layer, 1, 1, pool=which == 0, adds=which > 0))
            if which < 2:
                self._torso.append(_Step(self._layer(f"{branches[which]}a", square, (f"{branches[which]}b",)), 1, 1))
        return (stage.units, *((side + 1) // 2 for side in shape[1:]))

    def _layer(
        self,
        name: str,
        weight: tuple[int, ...],
        readers: tuple[str, ...],
        columns: int = 1,
        noisy: bool = False,
        shared: bool = False,
        bare: bool = False,
    ) -> Layer:
        bare = bare or not readers
        normed, noisy = not bare and self.spec.norm != "none", noisy and self.ends.noise is not None
        layer = Layer(
            name=name,
            weight=f"{name}.weight",
            bias=None if normed else f"{name}.bias",
            scale=f"{name}.scale" if normed else None,
            offset=f"{name}.offset" if normed else None,
            units=weight[0],
            readers=readers,
            columns=columns,
            activation=None if bare else self.spec.activation,
            weight_noise=f"{name}.weight_noise" if noisy else None,
            bias_noise=f"{name}.bias_noise" if noisy and not normed else None,
            shared=shared,
        )
        self.shapes |= dict.fromkeys(layer.own, (layer.units,)) | dict.fromkeys(layer.weights, weight)
        return layer

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
                elif name in (layer.weight_noise, layer.bias_noise):
                    assert self.ends.noise is not None
                    params[name] = torch.full(self.shapes[name], self.ends.noise * bound)
                else:
                    params[name] = (torch.rand(self.shapes[name], generator=generator) * 2 - 1) * bound
        return params

    def cast(self, params: Params) -> Params:
        """Copies of `params`, of what `apply` multiplies with in its own precision: the same outputs, without a conversion each time."""
        hidden = {name for layer in self.layers if not layer.head for name in layer.weights}
        low = hidden if self.spec.precision == "bfloat16" else ()
        return {name: param.bfloat16() if name in low else param.clone() for name, param in params.items()}

    def apply(
        self,
        params: Params,
        inputs: Tensor,
        noise: Tensor | None = None,
        fractions: Tensor | None = None,
        task: Tensor | None = None,
        raw: bool = False,
    ) -> tuple[Tensor, Params]:
        """`inputs` (batch, *shape), float or uint8 (then divided by 255) -> outputs (batch, outputs), the heads side by side, and each
        hidden layer's units after the activation, or before it where they are to be `raw`, (samples, units): a sample is an example, or one
        position of one example's convolution.

        `noise` (batch or 1, self.noise) are normal numbers; without them a noisy network is its mean. `fractions` (batch, K) in (0, 1) are
        for a network with cosines, whose outputs are (batch, K, outputs); without them, the middles of 8 equal parts. `task` (batch,) or ()
        says whose heads answer; without it, task 0's.
        """
        x = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs
        total = x  # of a residual stream
        features: Params = {}
        for step in self._torso:
            layer = step.layer
            x = self._linear(params, layer, x, step=step)
            if step.pool:
                x = F.max_pool2d(x, 3, 2, padding=1)
            x = total + x if step.adds else x
            if layer.shared:
                total = x
            x = self._activate(params, layer, x, features, raw)
        x, batch = x.flatten(1), len(inputs)
        if self._embedding is not None:
            x = self._embed(params, x, fractions, features, raw)
        rows = len(x) // batch  # of one example: its fractions
        if noise is not None and len(noise) > 1:
            noise = noise.repeat_interleave(rows, 0)
        tops = [self._activate(params, layer, self._linear(params, layer, x, noise), features, raw) for layer in self._tops]
        task = None if task is None else task.expand(batch).repeat_interleave(rows, 0)
        outputs = [
            self._of_task(self._linear(params, layer, tops[top], noise), task) for layer, top in zip(self._heads, self._feeds, strict=True)
        ]
        result = torch.cat(outputs, -1)
        return (result if self._embedding is None else result.view(batch, rows, -1)), features

    def _linear(self, params: Params, layer: Layer, x: Tensor, noise: Tensor | None = None, step: _Step | None = None) -> Tensor:
        """The layer's weights on `x`, hidden ones in the spec's precision."""
        kind = torch.bfloat16 if self.spec.precision == "bfloat16" and not layer.head else params[layer.weight].dtype
        x, weight = x.to(kind), params[layer.weight].to(kind)
        bias = None if layer.bias is None else params[layer.bias].to(kind)
        if step is not None and step.stride:
            return F.conv2d(x, weight, bias, step.stride, step.padding)
        y = F.linear(x.flatten(1), weight, bias)
        if noise is None or layer.weight_noise is None:
            return y
        numbers = noise[:, self._numbers[layer.name]].to(kind)
        into, out = (numbers.sign() * numbers.abs().sqrt()).split([weight.shape[1], weight.shape[0]], -1)
        bias = None if layer.bias_noise is None else params[layer.bias_noise].to(kind)
        return y + out * F.linear(x * into, params[layer.weight_noise].to(kind), bias)  # an outer product of noise, never made

    def _activate(self, params: Params, layer: Layer, x: Tensor, features: Params, raw: bool) -> Tensor:
        """Norm and activation; the units, after or before it, go into `features`."""
        if layer.activation is None:
            return x
        if layer.scale is not None and layer.offset is not None:
            shape = (-1, *(1,) * (x.ndim - 2))
            x = self._normalize(x.to(params[layer.scale].dtype)) * params[layer.scale].view(shape) + params[layer.offset].view(shape)
        before, x = x, ACTIVATIONS[layer.activation](x)
        features[layer.name] = (before if raw else x).movedim(1, -1).reshape(-1, layer.units).to(params[layer.weight].dtype)
        return x

    def _normalize(self, x: Tensor) -> Tensor:
        if self.spec.norm == "layer":
            return F.layer_norm(x, x.shape[1:], eps=EPSILON)
        return x * (x.square().mean(dim=tuple(range(1, x.ndim)), keepdim=True) + EPSILON).rsqrt()

    def _embed(self, params: Params, x: Tensor, fractions: Tensor | None, features: Params, raw: bool) -> Tensor:
        """Each example's units (batch, units) times the embedding of each of its fractions: (batch x K, units)."""
        assert self._embedding is not None
        if fractions is None:
            fractions = ((torch.arange(8, device=x.device) + 0.5) / 8).expand(len(x), 8)
        cosines = torch.cos(pi * torch.arange(self.ends.cosines, device=x.device) * fractions.reshape(-1, 1))
        embedded = self._activate(params, self._embedding, self._linear(params, self._embedding, cosines), features, raw)
        return x.repeat_interleave(fractions.shape[1], 0) * embedded

    def _of_task(self, outputs: Tensor, task: Tensor | None) -> Tensor:
        """Of (rows, tasks x outputs), what belongs to each row's task."""
        if self.ends.tasks == 1:
            return outputs
        each = outputs.view(len(outputs), self.ends.tasks, -1)
        chosen = torch.zeros_like(outputs[:, 0], dtype=torch.int64) if task is None else task
        return each.gather(1, chosen.view(-1, 1, 1).expand(-1, 1, each.shape[2]))[:, 0]
