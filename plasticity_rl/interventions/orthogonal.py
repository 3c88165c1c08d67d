"""Orthogonal initial weights."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class Orthogonal(Intervention):
    """Weights that keep all lengths at the start, times the activation's gain (Saxe et al. 2014, arXiv 1312.6120); biases 0.

    torch.nn.init.orthogonal_ of a weight as a matrix (units, all else), with the gains of torch.nn.init.calculate_gain, and 1 for heads. A
    refresh draws a whole new matrix: where it replaces single units, their rows are orthogonal to each other, not to those that stay.
    """

    def build(self) -> dict[str, Any]:
        return {"initial": "orthogonal"}
