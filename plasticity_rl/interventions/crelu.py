"""Concatenated rectified linear units."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class CReLU(Intervention):
    """Both halves of each unit, relu(x) and relu(-x), so that none can die (Abbas et al. 2023, arXiv 2303.07507).

    The activation is that of Shang et al. 2016 (arXiv 1603.05201). Layers keep their number of units, and what reads them is twice as wide;
    whether Abbas et al. halve the layers to keep the number of parameters could not be confirmed; Kumar et al. (2023, arXiv 2308.11958) do
    narrow them. A method that looks at units sees both outputs of one as samples of it; one that recycles a unit reaches all that reads
    either. Where a fraction is embedded, whose outputs gate others one to one, ReLU stays. On the Nature torso the wider layers take 1.65
    times the multiplications of a forward pass (counted), which an update shows.
    """

    def build(self) -> dict[str, Any]:
        return {"activation": "crelu"}
