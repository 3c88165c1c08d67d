"""Estimates with 95% t intervals over whole members, for any statistic of matrices of scores (members, visits).

A member is one independent network that walks through all visits: it is the unit, and has one pseudo-value in any statistic. With T the
statistic of all n members and T_i that without member i, member i's pseudo-value is n T - (n - 1) T_i (Tukey's jackknife). Their standard
deviation over sqrt(n) is the standard error, and the interval is T +- t(n - 1) standard errors. For a mean the pseudo-values are the
members' own means, so this is the t interval itself; for a paired difference it is that of the differences. Several matrices are left
without the same member: they are paired.

How often such intervals hold the truth, beside bootstraps', is simulated by `python -m launch bench statistics` (docs/statistics.md).
Aggregates over many tasks in which each member has one have a bootstrap of their own (aggregates.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import stats

LEVEL = 0.95
ALIKE = "no interval: members do not differ"
METHOD = "t intervals over members"
"""name of the method, for captions"""
BLOCK = 2**22
"""numbers held at once"""
ROUNDING = 1e-12
"""a standard error below this share of the value is rounding's"""

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
    error: float | None = None
    """standard error; None without one, as where the interval is a bootstrap's"""
    freedom: float = np.nan
    """degrees of freedom of the standard error"""

    @property
    def defined(self) -> bool:
        return bool(np.isfinite(self.value))

    def side(self, level: float = 0.0) -> int:
        """1 if the whole interval lies above `level`, -1 if below, else 0. Several members that do not differ need no interval."""
        if self.low is None or self.high is None:
            return int(np.sign(self.value - level)) if self.note == ALIKE else 0
        return int(self.low > level) - int(self.high < level)

    def exceeds(self, level: float) -> bool:
        """True if the whole interval lies above `level`; one member never suffices."""
        return self.side(level) > 0

    def chance(self, value: float = 0.0) -> float:
        """The two-sided p of the t test that the truth is `value`: below 0.05 exactly where the 95% interval excludes it.

        NaN without a standard error; members that do not differ are certain.
        """
        if self.note == ALIKE:
            return float(abs(self.value - value) <= ROUNDING * abs(self.value))
        return float(2 * stats.t.sf(abs(self.value - value) / self.error, self.freedom)) if self.error is not None else np.nan

    def at(self, level: float) -> "Estimate":
        """The same with the interval at another level, such as 1 - 0.05 / 42. Without a standard error the interval stays as it is."""
        if self.error is None:
            return self
        reach = quantile(self.freedom, level) * self.error
        return replace(self, low=float(self.value - reach), high=float(self.value + reach))


@lru_cache(maxsize=1024)
def quantile(freedom: float, level: float = LEVEL) -> float:
    """Half the width of a two-sided t interval in standard errors: 2.78 with 4 degrees of freedom."""
    return float(stats.t.ppf((1 + level) / 2, freedom))


def iqm(scores: np.ndarray) -> np.ndarray:
    """Interquartile mean over members and visits: the mean without the lowest and the highest quarter. (..., members, visits) -> (...)."""
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    trimmed = flat.shape[-1] // 4
    return flat[..., trimmed : flat.shape[-1] - trimmed].mean(axis=-1)


def median(scores: np.ndarray) -> np.ndarray:
    """Median over visits of the mean over members. (..., members, visits) -> (...)."""
    return np.median(scores.mean(axis=-2), axis=-1)


def mean(scores: np.ndarray) -> np.ndarray:
    """Mean over members and visits. (..., members, visits) -> (...)."""
    return scores.mean(axis=(-2, -1))


def optimality_gap(scores: np.ndarray) -> np.ndarray:
    """Mean shortfall of scores below 1. (..., members, visits) -> (...)."""
    return 1 - mean(np.minimum(scores, 1.0))


def difference(better: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Difference of two means over the same members and visits. (..., members, visits) twice -> (...)."""
    return mean(better) - mean(other)


def mean_ratio(floor: np.ndarray) -> Statistic:
    """The statistic: mean over visits of (mean over members - floor) / (another matrix's mean over members - floor). `floor` (visits,).

    A ratio of means and not a mean of ratios: the latter is pulled up by whichever member has the smallest denominator.
    """

    def statistic(above: np.ndarray, below: np.ndarray) -> np.ndarray:
        return ((above.mean(axis=-2) - floor) / (below.mean(axis=-2) - floor)).mean(axis=-1)

    return statistic


def left_out(statistic: Statistic, *scores: np.ndarray) -> np.ndarray:
    """The statistic without each member in turn, of matrices of one shape (..., members, visits). (..., members)."""
    members = scores[0].shape[-2]
    places, block = np.arange(members - 1), max(1, BLOCK // scores[0].size)
    parts: list[np.ndarray] = []
    for start in range(0, members, block):
        others = places + (places >= np.arange(start, min(start + block, members))[:, None])
        parts.append(statistic(*(np.take(matrix, others, axis=-2) for matrix in scores)))
    return np.concatenate(parts, axis=-1)


def standard_error(without: np.ndarray) -> np.ndarray:
    """The jackknife's standard error from the statistic without each member (..., members): (...)."""
    members = without.shape[-1]
    return (members - 1) * without.std(axis=-1, ddof=1) / np.sqrt(members)


def estimated(value: float, error: float, freedom: float, members: int, of: int) -> Estimate:
    """The estimate with its t interval; without one where the standard error is rounding's."""
    if not error > ROUNDING * abs(value):
        return Estimate(value, members=members, of=of, note=ALIKE)
    return Estimate(value, None, None, members, of, "", float(error), float(freedom)).at(LEVEL)


def estimate(statistic: Statistic, *scores: np.ndarray, denominator: np.ndarray | None = None) -> Estimate:
    """A statistic of paired matrices (members, visits), with its t interval, from the members that have every visit in every matrix.

    `denominator` (members, columns): what the statistic divides by, as means over members; where the interval of one of these includes 0,
    no interval of the ratio can be trusted, and none is given. A NaN is a missing score; `members` of `of` have every score. One member
    gives no interval; neither do members that do not differ.
    """
    of = len(scores[0])
    whole = np.all([np.isfinite(matrix).all(axis=1) for matrix in scores], axis=0)
    members = int(whole.sum())
    if members == 0 or scores[0].shape[1] == 0:
        return Estimate(np.nan, of=of, note="no member has all of it")
    scores = tuple(matrix[whole] for matrix in scores)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(*scores))
        if not np.isfinite(value):
            return Estimate(np.nan, members=members, of=of, note="division by zero")
        if members == 1:
            return Estimate(value, members=members, of=of, note="no interval: one member")
        if denominator is not None and not all(each.side() for each in column_means(denominator[whole])):
            return Estimate(value, members=members, of=of, note="no interval: the denominator's interval includes 0")
        error = float(standard_error(left_out(statistic, *scores)))
    if not np.isfinite(error):
        return Estimate(value, members=members, of=of, note="no interval: the denominator can be 0")
    return estimated(value, error, members - 1, members, of)


def column_means(scores: np.ndarray) -> list[Estimate]:
    """Mean of each column of (members, columns), over the members that have it."""
    return [estimate(mean, column[:, None]) for column in scores.T]
