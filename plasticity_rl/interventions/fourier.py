"""Deep Fourier features."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class Fourier(Intervention):
    """Sine and cosine of each unit, one of which is always nearly linear in it (Lewandowski et al. 2024, arXiv 2410.20634).

    Layers keep their number of units, and what reads them is twice as wide; whether the paper halves the layers, and how it scales what
    goes into the sine, could not be confirmed. Units are seen, recycled and embedded as CReLU says, and as much is multiplied.
    """

    def build(self) -> dict[str, Any]:
        return {"activation": "fourier"}
