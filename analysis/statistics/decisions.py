"""Decisions against a margin, and at several looks: held, not held, open, or at the margin.

"Keeps" is non-inferiority: a claim with a margin that is stated before anything is trained, such as "at least 0.9 of the first visits'
score". It holds if the whole interval lies beyond the margin, so a wide interval never passes for "no loss".
"""

from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import stats

from analysis.statistics.intervals import LEVEL, Estimate

Decision = Literal["held", "not held", "open", "at the margin"]
LOOKS = (7, 13)
"""members at the first look and, where it left a claim open, at the second"""
ROUNDING = 0.01
"""distance from a margin that is too small to matter, in units of the score"""
AT_THE_MARGIN = f"within {ROUNDING:g} of the margin: more members will not decide"
"""the decision `at the margin` in words"""
TRIALS = 400_000
"""drawn studies that give the levels of looks; they err by 0.03 points"""
NARROW = 5
"""an interval that reaches further than this many `rounding` from the margin is open for want of members"""


def decide(found: Estimate, margin: float = 0.0, above: bool = True, level: float = LEVEL, rounding: float = ROUNDING) -> Decision:
    """Decide the claim that the truth lies above `margin` (below it where `above` is False) by the interval at `level`.

    held: the whole interval is on the claimed side; not held: it is on the other. Otherwise open, or *at the margin*: the value lies
    within `rounding` of the margin and its interval within NARROW times that, so that more members will not decide what matters.
    One member, or no interval, leaves a claim open; members that do not differ decide without one.
    """
    found = found.at(level)
    if side := found.side(margin):
        return "held" if (side > 0) == above else "not held"
    if found.low is None or found.high is None:
        return "open"
    reach = max(margin - found.low, found.high - margin)
    return "at the margin" if abs(found.value - margin) <= rounding and reach <= NARROW * rounding else "open"


@lru_cache(maxsize=8)
def look_levels(looks: tuple[int, ...] = LOOKS, level: float = LEVEL) -> dict[int, float]:
    """The level of the interval at each look, members -> level, so that all looks together err in 1 - `level` of studies.

    What is open at a look goes on to the next. All looks have the same level (Pocock 1977): the quantile of the smallest p of t tests
    that share their first members, over TRIALS drawn studies in which nothing differs. 7 and 13 members: 0.971 at both. To decide at the
    look of n members: `decide(found, margin, level=look_levels()[n])`; a p after Holm's correction is compared with 1 - that level.
    """
    assert looks and list(looks) == sorted(set(looks)) and looks[0] > 1, f"looks must be rising numbers of members, not {looks}"
    scores = np.random.default_rng(0).normal(size=(TRIALS, looks[-1]))
    tests = (stats.ttest_1samp(scores[:, :members], 0.0, axis=1) for members in looks)
    smallest = np.min([test.pvalue for test in tests], axis=0)  # type: ignore[attr-defined]
    return dict.fromkeys(looks, 1 - float(np.quantile(smallest, 1 - level)))
