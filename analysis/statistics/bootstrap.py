"""Point estimates with 95% bootstrap intervals, for matrices of scores (members, visits).

The bootstrap is the stratified percentile bootstrap of Agarwal et al. 2021 (arXiv 2108.13264), seeded and vectorised: rliable's own ignores
its `random_state` and is some 60 times slower. A member is one network that walks through all visits, so by default its visits
are resampled together; `by_visit=True` resamples every visit on its own, as rliable does with tasks. Where a member is better or worse in
all its visits, the latter's intervals are too narrow: with 5 members and half of the variance between members, a nominal 95% covers 75%,
whole members 84%. Several matrices are resampled with the same members: they are paired. The aggregates of many tasks and columns have a
faster bootstrap of their own (aggregates.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rliable import metrics

REPETITIONS = 2_000
LEVEL = 0.95
BLOCK = 2**22
"""numbers held at once"""
ALIKE = "no interval: members do not differ"

Statistic = Callable[..., np.ndarray]
"""matrices (..., members, visits) -> numbers (...)"""


@dataclass(frozen=True)
class Estimate:
    """A number, its 95% interval where there is one, and the members behind it."""

    value: float
    """NaN where it is not defined; `note` says why"""
    low: float | None = None
    high: float | None = None
    members: int = 0
    """members that have every score"""
    of: int = 0
    """members expected"""
    note: str = ""
    """why there is no value, or no interval"""

    @property
    def defined(self) -> bool:
        return bool(np.isfinite(self.value))

    def exceeds(self, level: float) -> bool:
        """Does the whole interval lie above `level`? Several members that do not differ need none; one member never suffices."""
        return self.low > level if self.low is not None else self.note == ALIKE and self.value > level


def iqm(scores: np.ndarray) -> np.ndarray:
    """Interquartile mean over members and visits: the mean without the lowest and the highest quarter. (..., members, visits) -> (...)."""
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    trimmed = flat.shape[-1] // 4
    return flat[..., trimmed : flat.shape[-1] - trimmed].mean(axis=-1)


def mean(scores: np.ndarray) -> np.ndarray:
    """Mean over members and visits. (..., members, visits) -> (...)."""
    return scores.mean(axis=(-2, -1))


RLIABLE = {iqm: metrics.aggregate_iqm, mean: metrics.aggregate_mean}
"""statistic -> rliable's point estimate; the functions above compute the same for many resamples at once"""


def bootstrap(
    statistic: Statistic, *scores: np.ndarray, repetitions: int = REPETITIONS, seed: int = 0, by_visit: bool = False
) -> np.ndarray:
    """The statistic of `repetitions` resamples of matrices of one shape (members, visits), all with the same members. (repetitions,)."""
    members, visits = scores[0].shape
    assert all(matrix.shape == (members, visits) and np.isfinite(matrix).all() for matrix in scores)
    random = np.random.default_rng(seed)
    block = max(1, BLOCK // (members * visits))
    samples = []
    for start in range(0, repetitions, block):
        chosen = random.integers(members, size=(min(block, repetitions - start), members, visits if by_visit else 1))
        samples.append(statistic(*(matrix[chosen, np.arange(visits)] for matrix in scores)))
    return np.concatenate(samples)


def interval(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95% percentile intervals of resamples (repetitions, ...): low and high, (...) each."""
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def estimate(
    statistic: Statistic,
    *scores: np.ndarray,
    repetitions: int = REPETITIONS,
    seed: int = 0,
    by_visit: bool = False,
) -> Estimate:
    """A statistic of paired matrices (members, visits), with its interval, from the members that have every visit in every matrix.

    A NaN is a missing score; `members` of `of` have every score. One member gives no interval; neither do members that do not differ.
    """
    of = len(scores[0])
    whole = np.all([np.isfinite(matrix).all(axis=1) for matrix in scores], axis=0)
    members = int(whole.sum())
    if members == 0 or scores[0].shape[1] == 0:
        return Estimate(np.nan, of=of, note="no member has all of it")
    scores = tuple(matrix[whole] for matrix in scores)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(RLIABLE.get(statistic, statistic)(*scores))
        if not np.isfinite(value):
            return Estimate(np.nan, members=members, of=of, note="division by zero")
        if members == 1:
            return Estimate(value, members=members, of=of, note="no interval: one member")
        samples = bootstrap(statistic, *scores, repetitions=repetitions, seed=seed, by_visit=by_visit)
        low, high = map(float, interval(samples))
    if not np.isfinite([low, high]).all():
        return Estimate(value, members=members, of=of, note="no interval: the denominator can be zero")
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        return Estimate(value, members=members, of=of, note=ALIKE)
    return Estimate(value, low, high, members, of)


def coverage(
    statistic: Statistic,
    members: int,
    visits: int = 1,
    between: float = 0.0,
    by_visit: bool = False,
    trials: int = 2_000,
    repetitions: int = 1_000,
    seed: int = 0,
) -> float:
    """How often a 95% interval holds the truth, on normal scores (members, visits); `between` is the share of variance between members.

    Simulated; the standard error is at most 0.5 / sqrt(trials), 0.5 points at 0.95 and 2,000 trials. A hundred trials at a time share
    their resamples.
    """
    random = np.random.default_rng(seed)
    scores = np.sqrt(1 - between) * random.normal(size=(trials, members, visits))
    scores += np.sqrt(between) * random.normal(size=(trials, members, 1))
    block = min(100, max(1, BLOCK // (repetitions * members * visits)))
    hits = 0
    for start in range(0, trials, block):
        some = scores[start : start + block]
        chosen = random.integers(members, size=(repetitions, members, visits if by_visit else 1))
        samples = statistic(some[:, chosen, np.arange(visits)]).T
        low, high = interval(samples)
        hits += int(((low <= 0) & (high >= 0)).sum())
    return hits / trials


def mean_ratio(floor: np.ndarray) -> Statistic:
    """The statistic: mean over visits of (mean over members - floor) / (another matrix's mean over members - floor). `floor` (visits,).

    A ratio of means and not a mean of ratios: the latter is pulled up by whichever member has the smallest denominator.
    """

    def statistic(above: np.ndarray, below: np.ndarray) -> np.ndarray:
        return ((above.mean(axis=-2) - floor) / (below.mean(axis=-2) - floor)).mean(axis=-1)

    return statistic


def column_means(scores: np.ndarray) -> list[Estimate]:
    """Mean of each column of (members, columns), over the members that have it."""
    return [estimate(mean, column[:, None]) for column in scores.T]


def difference(better: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Difference of two means over the same members and visits. (..., members, visits) twice -> (...)."""
    return mean(better) - mean(other)
