"""Concatenated rectified linear units."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class CReLU(Intervention):
    """Output both relu(x) and relu(-x) of each unit, so that none can die (Abbas et al. 2023, arXiv 2303.07507).

    The activation is from Shang et al. 2016 (arXiv 1603.05201). Layers keep their number of units, and their readers are twice as wide;
    whether Abbas et al. halve the layers to keep the number of parameters could not be confirmed; Kumar et al. (2023, arXiv 2308.11958) do
    narrow them. Methods that look at units see both outputs as samples of one unit; recycling a unit affects the readers of both. Quantile
    embeddings, which gate other units one to one, keep ReLU. On the Nature torso the wider layers take 1.65 times the multiplications of a
    forward pass (counted).
    """

    def build(self) -> dict[str, Any]:
        return {"activation": "crelu"}
