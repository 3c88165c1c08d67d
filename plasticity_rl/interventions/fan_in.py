"""Initial weights scaled by fan in and gain."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class FanIn(Intervention):
    """Initialise weights from a normal distribution of standard deviation gain / sqrt(fan in), biases at 0 (He et al. 2015, arXiv
    1502.01852).

    With ReLU the standard deviation is sqrt(2 / fan in). Gains are those of torch.nn.init.calculate_gain, and 1 for heads. The default
    initialiser is uniform in +-1/sqrt(fan in), smaller by a factor sqrt(6) than this one with ReLU.
    """

    def build(self) -> dict[str, Any]:
        return {"initial": "fan-in"}
