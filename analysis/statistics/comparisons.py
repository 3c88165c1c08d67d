"""Is one chain better than another? Differences of means with intervals, exact tests for few members, and Holm's correction for many.

Paired wherever the rows of both are the same seeds on the same data: what the data did to both then cancels, and the paired interval is the
one to decide from. A member walks through all visits, so it is one observation: its mean over visits.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from analysis.statistics.bootstrap import ALIKE, REPETITIONS, Estimate, bootstrap, difference, estimate, interval, mean

EXACT = 2**16
"""arrangements up to which a test is exact; beyond, this many are drawn"""


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
    p: float
    """two-sided, of the difference; NaN where there are too few members for a test"""
    corrected: float
    """the same after Holm's correction for all comparisons made together"""


def sign_flips(differences: np.ndarray, seed: int = 0) -> float:
    """The chance that paired differences (members,) have so large a mean where either sign is as likely. At least 2 / 2**members."""
    return _tested([differences], lambda change, axis: change.mean(axis=axis), "samples", seed)


def permutations(better: np.ndarray, other: np.ndarray, seed: int = 0) -> float:
    """The chance that means of two groups (members,), (other members,) lie so far apart where it is chance who is in which."""
    centre = np.concatenate([better, other]).mean()
    return _tested([better - centre, other - centre], lambda one, two, axis: one.mean(axis=axis) - two.mean(axis=axis), "independent", seed)


def _tested(samples: Sequence[np.ndarray], statistic: Callable[..., np.ndarray], kind: str, seed: int) -> float:
    """The two-sided p of scipy's permutation test: the share of arrangements in which the statistic is as far from 0 as in `samples`."""
    scale = np.abs(np.concatenate(samples)).max() or 1.0

    def rounded(*drawn: np.ndarray, axis: int) -> np.ndarray:
        return np.abs(statistic(*drawn, axis=axis)).round(9)  # sums in another order are ties

    found = stats.permutation_test(
        [each / scale for each in samples],
        rounded,
        permutation_type=kind,
        vectorized=True,
        n_resamples=EXACT,
        batch=2**12,
        alternative="greater",
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def holm(chances: Sequence[float]) -> list[float]:
    """Corrected for being made together (Holm 1979); a NaN is no test and stays one."""
    tested = [index for index, chance in enumerate(chances) if not math.isnan(chance)]
    corrected, largest = [math.nan] * len(chances), 0.0
    for rank, index in enumerate(sorted(tested, key=lambda index: chances[index])):
        largest = max(largest, min(1.0, (len(tested) - rank) * chances[index]))
        corrected[index] = largest
    return corrected


def lead(label: str, better: np.ndarray, reference: str, other: np.ndarray, paired: bool, repetitions: int = REPETITIONS) -> Lead:
    """Compare two matrices (members, visits), NaN where a score is missing; `paired`: row i of both is one seed on the same data."""
    if paired:
        found = estimate(difference, better, other, repetitions=repetitions)
        both = np.isfinite(better).all(axis=1) & np.isfinite(other).all(axis=1)
        change = better[both].mean(axis=1) - other[both].mean(axis=1)
        share = float(np.mean((change > 0) + 0.5 * (change == 0))) if len(change) else math.nan
        p = sign_flips(change) if len(change) > 1 else math.nan
        return Lead(label, reference, found, True, share, p, p)
    rows, others = (matrix[np.isfinite(matrix).all(axis=1)] for matrix in (better, other))
    found = _unpaired(rows, others, len(better) + len(other), repetitions)
    if not len(rows) or not len(others):
        return Lead(label, reference, found, False, math.nan, math.nan, math.nan)
    mine, yours = rows.mean(axis=1), others.mean(axis=1)
    share = float(np.mean((mine[:, None] > yours) + 0.5 * (mine[:, None] == yours)))
    p = permutations(mine, yours) if min(len(mine), len(yours)) > 1 else math.nan
    return Lead(label, reference, found, False, share, p, p)


def _unpaired(better: np.ndarray, other: np.ndarray, of: int, repetitions: int) -> Estimate:
    """Difference of the means of two sets of whole members, each resampled by itself."""
    members = len(better) + len(other)
    if not len(better) or not len(other):
        return Estimate(math.nan, members=members, of=of, note="no member has all of it")
    value = float(mean(better) - mean(other))
    if min(len(better), len(other)) == 1:
        return Estimate(value, members=members, of=of, note="no interval: one member")
    samples = bootstrap(mean, better, repetitions=repetitions) - bootstrap(mean, other, repetitions=repetitions, seed=1)
    low, high = map(float, interval(samples))
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        return Estimate(value, members=members, of=of, note=ALIKE)
    return Estimate(value, low, high, members, of)


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
    corrected = holm([each.p for each in leads])
    return [replace(each, corrected=chance) for each, chance in zip(leads, corrected, strict=True)]
