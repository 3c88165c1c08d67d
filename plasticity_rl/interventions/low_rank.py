"""Low-rank initial weights."""

from dataclasses import dataclass
from typing import Annotated, Any

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class LowRank(Intervention):
    """Initialise hidden weights as products of two thin normal matrices, of the default standard deviation.

    This start with collapsed rank isolates the effect of low rank. It is ours, from no paper; biases and heads start as usual, and training
    may raise the rank.
    """

    rank: Annotated[float, Interval("(0, 1]")] = 0.1
    """rank as a share of the full rank; at least rank 1"""

    def __post_init__(self) -> None:
        check(self)

    def build(self) -> dict[str, Any]:
        return {"initial": "low-rank", "rank": self.rank}
