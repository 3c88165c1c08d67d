"""Leaky rectified linear units."""

from dataclasses import dataclass
from typing import Annotated, Any

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention
from plasticity_rl.optim.optimizers import Optimizer


@dataclass(frozen=True)
class LeakyReLU(Intervention):
    """Keep a slope below zero, so that no unit's gradient dies (Maas, Hannun & Ng 2013). The default is theirs, and PyTorch's."""

    slope: Annotated[float, Interval("[0, 1]")] = 0.01
    """slope below zero; 1 makes units linear"""

    def __post_init__(self) -> None:
        check(self)

    def is_noop(self, optimizer: Optimizer) -> bool:
        return self.slope == 0.0  # ReLU, the default activation

    def build(self) -> dict[str, Any]:
        return {"activation": "leaky-relu", "slope": self.slope}
