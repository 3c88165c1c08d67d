"""Hyperbolic tangents."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class Tanh(Intervention):
    """Saturating units, which go out of use by growing constant (Lyle et al. 2024, arXiv 2402.18762); no count of silent units sees it."""

    def build(self) -> dict[str, Any]:
        return {"activation": "tanh"}
