"""Deep Fourier features."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class Fourier(Intervention):
    """Output the sine and cosine of each unit, one of which is always nearly linear in it (Lewandowski et al. 2024, arXiv 2410.20634).

    Layers keep their number of units, and their readers are twice as wide; whether the paper halves the layers, and how it scales the
    sine's input, could not be confirmed. Units, recycling, quantile embeddings and cost are as in CReLU.
    """

    def build(self) -> dict[str, Any]:
        return {"activation": "fourier"}
