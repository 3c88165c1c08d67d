"""Hyperbolic tangent."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class Tanh(Intervention):
    """Use tanh units, which fail by saturating at a constant (Lyle et al. 2024, arXiv 2402.18762). Counts of silent units do not detect
    this."""

    def build(self) -> dict[str, Any]:
        return {"activation": "tanh"}
