"""Gaussian error linear units."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class GELU(Intervention):
    """Multiply x by the standard normal distribution function of x (Hendrycks & Gimpel 2016, arXiv 1606.08415). Exact, without the tanh
    approximation."""

    def build(self) -> dict[str, Any]:
        return {"activation": "gelu"}
