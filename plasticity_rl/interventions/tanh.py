"""Hyperbolic tangents."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class Tanh(Intervention):
    """Saturating units, which go out of use by growing constant: no count of silent units sees that."""

    def build(self) -> dict[str, Any]:
        return {"activation": "tanh"}
