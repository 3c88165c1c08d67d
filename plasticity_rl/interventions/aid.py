"""Activation by interval-wise dropout."""

from dataclasses import dataclass
from typing import Annotated, Any

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class AID(Intervention):
    """Keep a positive output with probability 1 - slope, and a negative one with probability `slope` (Park et al., ICML 2025, arXiv
    2502.01342).

    Each output of each example is relu(x) or, with probability `slope`, -relu(-x), drawn anew in every update. Outside of losses it is the
    mean, (1 - slope) x above zero and slope x below: when the agent acts or is evaluated, in target networks, penalties, probes and
    diagnostics. So the ratio of PPO's new to old probabilities has noise from its first minibatch on. The formula is read in the official
    form, as second implementations quote it; their p is 1 - slope, and 0.9 their default. Whether the authors' agents act with the mean was
    not read.
    """

    slope: Annotated[float, Interval("[0, 1]")] = 0.1
    """probability with which a negative output is kept, and the mean's slope below zero"""

    def __post_init__(self) -> None:
        check(self)

    def build(self) -> dict[str, Any]:
        return {"activation": "aid", "slope": self.slope}
