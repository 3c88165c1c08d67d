"""Spread of paired differences: by how much members differ in what one chain has over another, which decides how many are needed."""

from itertools import combinations

import numpy as np

from analysis.scores.setting import Setting
from analysis.scores.verdict import first_and_last

LEAST = 3
"""members from which a spread is told"""


def paired_spread(setting: Setting) -> float:
    """Standard deviation of a member's paired difference of two chains over the last visits, on the shown scale.

    Root mean square over all pairs of chains that are compared; NaN without a pair that has LEAST members in common.
    """
    last = first_and_last(setting)[1]
    means = [setting.shown(chain.area)[:, last].mean(axis=1) for chain in setting.compared]
    changes = [each[np.isfinite(each)] for each in (one - other for one, other in combinations(means, 2))]
    found = [each.var(ddof=1) for each in changes if len(each) >= LEAST]
    return float(np.sqrt(np.mean(found))) if found and setting.comparable else np.nan
