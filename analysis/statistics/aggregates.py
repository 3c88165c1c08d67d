"""The aggregates of Agarwal et al. 2021 (arXiv 2108.13264) over runs and tasks, with bootstrap intervals, for many columns at once.

Scores are (runs, tasks, ...): further axes, such as frames or algorithms, are resampled with the same runs, so that columns are
paired. NaN is a missing run: tasks may have unequal numbers of runs, and every task weighs the same.

No resample is ever put together: how often each score was drawn is its weight, and all aggregates are functions of weights. Sorted once,
the interquartile mean takes a running sum of weights in place of a sort for each resample.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analysis.statistics.bootstrap import interval

NAMES = ("iqm", "median", "mean", "optimality_gap")
"""interquartile mean over all scores; median over tasks of means over runs; mean; how far scores below 1 fall short of it"""
BLOCK = 2**18
"""weights held at once: they stay in a processor's cache"""


class Intervals(NamedTuple):
    """Values with interval ends, (aggregates, ...) each, where ... are the further axes of the scores."""

    value: np.ndarray
    low: np.ndarray
    """NaN where a task has one run alone: an interval of no width would be a lie"""
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class Cells:
    """The scores that are there, tasks in blocks."""

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
    """Collect the finite scores of (runs, tasks, ...). A missing run is missing in all further axes; a task without a run is refused."""
    assert scores.ndim >= 2 and scores.size > 0, f"scores must be (runs, tasks, ...), not {scores.shape}"
    further = scores.shape[2:]
    table = np.asarray(scores, dtype=float).swapaxes(0, 1).reshape(scores.shape[1], scores.shape[0], -1)
    there = np.isfinite(table).all(axis=2)
    assert (np.isnan(table).all(axis=2) | there).all(), "a run must be there, or be NaN in all its columns"
    runs = there.sum(axis=1)
    assert runs.all(), f"task {int(np.argmin(runs))} has no run"
    stops = np.cumsum(runs).tolist()
    flat = table[there]
    return Cells(
        scores=flat,
        order=np.argsort(flat, axis=0, kind="stable").T,
        tasks=tuple(slice(stop - count, stop) for stop, count in zip(stops, runs.tolist(), strict=True)),
        share=np.repeat(len(flat) / (len(runs) * runs), runs),
        further=further,
    )


def draws(found: Cells, repetitions: int, seed: int, by_task: bool, block: int = 0) -> Iterator[np.ndarray]:
    """How often each cell was drawn, (cells, block), until there are `repetitions`. Whole runs need a full matrix."""
    assert by_task or found.equal, "whole runs cannot be resampled where tasks have unequal numbers of them"
    random = np.random.default_rng(seed)
    block = block or max(1, BLOCK // len(found.scores))
    runs = [task.stop - task.start for task in found.tasks]
    for start in range(0, repetitions, block):
        size = min(block, repetitions - start)
        if not by_task:
            yield np.tile(_counts(random, 1, runs[0], size)[0], (len(runs), 1))
        elif found.equal:
            yield _counts(random, len(runs), runs[0], size).reshape(-1, size)
        else:
            yield np.concatenate([_counts(random, 1, each, size)[0] for each in runs])


def _counts(random: np.random.Generator, tasks: int, runs: int, size: int) -> np.ndarray:
    """Draw `runs` runs with replacement, `size` times for each task: how often each was drawn, (tasks, runs, size)."""
    counting = np.uint8 if runs < 256 else np.int32
    chosen = random.integers(runs, size=(tasks, runs, size), dtype=counting)
    drawn = np.empty(chosen.shape, dtype=counting)
    for run in range(runs):
        np.sum((chosen == run).view(np.uint8), axis=1, dtype=counting, out=drawn[:, run])
    return drawn


def weighted(found: Cells, weights: np.ndarray, names: Sequence[str] = NAMES) -> np.ndarray:
    """The aggregates of scores with weights (cells, block), which sum to its number of runs in each task. (aggregates, columns, block)."""
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
    """Mean over the runs of each task. (tasks, columns, block)."""
    weights = weights.astype(float)
    if found.equal:
        runs = found.tasks[0].stop
        split = (len(found.tasks), runs, -1)
        return (scores / runs).reshape(split).swapaxes(1, 2) @ weights.reshape(split)
    return np.stack([scores[task].T @ weights[task] / (task.stop - task.start) for task in found.tasks])


def _median(means: np.ndarray) -> np.ndarray:
    """Over the first axis; np.median takes twice as long."""
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
    """The aggregates of scores (runs, tasks, ...) themselves. (aggregates, ...)."""
    found = cells(scores)
    return weighted(found, np.ones((len(found.scores), 1)), names)[..., 0].reshape(len(names), *found.further)


def resample(
    scores: np.ndarray, names: Sequence[str] = NAMES, repetitions: int = 50_000, seed: int = 0, by_task: bool = True
) -> np.ndarray:
    """The aggregates of resamples of scores (runs, tasks, ...). (repetitions, aggregates, ...).

    `by_task` draws runs anew for every task, as rliable does: right where each run is of one task. Otherwise runs are drawn whole.
    """
    return _resample(cells(scores), names, repetitions, seed, by_task).reshape(repetitions, len(names), *scores.shape[2:])


def _resample(found: Cells, names: Sequence[str], repetitions: int, seed: int, by_task: bool) -> np.ndarray:
    samples = np.empty((repetitions, len(names), found.scores.shape[1]))
    start = 0
    for weights in draws(found, repetitions, seed, by_task):
        stop = start + weights.shape[1]
        samples[start:stop] = np.moveaxis(weighted(found, weights, names), -1, 0)
        start = stop
    return samples


def intervals(
    scores: np.ndarray,
    names: Sequence[str] = NAMES,
    repetitions: int = 50_000,
    seed: int = 0,
    by_task: bool = True,
) -> Intervals:
    """The aggregates of scores (runs, tasks, ...) with their 95% intervals. For (runs, tasks, frames): sample-efficiency curves."""
    found = cells(scores)
    value = weighted(found, np.ones((len(found.scores), 1)), names)[..., 0]
    if _alone(found):
        low, high = np.full((2, *value.shape), np.nan)
    else:
        low, high = interval(_resample(found, names, repetitions, seed, by_task))
    return Intervals(*(each.reshape(len(names), *found.further) for each in (value, low, high)))


def profile(scores: np.ndarray, levels: np.ndarray, repetitions: int = 2_000, seed: int = 0, by_task: bool = True) -> Intervals:
    """Performance profile: the share of scores (runs, tasks) above each level, with pointwise intervals. (levels,) each."""
    above = np.where(np.isfinite(scores)[..., None], scores[..., None] > levels, np.nan)
    return Intervals(*(each[0] for each in intervals(above, ("mean",), repetitions, seed, by_task)))


def sample_efficiency(scores: np.ndarray, name: str = "iqm", repetitions: int = 2_000, seed: int = 0, by_task: bool = True) -> Intervals:
    """An aggregate of scores (runs, tasks, frames) at each number of frames, with pointwise intervals. (frames,) each."""
    return Intervals(*(each[0] for each in intervals(scores, (name,), repetitions, seed, by_task)))


def differences(
    better: np.ndarray,
    other: np.ndarray,
    names: Sequence[str] = NAMES,
    repetitions: int = 50_000,
    seed: int = 0,
    by_task: bool = True,
    paired: bool = True,
) -> Intervals:
    """The aggregates of `better` less those of `other`, (runs, tasks, ...) both, with their 95% intervals. (aggregates, ...) each.

    `paired` resamples both with the same runs: row i of both is one seed on one stream. Decide from it wherever there is one.
    """
    above, below = _sides(better, other, paired)
    ones = [weighted(each, np.ones((len(each.scores), 1)), names)[..., 0] for each in (above, below)]
    value = ones[0] - ones[1]
    if _alone(above) or _alone(below):
        low, high = np.full((2, *value.shape), np.nan)
    else:
        samples = _resample(above, names, repetitions, seed, by_task)
        samples -= _resample(below, names, repetitions, seed if paired else seed + 1, by_task)
        low, high = interval(samples)
    return Intervals(*(each.reshape(len(names), *above.further) for each in (value, low, high)))


def probability_of_improvement(
    better: np.ndarray, other: np.ndarray, repetitions: int = 50_000, seed: int = 0, by_task: bool = True, paired: bool = False
) -> Intervals:
    """How likely a run of `better` beats one of `other` on the same task, a tie half, mean over tasks. Matrices (runs, tasks); () each.

    `paired` resamples both with the same runs; otherwise each by itself, as rliable does.
    """
    above, below = _sides(better, other, paired)
    tasks = list(zip(above.tasks, below.tasks, strict=True))
    wins = [_wins(above.scores[own, 0], below.scores[others, 0]) for own, others in tasks]
    value = np.asarray(np.mean([each.mean() for each in wins]))
    if _alone(above) or _alone(below):
        return Intervals(value, *np.full(2, np.nan))
    block = max(1, BLOCK // max(len(above.scores), len(below.scores)))
    drawn = draws(above, repetitions, seed, by_task, block)
    countered = draws(below, repetitions, seed if paired else seed + 1, by_task, block)
    samples = [
        sum(((each.T @ mine[own]) * yours[others]).sum(axis=0) / each.size for each, (own, others) in zip(wins, tasks, strict=True))
        for mine, yours in zip(drawn, countered, strict=True)
    ]
    return Intervals(value, *interval(np.concatenate(samples) / len(wins)))


def _sides(better: np.ndarray, other: np.ndarray, paired: bool) -> tuple[Cells, Cells]:
    assert better.shape[1:] == other.shape[1:], f"scores of different tasks: {better.shape} and {other.shape}"
    assert not paired or (np.isfinite(better) == np.isfinite(other)).all(), "runs that are paired must be there in both"
    return cells(better), cells(other)


def _alone(found: Cells) -> bool:
    """Is there a task of one run?"""
    return min(task.stop - task.start for task in found.tasks) == 1


def _wins(better: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(runs, runs of the other): 1 where the first is above, a half where they tie."""
    return (better[:, None] > other) + 0.5 * (better[:, None] == other)
