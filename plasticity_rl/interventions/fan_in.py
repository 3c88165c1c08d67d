"""Initial weights by fan in and gain."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class FanIn(Intervention):
    """Normal weights of standard deviation gain / sqrt(fan in), biases 0 (He et al. 2015, arXiv 1502.01852): sqrt(2 / fan in) with ReLU.

    The gains are those of torch.nn.init.calculate_gain, and 1 for heads. Without it, weights are uniform in +-1/sqrt(fan in), shorter by
    the root of 6 than these with ReLU.
    """

    def build(self) -> dict[str, Any]:
        return {"initial": "fan-in"}
