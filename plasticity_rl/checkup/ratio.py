"""Ratios of means over pairs, with t intervals.

The same arithmetic as analysis.statistics.intervals, to which a test holds it: the library has neither scipy nor pandas.
"""

from collections.abc import Sequence
from math import atan, cos, isfinite, nan, pi, sin, sqrt
from typing import NamedTuple

LEVEL = 0.95
ROUNDING = 1e-12
"""a standard error below this share of the value is rounding's"""


class Ratio(NamedTuple):
    """A ratio with its 95% interval."""

    value: float
    """NaN where the denominator is 0"""
    low: float
    """equal to the value if pairs do not differ; NaN where there is no interval"""
    high: float
    pairs: int

    def side(self, margin: float) -> int:
        """1 if the whole interval lies above `margin`, -1 if below, else 0."""
        return int(self.low > margin) - int(self.high < margin)

    @property
    def interval(self) -> str:
        """`[0.85, 0.95]`; empty without an interval."""
        return f"[{self.low:.2f}, {self.high:.2f}]" if isfinite(self.low) else ""

    def __str__(self) -> str:
        return f"{self.value:.2f} {self.interval}".strip() if isfinite(self.value) else "not defined"


def ratio(own: Sequence[float], fresh: Sequence[float]) -> Ratio:
    """Mean of `own` over mean of `fresh`, paired, with Tukey's jackknife and a t interval over pairs."""
    pairs = len(own)
    assert pairs == len(fresh) > 0
    if sum(fresh) == 0:
        return Ratio(nan, nan, nan, pairs)
    value = sum(own) / sum(fresh)
    rest = [sum(fresh) - each for each in fresh]
    if pairs == 1 or not all(rest):
        return Ratio(value, nan, nan, pairs)
    without = [(sum(own) - mine) / left for mine, left in zip(own, rest, strict=True)]
    middle = sum(without) / pairs
    error = sqrt((pairs - 1) / pairs * sum((each - middle) ** 2 for each in without))
    if error <= ROUNDING * abs(value):
        return Ratio(value, value, value, pairs)
    reach = t_quantile(pairs - 1, (1 + LEVEL) / 2) * error
    return Ratio(value, value - reach, value + reach, pairs)


def t_quantile(freedom: int, p: float) -> float:
    """The p-quantile, p in [0.5, 1), of Student's t with a whole number of degrees of freedom, by bisection."""
    low, high = 0.0, 1.0
    while t_distribution(freedom, high) < p:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_distribution(freedom, middle) < p else (low, middle)
    return high


def t_distribution(freedom: int, t: float) -> float:
    """P(T <= t) for t >= 0, by the finite series of Abramowitz & Stegun 26.7.3 and 26.7.4."""
    angle = atan(t / sqrt(freedom))
    term, series = (cos(angle), cos(angle)) if freedom % 2 else (1.0, 1.0)
    for k in range(3 if freedom % 2 else 2, freedom - 1, 2):
        term *= (k - 1) / k * cos(angle) ** 2
        series += term
    if freedom % 2 == 0:
        return 0.5 + sin(angle) * series / 2
    return 0.5 + (angle + (sin(angle) * series if freedom > 1 else 0.0)) / pi
