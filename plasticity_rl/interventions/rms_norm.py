"""Root mean square normalisation before every activation."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class RMSNorm(Intervention):
    """Divide each example's pre-activations by their root mean square (Zhang & Sennrich 2019, arXiv 1910.07467).

    Layer norm without the mean subtraction, which is one of the two ways in which dead units recover (see LayerNorm). An offset is learned
    beside the scale, unlike in the paper, as biases before the norm are left out (see NetworkSpec).
    """

    def build(self) -> dict[str, Any]:
        return {"norm": "rms"}
