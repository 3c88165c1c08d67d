"""Power of the paired t test: what difference so many members can see, before anything is trained; by the noncentral t distribution."""

import math

from scipy import optimize, stats

from analysis.statistics.intervals import LEVEL, quantile

CHANCE = 0.8
"""power that a design should have: the chance of seeing a difference that is there"""
MOST = 10_000
"""members up to which a design is searched"""


def power(effect: float, members: int, level: float = LEVEL) -> float:
    """The chance that the interval at `level` of a paired difference excludes 0, where the truth is `effect` of its standard deviations."""
    return _power(effect * math.sqrt(members), members - 1, level)


def _power(shift: float, freedom: float, level: float) -> float:
    """The same for a truth of `shift` standard errors."""
    reach = quantile(freedom, level)
    below = stats.nct.sf(reach, freedom, -shift)  # the lower tail, mirrored: cdf(-reach) is NaN for two members in scipy 1.17
    return float(stats.nct.sf(reach, freedom, shift) + below)


def visible_errors(freedom: float, chance: float = CHANCE, level: float = LEVEL) -> float:
    """The smallest difference that is seen with this chance, in standard errors."""
    highest = 1.0
    while _power(highest, freedom, level) < chance:
        highest *= 2
    return float(optimize.brentq(lambda shift: _power(shift, freedom, level) - chance, 1e-9, highest))  # type: ignore[arg-type]


def visible(members: int, chance: float = CHANCE, level: float = LEVEL) -> float:
    """The same of so many members, two or more, in standard deviations of a paired difference: 1.27 for seven."""
    return visible_errors(members - 1, chance, level) / math.sqrt(members)


def members_for(effect: float, chance: float = CHANCE, level: float = LEVEL) -> int:
    """The fewest members that see a difference of `effect` standard deviations with this chance; MOST if more are needed."""
    return next((members for members in range(2, MOST) if power(effect, members, level) >= chance), MOST)
