"""Is one chain better than another? Differences of means with t intervals and tests, and Holm's correction for many of them.

Paired wherever the rows of both are the same seeds on the same data: what the data did to both then cancels. A member walks through all
visits, so it is one observation: its mean over visits. The test is the interval's: scipy's `ttest_rel` for pairs, and Welch's
(`ttest_ind` with unequal variances) for two sets of members that share nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from analysis.statistics.intervals import LEVEL, Estimate, difference, estimate, estimated, standard_error


@dataclass(frozen=True)
class Lead:
    """Difference of two chains' scores."""

    label: str
    reference: str
    difference: Estimate
    """difference of means over members and visits with its 95% interval, not corrected for the number of comparisons"""
    paired: bool
    improvement: float
    """share of pairs of members in which it is above, a tie half: each member with its counterpart if paired, else with all others"""
    corrected: float
    """p after Holm's correction for all comparisons made together"""

    @property
    def p(self) -> float:
        """Two-sided, of the difference; NaN where there are too few members for a test."""
        return self.difference.chance()

    @property
    def differs(self) -> bool:
        """True if the corrected p is below 0.05."""
        return self.corrected < 1 - LEVEL


def holm(chances: Sequence[float]) -> list[float]:
    """Corrected for being made together (Holm 1979); a NaN is no test and stays one."""
    tested = [index for index, chance in enumerate(chances) if not math.isnan(chance)]
    corrected, largest = [math.nan] * len(chances), 0.0
    for rank, index in enumerate(sorted(tested, key=lambda index: chances[index])):
        largest = max(largest, min(1.0, (len(tested) - rank) * chances[index]))
        corrected[index] = largest
    return corrected


def ahead_of_all(leads: Sequence[Estimate]) -> bool:
    """Does a chain beat all its rivals? Each difference to one is above 0, its p below 0.05 after Holm's correction for their number."""
    corrected = holm([each.chance() for each in leads])
    return all(each.value > 0 and chance < 1 - LEVEL for each, chance in zip(leads, corrected, strict=True))


def lead(label: str, better: np.ndarray, reference: str, other: np.ndarray, paired: bool) -> Lead:
    """Compare two matrices (members, visits), NaN where a score is missing; `paired`: row i of both is one seed on the same data."""
    if paired:
        found = estimate(difference, better, other)
        both = np.isfinite(better).all(axis=1) & np.isfinite(other).all(axis=1)
        change = better[both].mean(axis=1) - other[both].mean(axis=1)
        share = float(np.mean((change > 0) + 0.5 * (change == 0))) if len(change) else math.nan
    else:
        mine, yours = (matrix[np.isfinite(matrix).all(axis=1)].mean(axis=1) for matrix in (better, other))
        found = welch(mine, yours, len(better) + len(other))
        share = float(np.mean((mine[:, None] > yours) + 0.5 * (mine[:, None] == yours))) if len(mine) and len(yours) else math.nan
    return Lead(label, reference, found, paired, share, found.chance())


def welch(better: np.ndarray, other: np.ndarray, of: int) -> Estimate:
    """Difference of the means of two sets of members, (members,) and (other members,), that share nothing."""
    members = len(better) + len(other)
    if not len(better) or not len(other):
        return Estimate(math.nan, members=members, of=of, note="no member has all of it")
    value = float(better.mean() - other.mean())
    if min(len(better), len(other)) == 1:
        return Estimate(value, members=members, of=of, note="no interval: one member")
    variances = [each.var(ddof=1) / len(each) for each in (better, other)]
    freedom = stats.ttest_ind(better, other, equal_var=False).df if max(variances) > 0 else math.nan  # type: ignore[attr-defined]
    return estimated(value, math.sqrt(sum(variances)), float(freedom), members, of)


def improvement(better: np.ndarray, other: np.ndarray) -> Estimate:
    """Probability that a member of `better` scores above one of `other` at the same visit, ties counting half, mean over visits.

    Matrices (members, visits) of the same whole members; over all pairs of members, and each is left out of both.
    """
    wins = ((better[:, None] > other) + 0.5 * (better[:, None] == other)).mean(axis=2)
    members = len(wins)
    if members == 1:
        return Estimate(float(wins.mean()), members=1, of=1, note="no interval: one member")
    without = (wins.sum() - wins.sum(axis=0) - wins.sum(axis=1) + np.diag(wins)) / (members - 1) ** 2
    found = estimated(float(wins.mean()), float(standard_error(without)), members - 1, members, members)
    return found if found.low is None or found.high is None else replace(found, low=max(0.0, found.low), high=min(1.0, found.high))


def against(scores: Mapping[str, np.ndarray], references: Sequence[str], paired: bool = True) -> list[Lead]:
    """Every chain against each reference, such as the fresh control and the baseline: {label: (members, visits)}; corrected together.

    Two references are compared with each other once.
    """
    leads = [
        lead(label, scores[label], reference, scores[reference], paired)
        for place, reference in enumerate(references)
        for label in scores
        if label != reference and label not in references[:place]
    ]
    return corrected_together(leads)


def corrected_together(leads: Sequence[Lead]) -> list[Lead]:
    """The same with p corrected by Holm for all of them."""
    return [replace(each, corrected=chance) for each, chance in zip(leads, holm([each.p for each in leads]), strict=True)]
