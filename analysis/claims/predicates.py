"""Predicates over statistics, decided part by part: held, not held, open, at the margin; and the outcome of a claim.

A `Finding` claims that a number lies above 0, or below, by at least its smallest effect of interest. It holds if its t interval excludes 0
on the claimed side and the number is as large as the effect; it does not hold if its interval excludes the effect. The parts of a claim are
tested together: Holm's correction, once over the chances that they hold and once over the chances that they do not.

`All` and `Any` join findings into one part. Their chances are those of intersection and union tests: `All` holds with the largest of its
parts' p, `Any` with the smallest times their number; that they do not hold is the dual.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.claims.results import Result
from analysis.statistics.comparisons import holm
from analysis.statistics.decisions import Decision, decide, look_levels
from analysis.statistics.intervals import Estimate, Statistic, estimate

Outcome = Literal["consistent", "inconsistent", "open", "not applicable"]
Results = Mapping[str, Result]
"""arm's key -> result; the key is `panel: name`, or the name alone"""
EFFECT = 0.02
"""smallest difference of accuracy, or of explained variance, that matters; ours"""


@dataclass(frozen=True)
class Finding:
    """A number that should lie on one side of 0."""

    words: str
    """the claim, as text"""
    found: Estimate
    above: bool
    """True if the claim is that the number is above 0"""
    effect: float = 0.0
    """smallest distance from 0 that matters; 0 where the number has a margin in it"""

    @property
    def margin(self) -> float:
        return self.effect if self.above else -self.effect

    @property
    def chance_held(self) -> float:
        """p of the hypothesis that the number is 0; 1 if it is on the other side of its effect, NaN without an interval."""
        large = self.found.value >= self.margin if self.above else self.found.value <= self.margin
        return self.found.chance(0.0) if large or not self.found.defined else 1.0

    @property
    def chance_not(self) -> float:
        """p of the hypothesis that the number is its smallest effect; 1 if it is beyond it."""
        short = self.found.value < self.margin if self.above else self.found.value > self.margin
        return self.found.chance(self.margin) if short or not self.found.defined else 1.0

    def undecided(self, level: float) -> Decision:
        """`open`, or `at the margin` where more members would not decide."""
        decided = decide(self.found, self.margin, self.above, level)
        return decided if decided == "at the margin" else "open"


@dataclass(frozen=True)
class All:
    """Several findings that are one part: it holds if all do."""

    words: str
    parts: tuple[Finding, ...]

    @property
    def chance_held(self) -> float:
        return max(part.chance_held for part in self.parts)

    @property
    def chance_not(self) -> float:
        return _smallest([part.chance_not for part in self.parts])

    def undecided(self, level: float) -> Decision:
        return "open"


@dataclass(frozen=True)
class Any:
    """Alternatives that are one part: it holds if one does."""

    words: str
    parts: tuple[Finding | All, ...]

    @property
    def chance_held(self) -> float:
        return _smallest([part.chance_held for part in self.parts])

    @property
    def chance_not(self) -> float:
        return max(part.chance_not for part in self.parts)

    def undecided(self, level: float) -> Decision:
        return "open"


Part = Finding | All | Any


def _smallest(chances: Sequence[float]) -> float:
    """Bonferroni's p that one of several hypotheses is false; NaN where there is none."""
    there = [chance for chance in chances if not math.isnan(chance)]
    return min(1.0, len(chances) * min(there)) if there else math.nan


@dataclass(frozen=True)
class Gate:
    """A condition without which a claim says nothing at this scale; decided by the point estimate."""

    words: str
    value: float
    passes: bool


@dataclass(frozen=True)
class Verdict:
    """A claim's gates and its parts, with the decision on each."""

    gates: tuple[Gate, ...]
    parts: tuple[Part, ...]
    decisions: tuple[Decision, ...]

    @property
    def held(self) -> int:
        return self.decisions.count("held")

    @property
    def outcome(self) -> Outcome:
        """consistent: all parts hold; inconsistent: one does not; open otherwise; not applicable: a gate fails."""
        if not all(gate.passes for gate in self.gates):
            return "not applicable"
        if "not held" in self.decisions:
            return "inconsistent"
        return "consistent" if self.held == len(self.decisions) else "open"

    @property
    def headline(self) -> str:
        """`open at this scale: 8 of 10 parts hold`."""
        if self.outcome == "not applicable":
            closed = [gate.words.partition(":")[0] for gate in self.gates if not gate.passes]
            return f"not applicable at this scale: not so that {'; '.join(closed)}"
        return f"{self.outcome} at this scale: {self.held} of {len(self.parts)} parts hold"


def decisions(parts: Sequence[Part], level: float) -> tuple[Decision, ...]:
    """The decision on each part, with Holm's correction over all of them at 1 - `level`."""
    held, contradicted = holm([part.chance_held for part in parts]), holm([part.chance_not for part in parts])
    found: list[Decision] = []
    for part, one, other in zip(parts, held, contradicted, strict=True):
        found.append("held" if one <= 1 - level else "not held" if other <= 1 - level else part.undecided(level))
    return tuple(found)


def verdict(
    gates: Callable[[Results], tuple[Gate, ...]],
    predicate: Callable[[Results], tuple[Part, ...]],
    results: Mapping[int, Results],
    looks: tuple[int, ...],
) -> Verdict:
    """The verdict after some looks. `results`: members so far -> results, for the looks that were made, in order.

    What one look decides stands; what it leaves open is decided by the next, with more members. All looks together err as often as one.
    """
    levels = look_levels(looks)
    parts: tuple[Part, ...] = ()
    decided: tuple[Decision, ...] = ()
    for members, those in results.items():
        now = predicate(those)
        new = decisions(now, levels[members])
        stands = [old != "open" for old in decided] or [False] * len(now)
        parts = tuple(parts[at] if stood else part for at, (stood, part) in enumerate(zip(stands, now, strict=True)))
        decided = tuple(decided[at] if stood else decision for at, (stood, decision) in enumerate(zip(stands, new, strict=True)))
    return Verdict(gates(list(results.values())[-1]), parts, decided)


def above(words: str, statistic: Statistic, *scores: np.ndarray, effect: float = 0.0) -> Finding:
    """Claim that a statistic of paired matrices (members, columns) is above 0, by `effect` or more."""
    return Finding(words, estimate(statistic, *scores), True, effect)


def below(words: str, statistic: Statistic, *scores: np.ndarray, effect: float = 0.0) -> Finding:
    """Claim that a statistic of paired matrices (members, columns) is below 0, by `effect` or more."""
    return Finding(words, estimate(statistic, *scores), False, effect)
