"""The aggregates of Agarwal et al. 2021 (arXiv 2108.13264) over many tasks in which each member has one, for many columns at once.

Intervals are the stratified percentile bootstrap's: the members of each task are drawn anew, as rliable does. How often they hold the
truth is simulated by `python -m launch bench statistics` (docs/statistics.md). Differences of two chains, which marks and tests need at any
level, have t intervals over the same strata (`paired_difference`). Members that walk through all tasks have neither: intervals.py.

Scores are (members, tasks, ...): further axes, such as frames or algorithms, are resampled with the same members, so that columns are
paired. NaN is a missing member: tasks may have unequal numbers of members, and every task weighs the same.

Resamples are never materialised: a score's weight is the number of times it was drawn, and all aggregates are functions of weights. Scores
are sorted once; the interquartile mean then needs a running sum of weights instead of a sort per resample.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analysis.statistics.intervals import LEVEL, Estimate, estimated, standard_error

NAMES = ("iqm", "median", "mean", "optimality_gap")
"""interquartile mean over all scores; median over tasks of means over members; mean; mean shortfall of scores below 1"""
BLOCK = 2**18
"""weights computed at once, few enough for a processor's cache"""
METHOD = "stratified percentile bootstrap"
"""name of the method, for captions"""
ENOUGH = 10
"""members of each task from which these intervals hold the truth in about 93%, with few tasks and many (docs/statistics.md)"""


class Intervals(NamedTuple):
    """Values and interval ends, (aggregates, ...) each, where ... are the further axes of the scores."""

    value: np.ndarray
    low: np.ndarray
    """NaN if a task has only one member"""
    high: np.ndarray


def stacked(row: Sequence[Estimate]) -> Intervals:
    """Estimates as arrays, with NaN for a missing interval."""
    ends = [(each.value, np.nan if each.low is None else each.low, np.nan if each.high is None else each.high) for each in row]
    return Intervals(*np.array(ends, dtype=float).reshape(-1, 3).T)


@dataclass(frozen=True, eq=False)
class Cells:
    """The finite scores, task by task."""

    scores: np.ndarray
    """(cells, columns)"""
    order: np.ndarray
    """(columns, cells): from the lowest score to the highest"""
    tasks: tuple[slice, ...]
    """the cells of each task"""
    share: np.ndarray
    """(cells,): weight of one score, 1 where tasks have equally many"""
    further: tuple[int, ...]
    """shape of the columns"""

    @property
    def equal(self) -> bool:
        return len({task.stop - task.start for task in self.tasks}) == 1


def cells(scores: np.ndarray) -> Cells:
    """Collect the finite scores of (members, tasks, ...). A missing member is missing in all further axes; each task needs one."""
    assert scores.ndim >= 2 and scores.size > 0, f"scores must be (members, tasks, ...), not {scores.shape}"
    further = scores.shape[2:]
    table = np.asarray(scores, dtype=float).swapaxes(0, 1).reshape(scores.shape[1], scores.shape[0], -1)
    there = np.isfinite(table).all(axis=2)
    assert (np.isnan(table).all(axis=2) | there).all(), "a member must be there, or be NaN in all its columns"
    members = there.sum(axis=1)
    assert members.all(), f"task {int(np.argmin(members))} has no member"
    stops = np.cumsum(members).tolist()
    flat = table[there]
    return Cells(
        scores=flat,
        order=np.argsort(flat, axis=0, kind="stable").T,
        tasks=tuple(slice(stop - count, stop) for stop, count in zip(stops, members.tolist(), strict=True)),
        share=np.repeat(len(flat) / (len(members) * members), members),
        further=further,
    )


def draws(found: Cells, repetitions: int, seed: int, block: int = 0) -> Iterator[np.ndarray]:
    """Number of times that each cell was drawn, (cells, block), until there are `repetitions`: members are drawn anew for every task."""
    random = np.random.default_rng(seed)
    block = block or max(1, BLOCK // len(found.scores))
    members = [task.stop - task.start for task in found.tasks]
    for start in range(0, repetitions, block):
        size = min(block, repetitions - start)
        if found.equal:
            yield _counts(random, len(members), members[0], size).reshape(-1, size)
        else:
            yield np.concatenate([_counts(random, 1, each, size)[0] for each in members])


def _counts(random: np.random.Generator, tasks: int, members: int, size: int) -> np.ndarray:
    """Resample members with replacement, `size` times for each task: number of times each was drawn, (tasks, members, size)."""
    counting = np.uint8 if members < 256 else np.int32
    chosen = random.integers(members, size=(tasks, members, size), dtype=counting)
    drawn = np.empty(chosen.shape, dtype=counting)
    for member in range(members):
        np.sum((chosen == member).view(np.uint8), axis=1, dtype=counting, out=drawn[:, member])
    return drawn


def weighted(found: Cells, weights: np.ndarray, names: Sequence[str] = NAMES) -> np.ndarray:
    """Aggregates under weights (cells, block), which sum in each task to its number of members. (aggregates, columns, block)."""
    clipped = np.minimum(found.scores, 1.0)
    means = _task_means(found, found.scores, weights) if {"median", "mean"} & set(names) else np.empty(0)
    made: dict[str, Callable[[], np.ndarray]] = {
        "iqm": lambda: _iqm(found, weights),
        "median": lambda: _median(means),
        "mean": lambda: means.mean(axis=0),
        "optimality_gap": lambda: 1.0 - _task_means(found, clipped, weights).mean(axis=0),
    }
    return np.stack([made[name]() for name in names])


def _task_means(found: Cells, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over the members of each task. (tasks, columns, block)."""
    weights = weights.astype(float)
    if found.equal:
        members = found.tasks[0].stop
        split = (len(found.tasks), members, -1)
        return (scores / members).reshape(split).swapaxes(1, 2) @ weights.reshape(split)
    return np.stack([scores[task].T @ weights[task] / (task.stop - task.start) for task in found.tasks])


def _median(means: np.ndarray) -> np.ndarray:
    """Median over the first axis, twice as fast as np.median."""
    ranked = np.sort(np.moveaxis(means, 0, -1), axis=-1)
    return (ranked[..., (len(means) - 1) // 2] + ranked[..., len(means) // 2]) / 2


def _iqm(found: Cells, weights: np.ndarray) -> np.ndarray:
    """Mean without the lowest and the highest quarter of the weight. (columns, block).

    With C the running sum of weights from the lowest score up, held between the quarters, it is the sum of score times step of C.
    """
    total = len(found.scores)
    cut = total // 4
    whole = found.equal and weights.dtype.kind in "iu"
    weights = weights.astype(np.int16 if total < 2**15 else np.int32) if whole else weights * found.share[:, None]
    means = np.empty((len(found.order), weights.shape[1]))
    for column, order in enumerate(found.order):
        ranked = found.scores[order, column]
        running = np.clip(_running_sum(weights[order]), cut, total - cut)
        means[column] = ranked[-1] * (total - cut) - ranked[0] * cut - np.diff(ranked) @ running[:-1].astype(float)
    return means / (total - 2 * cut)


def _running_sum(rows: np.ndarray) -> np.ndarray:
    """np.cumsum(rows, axis=0), in place and in as many whole-array additions as `len(rows)` has bits: five times as fast."""
    step = 1
    while step < len(rows):
        rows[step:] += rows[:-step].copy()
        step *= 2
    return rows


def aggregate(scores: np.ndarray, names: Sequence[str] = NAMES) -> np.ndarray:
    """The aggregates of scores (members, tasks, ...) themselves. (aggregates, ...)."""
    found = cells(scores)
    return weighted(found, np.ones((len(found.scores), 1)), names)[..., 0].reshape(len(names), *found.further)


def resample(scores: np.ndarray, names: Sequence[str] = NAMES, repetitions: int = 50_000, seed: int = 0) -> np.ndarray:
    """The aggregates of resamples of scores (members, tasks, ...). (repetitions, aggregates, ...)."""
    return _resample(cells(scores), names, repetitions, seed).reshape(repetitions, len(names), *scores.shape[2:])


def _resample(found: Cells, names: Sequence[str], repetitions: int, seed: int) -> np.ndarray:
    samples = np.empty((repetitions, len(names), found.scores.shape[1]))
    start = 0
    for weights in draws(found, repetitions, seed):
        stop = start + weights.shape[1]
        samples[start:stop] = np.moveaxis(weighted(found, weights, names), -1, 0)
        start = stop
    return samples


def interval(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95% percentile intervals of resamples (repetitions, ...): low and high, (...) each."""
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def intervals(scores: np.ndarray, names: Sequence[str] = NAMES, repetitions: int = 50_000, seed: int = 0) -> Intervals:
    """The aggregates of scores (members, tasks, ...) with their 95% intervals. For (members, tasks, frames): sample-efficiency curves."""
    found = cells(scores)
    value = weighted(found, np.ones((len(found.scores), 1)), names)[..., 0]
    if _alone(found):
        low, high = np.full((2, *value.shape), np.nan)
    else:
        low, high = interval(_resample(found, names, repetitions, seed))
    return Intervals(*(each.reshape(len(names), *found.further) for each in (value, low, high)))


def profile(scores: np.ndarray, levels: np.ndarray, repetitions: int = 2_000, seed: int = 0) -> Intervals:
    """Performance profile: the share of scores (members, tasks) above each level, with pointwise intervals. (levels,) each."""
    above = np.where(np.isfinite(scores)[..., None], scores[..., None] > levels, np.nan)
    return Intervals(*(each[0] for each in intervals(above, ("mean",), repetitions, seed)))


def sample_efficiency(scores: np.ndarray, name: str = "iqm", repetitions: int = 2_000, seed: int = 0) -> Intervals:
    """An aggregate of scores (members, tasks, frames) at each number of frames, with pointwise intervals. (frames,) each."""
    return Intervals(*(each[0] for each in intervals(scores, (name,), repetitions, seed)))


def paired_difference(better: np.ndarray, other: np.ndarray, name: str = "iqm") -> Estimate:
    """Difference of one aggregate of two chains' scores (members, tasks), paired member by member, with its t interval.

    The standard error is the jackknife's in strata: each member of each task is left out in turn, and the tasks' variances are summed.
    Degrees of freedom are Satterthwaite's. For a mean this is the t interval of the mean over tasks of paired differences; a median over
    tasks is not smooth enough for it.
    """
    assert name != "median", "the median over tasks has no jackknife"
    above, below = _sides(better, other)
    ones = np.ones((len(above.scores), 1))
    members, of = len(above.scores), better.size
    value = float((weighted(above, ones, (name,)) - weighted(below, ones, (name,))).item())
    if _alone(above):
        return Estimate(value, members=members, of=of, note="no interval: one member of some task")
    counts = np.array([task.stop - task.start for task in above.tasks])
    own = np.repeat(np.arange(len(counts)), counts)
    without = np.empty(members)
    for start in range(0, members, block := max(1, BLOCK // members)):
        some = np.arange(start, min(start + block, members))
        # The others of its task make up for a member that is left out: every task keeps its weight.
        weights = 1 + (own[:, None] == own[some]) / (counts[own[some]] - 1)
        weights[some, np.arange(len(some))] = 0.0
        without[some] = (weighted(above, weights, (name,)) - weighted(below, weights, (name,)))[0, 0]
    variances = np.array([standard_error(without[task]) ** 2 for task in above.tasks])
    total, squares = float(variances.sum()), float((variances**2 / (counts - 1)).sum())
    return estimated(value, total**0.5, total**2 / squares if squares else np.nan, members, of)


def probability_of_improvement(
    better: np.ndarray, other: np.ndarray, repetitions: int = 50_000, seed: int = 0, paired: bool = False
) -> Intervals:
    """Probability that a member of `better` scores above one of `other`, ties counting half, mean over tasks. Matrices (members, tasks).

    `paired` resamples both with the same members; otherwise each by itself, as rliable does.
    """
    above, below = _sides(better, other, paired)
    tasks = list(zip(above.tasks, below.tasks, strict=True))
    wins = [_wins(above.scores[own, 0], below.scores[others, 0]) for own, others in tasks]
    value = np.asarray(np.mean([each.mean() for each in wins]))
    if _alone(above) or _alone(below):
        return Intervals(value, *np.full(2, np.nan))
    block = max(1, BLOCK // max(len(above.scores), len(below.scores)))
    drawn = draws(above, repetitions, seed, block)
    countered = draws(below, repetitions, seed if paired else seed + 1, block)
    samples = [
        sum(((each.T @ mine[own]) * yours[others]).sum(axis=0) / each.size for each, (own, others) in zip(wins, tasks, strict=True))
        for mine, yours in zip(drawn, countered, strict=True)
    ]
    return Intervals(value, *interval(np.concatenate(samples) / len(wins)))


def _sides(better: np.ndarray, other: np.ndarray, paired: bool = True) -> tuple[Cells, Cells]:
    assert better.shape[1:] == other.shape[1:], f"scores of different tasks: {better.shape} and {other.shape}"
    assert not paired or (np.isfinite(better) == np.isfinite(other)).all(), "members that are paired must be there in both"
    return cells(better), cells(other)


def _alone(found: Cells) -> bool:
    """True if some task has only one member."""
    return min(task.stop - task.start for task in found.tasks) == 1


def _wins(better: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Comparison of every pair, (members, members of the other): 1 if the first is above, 0.5 for a tie."""
    return (better[:, None] > other) + 0.5 * (better[:, None] == other)
