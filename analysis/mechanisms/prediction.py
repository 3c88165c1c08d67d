"""The horse race: which quantity at the end of a visit predicts how well the next visit is learned? Spearman correlations with intervals.

A point is a member of a chain at the end of visit t, with its score in visit t + 1 (the area under the curve). Pooled over all chains,
visits and members a correlation also holds what chains and visits differ in; within a chain it is the mean over chains of each chain's own.
Two trivial predictors stand beside the quantities: the visit's number, as everything that drifts follows a score that falls, and the
visit's own score. A quantity that does not beat them says nothing new.

Intervals are t intervals over members, whose points are left out together. p is corrected by Holm for all quantities of a column.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy import stats

from analysis.data.load import Loaded
from analysis.format import number
from analysis.scores.own_metrics import as_metric, own_names
from analysis.scores.setting import ChainScores, Setting
from analysis.statistics.comparisons import holm
from analysis.statistics.intervals import Estimate, Statistic, estimate
from plasticity_rl.metrics.catalogue import METRICS, Metric

GROUPS = ("plasticity", "units", "ranks", "norms", "curvature", "policy and values")
"""groups of the catalogue whose metrics may predict something"""
ALPHA = 0.05
VISIT, SCORE = "the visit's number", "the visit's score"


@dataclass(frozen=True)
class Predictor:
    """One quantity, and its rank correlation with the score of the next visit."""

    title: str
    pooled: Estimate
    within: Estimate
    """mean over chains"""
    points: int
    """members times chains times visits"""
    pooled_p: float = np.nan
    """after Holm's correction"""
    within_p: float = np.nan

    @property
    def trivial(self) -> bool:
        return self.title in (VISIT, SCORE)


def predictors(loaded: Loaded, setting: Setting) -> list[Predictor]:
    """The quantities of a setting by the size of their correlation within chains, the largest first. Chains that start over are left out:
    nothing carries over to their next visit."""
    metrics = loaded.metrics.loc[(loaded.metrics.setting == setting.spec.setting).to_numpy()]
    chains = [chain for chain in setting.chains if not chain.fresh_control]
    visits = len(setting.spec.visits)
    if visits < 2 or not chains:
        return []
    later = [setting.shown(chain.area)[:, 1:] for chain in chains]
    given: dict[str, list[np.ndarray]] = {
        VISIT: [np.broadcast_to(np.arange(visits - 1.0), area.shape) for area in later],
        SCORE: [setting.shown(chain.area)[:, :-1] for chain in chains],
    }
    own = map(as_metric, own_names(metrics.name.str.partition("/")[0].unique().tolist() if len(metrics) else []))
    for metric in (*(each for each in METRICS.values() if each.group in GROUPS), *own):
        given[metric.title] = [at_ends(metrics, setting, chain, metric)[:, :-1] for chain in chains]
    found = [each for title, values in given.items() if (each := _predictor(title, values, later)) is not None]
    pooled, within = holm([each.pooled.chance() for each in found]), holm([each.within.chance() for each in found])
    corrected = [Predictor(each.title, each.pooled, each.within, each.points, *p) for each, *p in zip(found, pooled, within, strict=True)]
    return sorted(corrected, key=lambda each: -abs(np.nan_to_num(each.within.value)))


def prediction(race: Sequence[Predictor]) -> str:
    """The winner in one sentence."""
    if not race:
        return "Nothing predicts the next visit: no next visit, or no chain that is carried over to it."
    trivial = max((abs(each.within.value) for each in race if each.trivial and each.within.defined), default=0.0)
    ahead = [each for each in race if not each.trivial and each.within_p <= ALPHA and abs(each.within.value) > trivial]
    if not ahead:
        return "No quantity predicts the next visit's score within chains better than the visit's number and its own score do."
    return (
        f"Within chains the next visit's score is predicted best by {ahead[0].title} at the end of the visit: rho "
        f"{number(ahead[0].within.value)}; the visit's number or its own score alone: {number(trivial)} in size."
    )


def _predictor(title: str, values: Sequence[np.ndarray], later: Sequence[np.ndarray]) -> Predictor | None:
    """One quantity, over the chains and visits in which every member has it; None if there are none or it never varies."""
    there = [np.isfinite(mine).all(axis=0) & np.isfinite(theirs).all(axis=0) for mine, theirs in zip(values, later, strict=True)]
    pairs = [(mine[:, at], theirs[:, at]) for mine, theirs, at in zip(values, later, there, strict=True) if at.any()]
    if not pairs or np.ptp(np.concatenate([mine.ravel() for mine, _ in pairs])) == 0:
        return None
    sizes = [mine.shape[1] for mine, _ in pairs]
    together = tuple(np.concatenate(each, axis=1) for each in zip(*pairs, strict=True))
    pooled, within = estimate(spearman([sum(sizes)]), *together), estimate(spearman(sizes), *together)
    return Predictor(title, pooled, within, together[0].size)


def spearman(sizes: Sequence[int]) -> Statistic:
    """The statistic of quantities and scores (..., members, columns): the mean over blocks of columns, of `sizes`, of Spearman's rho over
    the members and columns of the block. Blocks in which either does not vary are left out."""
    edges = np.cumsum([0, *sizes])

    def statistic(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        if mine.ndim > 2:
            return np.array([statistic(*pair) for pair in zip(mine, theirs, strict=True)])
        blocks = [(mine[:, a:b].ravel(), theirs[:, a:b].ravel()) for a, b in pairwise(edges)]
        found = [float(cast(Any, stats.spearmanr(*block))[0]) for block in blocks if min(np.ptp(side) for side in block) > 0]
        return np.asarray(np.mean(found) if found else np.nan)

    return statistic


def at_ends(metrics: pd.DataFrame, setting: Setting, chain: ChainScores, metric: Metric) -> np.ndarray:
    """A metric of each member in the last row of each visit, layers combined, (pairs, visits); NaN without rows."""
    grid = np.full((len(setting.pairs), len(setting.spec.visits)), np.nan)
    family = metrics.name.str.partition("/")[0]
    rows = metrics.loc[((metrics.label == chain.label) & (family == metric.name)).to_numpy()]
    if not len(rows):
        return grid
    keys = ["seed", "member", "visit"]
    rows = rows.loc[(rows.updates == rows.groupby(keys).updates.transform("max")).to_numpy()]
    values = rows.assign(value=rows.value**2).groupby(keys).value.sum() ** 0.5 if metric.join == "norm" else rows.groupby(keys).value.mean()
    places = {pair: place for place, pair in enumerate(setting.pairs)}
    for (seed, member, visit), value in values.items():  # type: ignore[misc]
        grid[places[int(seed), int(member)], int(visit)] = value
    return grid
