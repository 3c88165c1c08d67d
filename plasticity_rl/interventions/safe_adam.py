"""Adam with settings that spare units."""

from dataclasses import dataclass
from typing import Annotated, Any

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class SafeAdam(Intervention):
    """Set a shorter average of squared gradients and a larger epsilon in Adam (Lyle et al. 2023, arXiv 2303.01486).

    Adam divides by past gradients; where these were small and suddenly grow, as at a task change, its steps are many learning rates long,
    and ReLUs die. Both values are the paper's by a secondary source, and those of a second code (Chung et al. 2024, arXiv 2412.07224).
    Refused for optimizers without these fields, as SGD; a benchmark whose own Adam has an epsilon, as the games do, needs
    `adam:epsilon=1e-3` set. No further forward pass, no task boundaries.
    """

    beta2: Annotated[float, Interval("[0, 1)")] = 0.9
    """share of the average of squared gradients kept per update; Adam's is 0.999"""
    epsilon: Annotated[float, Interval("(0, inf)")] = 1e-3
    """constant added to its root; Adam's is 1e-8"""

    def __post_init__(self) -> None:
        check(self)

    def optimizer(self) -> dict[str, Any]:
        return {"beta2": self.beta2, "epsilon": self.epsilon}
