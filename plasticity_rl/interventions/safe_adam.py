"""Adam that spares units."""

from dataclasses import dataclass
from typing import Annotated, Any

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class SafeAdam(Intervention):
    """A shorter memory of squared gradients and a larger epsilon, against the steps that silence units when a task changes (Lyle et al.
    2023, arXiv 2303.01486).

    Adam divides by what gradients were; where they were small and grow at once, its steps are many learning rates long, and ReLUs die. Both
    values are the paper's by a secondary source, and those of a second code (Chung et al. 2024, arXiv 2412.07224). It sets fields of the
    optimizer, and one without them, as SGD, is refused; a benchmark whose own Adam has an epsilon, as the games do, needs
    `adam:epsilon=1e-3` said. No further forward pass, no task boundaries.
    """

    beta2: Annotated[float, Interval("[0, 1)")] = 0.9
    """what the average of squared gradients keeps at every update; Adam's is 0.999"""
    epsilon: Annotated[float, Interval("(0, inf)")] = 1e-3
    """what is added to its root; Adam's is 1e-8"""

    def __post_init__(self) -> None:
        check(self)

    def optimizer(self) -> dict[str, Any]:
        return {"beta2": self.beta2, "epsilon": self.epsilon}
