"""Orthogonal initial weights."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class Orthogonal(Intervention):
    """Initialise weights as orthogonal matrices times the activation's gain, biases at 0 (Saxe et al. 2014, arXiv 1312.6120).

    torch.nn.init.orthogonal_ of a weight as a matrix (units, all else), with the gains of torch.nn.init.calculate_gain, and 1 for heads. A
    refresh draws a whole new matrix: if it replaces single units, their rows are orthogonal to each other, not to the remaining ones.
    """

    def build(self) -> dict[str, Any]:
        return {"initial": "orthogonal"}
