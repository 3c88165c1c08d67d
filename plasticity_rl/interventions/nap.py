"""Normalize-and-project."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, UsageError, check
from plasticity_rl.interventions.base import Intervention, State
from plasticity_rl.networks.activations import HOMOGENEOUS
from plasticity_rl.networks.layers import Layers, Params, select

TINY = 1e-12  # a weight of zeros, as when all that it reads is recycled, has no direction to be held in and stays


@dataclass(frozen=True)
class NormalizeAndProject(Intervention):
    """A norm before every activation, and every hidden weight held at its initial Frobenius norm (Lyle et al. 2024, arXiv 2407.01800).

    A normalised layer does not feel the length of its weight, so growth of that length is a decay of the effective learning rate; the
    projection stops it, and the learning-rate schedule becomes the only one. One norm per weight tensor, heads free, the optimizer's memory
    untouched; after every update, as in the paper (which found every 1,000 updates nearly as good). A noisy layer's weights and standard
    deviations are held together: only their joint scale leaves no trace. What writes to a residual stream is held like the others, though
    its length is felt there: the sum has no norm of its own.

    The paper names three ways with the norm's scale and offset, and the sources at hand do not say which experiment used which:
    - `joint`: (scale, offset) of a layer together held at their initial length, sqrt(units). Right where the activation is homogeneous, as
      ReLU is, and refused elsewhere; heads read the last hidden layer as it is, and feel its length.
    - `toward_init`: pulled toward (1, 0) by `pull` of the distance after every update. The strength is ours.
    - `frozen`: held at (1, 0).
    """

    norm: Literal["layer", "rms", "given"] = "layer"
    """the norm it builds; `given` takes what the network or another method brings, and refuses a network without one. A norm over the
    batch, which the paper is not known to have tried, does not feel the length either and is taken"""
    scale_and_offset: Literal["joint", "toward_init", "frozen"] = "joint"
    """the norm's, see above; the default is ours"""
    pull: Annotated[float, Interval("(0, 1]")] = 1e-3
    """per update, for `toward_init`"""

    def __post_init__(self) -> None:
        check(self)

    def build(self) -> dict[str, Any]:
        return {} if self.norm == "given" else {"norm": self.norm}

    def require(self, layers: Layers) -> None:
        for layer in select(layers, "hidden"):
            if layer.scale is None and layer.activation is not None:
                raise UsageError(
                    f"NormalizeAndProject needs a norm before every activation, and {layer.name} has none: give the network one"
                )
            if self.scale_and_offset == "joint" and layer.activation not in (*HOMOGENEOUS, None):
                raise UsageError(
                    f"NormalizeAndProject: scale_and_offset=joint needs a homogeneous activation ({', '.join(HOMOGENEOUS)}), and "
                    f"{layer.name} has {layer.activation}; take toward_init or frozen"
                )

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        return {layer.weight: _length(params, layer.weights) for layer in select(layers, "hidden")}

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        held: Params = {}
        for layer in select(layers, "hidden"):
            held |= _held(params, layer.weights, state[layer.weight])
            if layer.scale is None or layer.offset is None:
                continue
            scale, offset = params[layer.scale], params[layer.offset]
            if self.scale_and_offset == "joint":
                held |= _held(params, (layer.scale, layer.offset), layer.units**0.5)
            elif self.scale_and_offset == "toward_init":
                held |= {layer.scale: scale + self.pull * (1 - scale), layer.offset: offset - self.pull * offset}
            else:
                held |= {layer.scale: torch.ones_like(scale), layer.offset: torch.zeros_like(offset)}
        return params | held, state


def _length(params: Params, names: tuple[str, ...]) -> Tensor:
    """Of several tensors as one vector."""
    return torch.stack([params[name].square().sum() for name in names]).sum().sqrt()


def _held(params: Params, names: tuple[str, ...], length: Tensor | float) -> Params:
    """Several tensors together rescaled to a length."""
    factor = length / _length(params, names).clamp(min=TINY)
    return {name: params[name] * factor for name in names}
