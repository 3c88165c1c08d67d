"""Initial weights of low rank."""

from dataclasses import dataclass
from typing import Annotated, Any

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class LowRank(Intervention):
    """Hidden weights that start as products of two thin normal matrices, of the usual standard deviation: a start whose rank has already
    collapsed, to see what that alone does. Ours, after no paper; biases and heads start as usual, and training is free to raise the rank.
    """

    rank: Annotated[float, Interval("(0, 1]")] = 0.1
    """share of the largest rank that there could be, at least 1"""

    def __post_init__(self) -> None:
        check(self)

    def build(self) -> dict[str, Any]:
        return {"initial": "low-rank", "rank": self.rank}
