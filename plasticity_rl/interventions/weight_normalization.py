"""Incoming weights of unit length."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from plasticity_rl.checks import UsageError, check
from plasticity_rl.interventions.base import Intervention, State
from plasticity_rl.networks.layers import Layers, Params, select

TINY = 1e-12  # a zero weight cannot be rescaled and stays


@dataclass(frozen=True)
class WeightNormalization(Intervention):
    """Rescale each hidden unit's incoming weights to length 1 after every update, before a norm (Palenicek et al. 2025, arXiv 2506.03758).

    The norm makes a unit's output independent of that length, so the projection changes the effective learning rate and not the function.
    NormalizeAndProject holds a whole tensor at its initial length instead; here each unit has its own, and it is 1 from the start. CrossQ
    with weight normalisation and XQC (arXiv 2509.25174) use it in actor-critic agents of high update rates, with batch renormalisation and
    its running averages, which are not built. The abstracts of both papers were read. That each unit has length 1 is by a secondary source
    and not confirmed, nor is which layers are left out: scale and offset of the norm are free here, and so are heads.
    """

    norm: Literal["layer", "rms", "batch", "given"] = "layer"
    """norm to build; `given` uses the norm of the network or another method. The default is ours. A unit's own length has no effect under
    `batch`; a layer or rms norm divides by all units of its layer together, so that there only their common length has none"""

    projects_birth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)

    def build(self) -> dict[str, Any]:
        return {} if self.norm == "given" else {"norm": self.norm}

    def require(self, layers: Layers) -> None:
        for layer in select(layers, "hidden"):
            if layer.scale is None and layer.activation is not None:
                raise UsageError(
                    f"WeightNormalization needs a norm before every activation, and layer {layer.name!r} has none: give the network one"
                )

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        held: Params = {}
        for layer in select(layers, "hidden"):
            held |= _unit_rows([params[name] for name in layer.weights], layer.weights)
        return params | held, state


def _unit_rows(weights: list[Tensor], names: tuple[str, ...]) -> Params:
    """Several tensors of one layer, rescaled together so that each unit's rows have length 1."""
    square = sum(weight.flatten(1).square().sum(1) for weight in weights)
    assert isinstance(square, Tensor)
    factor = 1 / square.sqrt().clamp(min=TINY)
    return {name: weight * factor.view(-1, *(1,) * (weight.ndim - 1)) for name, weight in zip(names, weights, strict=True)}
