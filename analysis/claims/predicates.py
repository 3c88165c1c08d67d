"""Predicates over statistics, and the outcome: reproduced, not reproduced, not decided at this scale.

A `Finding` claims that a number is above 0, or below. It holds if the whole 95% interval is on that side, is contradicted if the whole
interval is on the other side, and is open otherwise. `All` and `Any` join them as in Kleene's three-valued logic: `All` is contradicted if
any part is, and open if no part is contradicted and some part is open; `Any` is the dual.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.statistics.intervals import LEVEL, Estimate, Statistic, estimate

Outcome = Literal["reproduced", "not reproduced", "not decided at this scale"]
OUTCOMES: dict[bool | None, Outcome] = {True: "reproduced", False: "not reproduced", None: "not decided at this scale"}


@dataclass(frozen=True)
class Finding:
    """A number that should lie on one side of 0."""

    words: str
    """the claim, as text"""
    found: Estimate
    above: bool
    """True if the claim is that the number is above 0"""

    @property
    def holds(self) -> bool | None:
        """True if the claim holds, False if the opposite holds, None if the interval is inconclusive."""
        side = self.found.side()
        return (side > 0) == self.above if side else None


@dataclass(frozen=True)
class All:
    """A conjunction of predicates."""

    words: str
    parts: tuple["Predicate", ...]

    @property
    def holds(self) -> bool | None:
        return _all([part.holds for part in self.parts])


@dataclass(frozen=True)
class Any:
    """A disjunction of predicates."""

    words: str
    parts: tuple["Predicate", ...]

    @property
    def holds(self) -> bool | None:
        found = _all([None if part.holds is None else not part.holds for part in self.parts])
        return None if found is None else not found


Predicate = Finding | All | Any


def outcome(predicate: Predicate) -> Outcome:
    """The outcome of a claim."""
    return OUTCOMES[predicate.holds]


def above(words: str, statistic: Statistic, *scores: np.ndarray, comparisons: int = 1) -> Finding:
    """Claim that a statistic of paired matrices (members, columns) is above 0.

    `comparisons`, the number of tests, widens the interval by the Bonferroni correction.
    """
    return Finding(words, estimate(statistic, *scores).at(1 - (1 - LEVEL) / comparisons), above=True)


def below(words: str, statistic: Statistic, *scores: np.ndarray) -> Finding:
    """Claim that a statistic of paired matrices (members, columns) is below 0."""
    return Finding(words, estimate(statistic, *scores), above=False)


def _all(held: Sequence[bool | None]) -> bool | None:
    return False if False in held else None if None in held else True
