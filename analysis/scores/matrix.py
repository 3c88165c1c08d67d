"""Score matrices (members, tasks) of all chains, the input of rliable's aggregates, profiles and curves.

A score matrix has one column per task. For one setting, the columns are its visits, each member has all of them, and intervals are t
intervals over whole members. For settings that differ only in their tasks, such as one game each (suites.py), each member has one task, and
aggregates have rliable's bootstrap, whose members are drawn per task. All chains have the same members, so that they are paired.

Scores are on the report's scale: returns are human-normalised if random and human scores are known. Plasticity kept and performance are a
chain's score above random over that of its own control and of the fresh control (ratios.py), per task a ratio of means over members.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from analysis.statistics.aggregates import (
    NAMES,
    Intervals,
    cells,
    draws,
    interval,
    intervals,
    paired_difference,
    probability_of_improvement,
    profile,
    sample_efficiency,
    stacked,
)
from analysis.statistics.comparisons import Lead, ahead_of_all, corrected_together, improvement, lead
from analysis.statistics.intervals import (
    ALIKE,
    Estimate,
    Statistic,
    column_means,
    estimate,
    iqm,
    mean,
    median,
    optimality_gap,
)

RESAMPLES = 10_000
ENOUGH_MEMBERS = 5
"""minimum members of every task for a chain to be called best: with fewer, whether scores are near normal cannot be seen at all"""
LEVELS = 101
"""levels of a performance profile"""
STATISTICS: dict[str, Statistic] = dict(zip(NAMES, (iqm, median, mean, optimality_gap), strict=True))
"""the aggregates, of whole members"""


@dataclass(frozen=True, eq=False)
class Row:
    """One chain over all tasks. Row i of every array is the same (seed, member). NaN if missing."""

    label: str
    fresh_control: bool
    curve: np.ndarray
    """(members, tasks, windows), on the shown scale"""
    score: np.ndarray
    """(members, tasks): mean of the curve"""
    above: np.ndarray
    """(members, tasks): raw score minus the random score, over the visits in which the fresh control learned"""
    mine: np.ndarray
    """(members, tasks): the same over the visits in which its own control learned"""
    own: np.ndarray
    """(members, tasks): the same of its own control"""
    no_kept: tuple[str, ...]
    """per task, why there is no ratio to its own control; empty if there is one"""


@dataclass(frozen=True, eq=False)
class ScoreMatrix:
    """Scores of all chains on some tasks."""

    tasks: tuple[str, ...]
    noun: str
    """name of the columns: `visits`, `tasks`"""
    of: tuple[str, ...]
    """the task of each column; empty if a column has several"""
    floor: np.ndarray
    human: np.ndarray
    """(columns,) each: shown scores are (raw - `floor`) / `human`"""
    whole: bool
    """whether each member has all tasks"""
    scale: str
    """name of the score: `online accuracy`, `human-normalised return`"""
    bounded: bool
    """whether 1 is a goal, such as no error or a human's score; otherwise there is no optimality gap"""
    no_scale: str
    """why scores of different tasks cannot be averaged; empty if they can"""
    rows: tuple[Row, ...]
    no_performance: tuple[str, ...]
    """per task, why there is no ratio to the fresh control; empty if there is one"""
    window: str
    """unit and extent of a curve: `frames of a visit`"""
    span: int
    """extent of a curve, in that unit"""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the defined aggregates."""
        return NAMES if self.bounded else NAMES[:-1]

    @property
    def control(self) -> Row | None:
        return next((row for row in self.rows if row.fresh_control), None)

    def row(self, label: str) -> Row | None:
        return next((row for row in self.rows if row.label == label), None)

    def lacking(self, row: Row) -> str:
        """Why a chain has no aggregate; empty if it has one."""
        if self.no_scale:
            return self.no_scale
        without = [task for task, scores in zip(self.tasks, row.score.T, strict=True) if not np.isfinite(scores).any()]
        if without:
            return f"no score of {', '.join(without[:3])}{f' and {len(without) - 3} more' if len(without) > 3 else ''}"
        return "" if len(self._there(row.score)) else f"no member has all {self.noun}"

    def used(self, row: Row) -> tuple[int, int]:
        """(scores used, scores expected)."""
        there = self._there(row.score)
        return int(np.isfinite(there).sum()), row.score.size

    def _there(self, *matrices: np.ndarray) -> np.ndarray:
        """The first matrix, restricted to complete members, or to cells that are finite in all matrices."""
        both = np.all([np.isfinite(matrix) for matrix in matrices], axis=0)
        return matrices[0][both.all(axis=1)] if self.whole else np.where(both, matrices[0], np.nan)

    @cached_property
    def scores(self) -> dict[str, dict[str, Estimate]]:
        """Aggregates of the scores: chain -> aggregate -> estimate."""
        return {row.label: self._estimates(row) for row in self.rows}

    @cached_property
    def kept(self) -> dict[str, dict[str, Estimate]]:
        """Aggregates of plasticity kept, the ratios to a chain's own control: chain -> aggregate -> estimate. Empty if no chain has one."""
        rivals = [row for row in self.rows if not row.fresh_control]
        if not any(np.isfinite(row.own).any() for row in rivals):
            return {}
        return {row.label: self._ratios(row.mine, row.own, row.no_kept, "its own control") for row in rivals}

    @cached_property
    def performance(self) -> dict[str, dict[str, Estimate]]:
        """Aggregates of performance, the ratios to the fresh control: chain -> aggregate -> estimate. Empty without that control, which is
        itself excluded."""
        if self.control is None:
            return {}
        fresh, rivals = self.control.above, [row for row in self.rows if not row.fresh_control]
        return {row.label: self._ratios(row.above, fresh, self.no_performance, "the fresh control") for row in rivals}

    def _estimates(self, row: Row) -> dict[str, Estimate]:
        enter, of = self.used(row)
        if reason := self.lacking(row):
            return {name: Estimate(np.nan, of=of, note=reason) for name in self.names}
        there = self._there(row.score)
        if self.whole:
            return {name: replace(estimate(STATISTICS[name], there), members=enter, of=of) for name in self.names}
        found = intervals(there, self.names, RESAMPLES)
        return {name: estimated((each[at] for each in found), enter, of) for at, name in enumerate(self.names)}

    def _ratios(self, above: np.ndarray, below: np.ndarray, reasons: tuple[str, ...], control: str) -> dict[str, Estimate]:
        defined = [task for task, reason in enumerate(reasons) if not reason]
        of, note = above.size, f"over {len(defined)} of {len(self.tasks)} {self.noun}" if len(defined) < len(self.tasks) else ""
        if not defined:
            return {name: Estimate(np.nan, of=of, note="; ".join(sorted(set(reasons)))) for name in NAMES}
        mine, others = above[:, defined], below[:, defined]
        above, below = self._there(mine, others), self._there(others, mine)
        if not len(above) or not np.isfinite(above).any(axis=0).all():
            return {name: Estimate(np.nan, of=of, note=f"no member in common with {control} in some task") for name in NAMES}
        enter = int(np.isfinite(above).sum())
        if self.whole:
            found = [replace(estimate(_over_control(name), above, below, denominator=below), members=enter, of=of) for name in NAMES]
        else:
            value, samples = over_control(above, below)
            found = [estimated((one, *interval(many)), enter, of) for one, many in zip(value, samples.T, strict=True)]
            alone = min(np.isfinite(above).sum(axis=0)) == 1
            found = [replace(each, low=None, high=None, note="no interval: one member") if alone else each for each in found]
        return {name: replace(each, note="; ".join(filter(None, [note, each.note]))) for name, each in zip(NAMES, found, strict=True)}

    def kept_of(self, row: Row, task: int) -> float:
        """Plasticity that a chain has kept on one task; NaN if undefined."""
        both = np.isfinite(row.mine[:, task]) & np.isfinite(row.own[:, task])
        return np.nan if row.no_kept[task] or not both.any() else float(row.mine[both, task].mean() / row.own[both, task].mean())

    @cached_property
    def efficiency(self) -> dict[str, Intervals]:
        """Interquartile mean per window, chain -> (windows,); NaN where a member has no score."""
        found: dict[str, Intervals] = {}
        for row in self.rows:
            if self.lacking(row):
                continue
            curve = row.curve[np.isfinite(row.score).all(axis=1)] if self.whole else row.curve
            there = (np.isfinite(curve) | ~np.isfinite(curve).any(axis=2, keepdims=True)).all(axis=(0, 1))
            if not there.any():
                continue
            made = np.full((3, curve.shape[2]), np.nan)
            if self.whole:
                made[:, there] = stacked([estimate(iqm, window) for window in np.moveaxis(curve[:, :, there], 2, 0)])
            else:
                made[:, there] = sample_efficiency(curve[:, :, there], "iqm", 2_000)
            found[row.label] = Intervals(*made)
        return found

    @cached_property
    def levels(self) -> np.ndarray:
        """Score levels of the profiles, (levels,): the range of all scores without the lowest and highest 1%."""
        every = np.concatenate([row.score[np.isfinite(row.score)] for row in self.rows])
        return np.linspace(min(0.0, float(np.quantile(every, 0.01))), float(np.quantile(every, 0.99)), LEVELS)

    @cached_property
    def profiles(self) -> dict[str, Intervals]:
        """Score distributions: chain -> share of its scores above each level, (levels,)."""
        return {row.label: self._profile(self._there(row.score)) for row in self.rows if not self.lacking(row)}

    def _profile(self, scores: np.ndarray) -> Intervals:
        if not self.whole:
            return profile(scores, self.levels, 2_000)
        found = stacked(column_means((scores[..., None] > self.levels).mean(axis=1)))
        return Intervals(found.value, found.low.clip(0, 1), found.high.clip(0, 1))

    @property
    def references(self) -> tuple[str, ...]:
        """The chains that all others are compared with: no intervention and the fresh control, if present."""
        control = self.control
        return tuple(label for label in ("none", control.label if control else "") if label and self.row(label))

    @cached_property
    def improvement(self) -> dict[str, dict[str, Estimate]]:
        """Probability of improvement: reference -> chain -> probability that a member of the chain scores above one of the reference on the
        same task, ties counting half."""
        return {label: self._beside(label, self._improvement) for label in self.references}

    def _beside(self, label: str, compute: Callable[[Row, Row], Estimate]) -> dict[str, Estimate]:
        other = self.row(label)
        assert other is not None
        return {
            row.label: compute(row, other) for row in self.rows if row is not other and not self.lacking(row) and not self.lacking(other)
        }

    def _pair(self, row: Row, other: Row) -> tuple[np.ndarray, np.ndarray]:
        return self._there(row.score, other.score), self._there(other.score, row.score)

    def _improvement(self, row: Row, other: Row) -> Estimate:
        mine, others = self._pair(row, other)
        if not _complete(mine):
            return Estimate(np.nan, of=row.score.size, note="no member in common in some task")
        enter, of = int(np.isfinite(mine).sum()), row.score.size
        if self.whole:
            return replace(improvement(mine, others), members=enter, of=of)
        return estimated(probability_of_improvement(mine, others, 2_000, paired=True), enter, of)

    def ahead(self, row: Row, other: Row, name: str = "iqm") -> Estimate:
        """The paired difference of one aggregate between two chains, with its t interval."""
        of = row.score.size
        if reason := self.lacking(row) or self.lacking(other):
            return Estimate(np.nan, of=of, note=reason)
        mine, others = self._pair(row, other)
        if not _complete(mine):
            return Estimate(np.nan, of=of, note="no member in common in some task")
        if not self.whole:
            return replace(paired_difference(mine, others, name), of=of)
        statistic = STATISTICS[name]
        found = estimate(lambda one, two: statistic(one) - statistic(two), mine, others)
        return replace(found, members=int(np.isfinite(mine).sum()), of=of)

    @cached_property
    def leads(self) -> tuple[Lead, ...]:
        """Comparison of every chain with each reference, by its mean over tasks; p after Holm's correction for all of them."""
        found: list[Lead] = []
        for place, reference in enumerate(self.references):
            other = self.row(reference)
            assert other is not None
            for row in self.rows:
                if row is not other and row.label not in self.references[:place]:
                    tested = lead(row.label, row.score, reference, other.score, paired=True)
                    found.append(tested if self.whole else replace(tested, difference=self.ahead(row, other, "mean")))
        return tuple(corrected_together(found))

    @cached_property
    def best(self) -> Row | None:
        """The chain whose interquartile mean exceeds every other's except the control's: each paired difference is above 0 after Holm's
        correction for the number of rivals. None without one."""
        rivals = [row for row in self.rows if not row.fresh_control]
        if len(rivals) < 2 or self.fewest < ENOUGH_MEMBERS:
            return None
        chains = (row for row in rivals if ahead_of_all([self.ahead(row, other) for other in rivals if other is not row]))
        return next(chains, None)

    @cached_property
    def fewest(self) -> int:
        """The smallest number of members of any task and chain."""
        there = [self._there(row.score) for row in self.rows if not self.lacking(row)]
        return min((int(np.isfinite(each).sum(axis=0).min()) for each in there), default=0)


def over_control(above: np.ndarray, below: np.ndarray, repetitions: int = RESAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """Aggregates over tasks of the ratio mean(above) / mean(below) per task: (aggregates,), and (repetitions, aggregates) of resamples.

    The matrices (members, tasks) have the same members, which are drawn anew for every task, and together.
    """
    mine, fresh = cells(above), cells(below)
    starts = [task.start for task in mine.tasks]

    def aggregates(weights: np.ndarray) -> np.ndarray:
        sums = [np.add.reduceat(each.scores[:, :1] * weights, starts, axis=0) for each in (mine, fresh)]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = (sums[0] / sums[1]).T[:, None]
        return np.stack([STATISTICS[name](ratios) for name in NAMES], axis=1)

    value = aggregates(np.ones((len(mine.scores), 1)))[0]
    return value, np.concatenate([aggregates(weights.astype(float)) for weights in draws(mine, repetitions, 0)])


def _over_control(name: str) -> Statistic:
    """The statistic: an aggregate over tasks of the ratio mean(above) / mean(below) per task, of whole members."""

    def statistic(above: np.ndarray, below: np.ndarray) -> np.ndarray:
        return STATISTICS[name]((above.mean(axis=-2) / below.mean(axis=-2))[..., None, :])

    return statistic


def _complete(scores: np.ndarray) -> bool:
    """True if every task has a member."""
    return len(scores) > 0 and bool(np.isfinite(scores).any(axis=0).all())


def estimated(found: Iterable[Any], members: int, of: int) -> Estimate:
    """The estimate from (value, low, high), with a note if there is no interval."""
    value, low, high = map(float, found)
    if not np.isfinite(value):
        return Estimate(np.nan, members=members, of=of, note="division by zero")
    if not np.isfinite([low, high]).all():
        return Estimate(value, members=members, of=of, note="no interval: one member of some task")
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        return Estimate(value, members=members, of=of, note=ALIKE)
    return Estimate(value, low, high, members, of)
