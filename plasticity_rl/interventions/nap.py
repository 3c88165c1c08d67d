"""Normalize-and-project."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, UsageError, check
from plasticity_rl.interventions.base import Intervention, State
from plasticity_rl.networks.activations import HOMOGENEOUS
from plasticity_rl.networks.layers import Layers, Params, select

TINY = 1e-12  # a zero weight, as after recycling all its inputs, cannot be rescaled and stays


@dataclass(frozen=True)
class NormalizeAndProject(Intervention):
    """Add a norm before every activation, and keep every hidden weight at its initial Frobenius norm (Lyle et al. 2024, arXiv 2407.01800).

    A normalised layer is invariant to the length of its weight, so growth of that length lowers the effective learning rate; the projection
    prevents this and leaves the learning-rate schedule as the only one. Each weight tensor has its own norm, heads are free, and optimizer
    state is unchanged. The projection follows every update, as in the paper (which found every 1,000 updates nearly as good). A noisy
    layer's weights and standard deviations are rescaled together, as only their joint scale has no effect. Weights that write to a residual
    stream are included, though their length has an effect: the sum has no norm of its own.

    The paper names three treatments of the norm's scale and offset, and the sources at hand do not say which experiment used which; `free`
    is ours:
    - `joint`: (scale, offset) of a layer together at their initial length, sqrt(units). Exact for homogeneous activations, as ReLU, and
      refused for others; heads read the last hidden layer directly, where the length has an effect.
    - `toward_init`: pulled toward (1, 0) by `pull` of the distance after every update. The strength is ours.
    - `frozen`: fixed at (1, 0).
    - `free`: learned without constraint, so that only weights are held.
    """

    norm: Literal["layer", "rms", "given"] = "layer"
    """norm to build; `given` uses the norm of the network or another method, and refuses a network without one. Batch norms, which the
    paper is not known to have tried, are invariant to the length too and are accepted"""
    scale_and_offset: Literal["joint", "toward_init", "frozen", "free"] = "joint"
    """treatment of the norm's scale and offset, see above; the default is ours"""
    pull: Annotated[float, Interval("(0, 1]")] = 1e-3
    """share of the distance per update, for `toward_init`"""

    def __post_init__(self) -> None:
        check(self)

    def build(self) -> dict[str, Any]:
        return {} if self.norm == "given" else {"norm": self.norm}

    def require(self, layers: Layers) -> None:
        for layer in select(layers, "hidden"):
            if layer.scale is None and layer.activation is not None:
                raise UsageError(
                    f"NormalizeAndProject needs a norm before every activation, and layer {layer.name!r} has none: give the network one"
                )
            if self.scale_and_offset == "joint" and layer.activation not in (*HOMOGENEOUS, None):
                raise UsageError(
                    f"NormalizeAndProject: scale_and_offset=joint needs a homogeneous activation ({', '.join(HOMOGENEOUS)}), and "
                    f"{layer.name} has {layer.activation}; take toward_init, frozen or free"
                )

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        return {layer.weight: _length(params, layer.weights) for layer in select(layers, "hidden")}

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        held: Params = {}
        for layer in select(layers, "hidden"):
            held |= _held(params, layer.weights, state[layer.weight])
            if layer.scale is None or layer.offset is None or self.scale_and_offset == "free":
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
    """Length of several tensors as one vector."""
    return torch.stack([params[name].square().sum() for name in names]).sum().sqrt()


def _held(params: Params, names: tuple[str, ...], length: Tensor | float) -> Params:
    """Several tensors together, rescaled to a length."""
    factor = length / _length(params, names).clamp(min=TINY)
    return {name: params[name] * factor for name in names}
