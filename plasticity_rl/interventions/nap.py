"""Normalize-and-project."""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from plasticity_rl.checks import UsageError, check
from plasticity_rl.interventions.base import Intervention, Layers, State, select
from plasticity_rl.networks import HOMOGENEOUS, Params

TINY = 1e-12  # a weight of zeros, as when all that it reads is recycled, has no direction to be held in and stays


@dataclass(frozen=True)
class NormalizeAndProject(Intervention):
    """A norm before every activation, and every hidden weight held at its initial Frobenius norm (Lyle et al. 2024, arXiv 2407.01800).

    A normalised layer does not feel the length of its weight, so growth of that length is a decay of the effective learning rate; the
    projection stops it, and the learning-rate schedule becomes the only one. One norm per weight tensor, heads free, the optimizer's memory
    untouched; after every update, as in the paper (which found every 1,000 updates nearly as good).

    The paper names three ways with the norm's scale and offset, and the sources at hand do not say which experiment used which:
    - `joint`: (scale, offset) of a layer together held at their initial length, sqrt(units). Right where the activation is homogeneous, as
      ReLU is, and refused elsewhere.
    - `toward_init`: pulled toward (1, 0) by `pull` of the distance after every update. The strength is ours.
    - `frozen`: held at (1, 0).
    """

    norm: Literal["layer", "rms", "given"] = "layer"
    """the norm it builds; `given` takes what the network or another method brings, and refuses a network without one"""
    scale_and_offset: Literal["joint", "toward_init", "frozen"] = "joint"
    pull: float = 1e-3
    """per update, for `toward_init`"""

    def __post_init__(self) -> None:
        check(self, pull="(0, 1]")

    def build(self) -> dict[str, Any]:
        return {} if self.norm == "given" else {"norm": self.norm}

    def require(self, layers: Layers) -> None:
        for layer in select(layers, "hidden"):
            if layer.scale is None:
                raise UsageError(
                    f"NormalizeAndProject needs a norm before every activation, and {layer.name} has none: give the network one"
                )
            if self.scale_and_offset == "joint" and layer.activation not in HOMOGENEOUS:
                raise UsageError(
                    f"NormalizeAndProject: scale_and_offset=joint needs a homogeneous activation ({', '.join(HOMOGENEOUS)}), and "
                    f"{layer.name} has {layer.activation}; take toward_init or frozen"
                )

    def init(self, params: Params, layers: Layers) -> State:
        return {layer.weight: params[layer.weight].norm() for layer in select(layers, "hidden")}

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        held = {weight: params[weight] * (length / params[weight].norm().clamp(min=TINY)) for weight, length in state.items()}
        for layer in select(layers, "hidden"):
            assert layer.scale is not None and layer.offset is not None
            scale, offset = params[layer.scale], params[layer.offset]
            if self.scale_and_offset == "joint":
                factor = layer.units**0.5 / (scale.square().sum() + offset.square().sum()).sqrt().clamp(min=TINY)
                held |= {layer.scale: scale * factor, layer.offset: offset * factor}
            elif self.scale_and_offset == "toward_init":
                held |= {layer.scale: scale + self.pull * (1 - scale), layer.offset: offset - self.pull * offset}
            else:
                held |= {layer.scale: torch.ones_like(scale), layer.offset: torch.zeros_like(offset)}
        return params | held, state
