"""Speed of the intervals of a benchmark's aggregates beside rliable's, in the same process and in turn.

Six algorithms, ten runs of each of 57 tasks, four aggregates. rliable takes a minute for what is asked of it, so it may be given fewer
resamples; its time grows with their number, and is scaled up.
"""

import resource
import statistics
import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table
from rliable import library, metrics

from analysis.statistics.aggregates import NAMES, Intervals, intervals

ALGORITHMS, RUNS, TASKS = 6, 10, 57
MEGABYTE = 1e6 if sys.platform == "darwin" else 1e3
"""in what ru_maxrss counts"""


def scores(algorithms: int = ALGORITHMS, runs: int = RUNS, tasks: int = TASKS, seed: int = 0) -> np.ndarray:
    """Scores (runs, tasks, algorithms), with tasks that differ more than runs, and algorithms a little."""
    random = np.random.default_rng(seed)
    return np.exp(
        random.normal(-0.3, 0.8, size=(tasks, 1)) + 0.2 * random.normal(size=(runs, tasks, algorithms)) + 0.05 * np.arange(algorithms)
    )


def theirs(matrix: np.ndarray, repetitions: int) -> np.ndarray:
    """rliable's limits for one algorithm's scores (runs, tasks). (low and high, aggregates)."""

    def aggregates(drawn: np.ndarray) -> np.ndarray:
        found = metrics.aggregate_iqm(drawn), metrics.aggregate_median(drawn), metrics.aggregate_mean(drawn)
        return np.array([*found, metrics.aggregate_optimality_gap(drawn)])

    _, limits = library.get_interval_estimates({"it": matrix}, aggregates, reps=repetitions)
    return limits["it"]


def apart(ours: Intervals, limits: np.ndarray) -> float:
    """The largest difference of limits (low and high, aggregates, algorithms), as a share of the interval's width."""
    width = limits[1] - limits[0]
    return float(max((np.abs(ours.low - limits[0]) / width).max(), (np.abs(ours.high - limits[1]) / width).max()))


def measure(repetitions: int, fewer: int, rounds: int) -> None:
    """Print how long both take for `repetitions` resamples, of which rliable carries out `fewer` in each of the rounds."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    matrix = scores()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    our_seconds, their_seconds, limits, after, ours = [], [], np.zeros(0), 0.0, None
    for number in range(rounds):
        with console.status(f"round {number + 1} of {rounds}: ours"):
            start = time.perf_counter()
            ours = intervals(matrix, repetitions=repetitions, seed=number)
            our_seconds.append(time.perf_counter() - start)
            after = after or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with console.status(f"round {number + 1} of {rounds}: rliable's"):
            start = time.perf_counter()
            limits = np.stack([theirs(matrix[..., each], fewer) for each in range(matrix.shape[2])], axis=-1)
            their_seconds.append((time.perf_counter() - start) * repetitions / fewer)
    assert ours is not None
    ratios = [theirs / ours for ours, theirs in zip(our_seconds, their_seconds, strict=True)]
    table = Table("", "seconds", "", box=None, padding=(0, 2))
    table.add_row("ours", f"{statistics.median(our_seconds):.2f}", f"memory {before / MEGABYTE:.0f} MB, at most {after / MEGABYTE:.0f} MB")
    scaled = "" if fewer == repetitions else f"scaled up from {fewer:,} resamples"
    table.add_row("rliable", f"{statistics.median(their_seconds):.1f}", scaled)
    table.add_row("times faster", f"{statistics.median(ratios):.0f}", f"{min(ratios):.0f} to {max(ratios):.0f}")
    console.print(
        f"{ALGORITHMS} algorithms x {RUNS} runs x {TASKS} tasks, {repetitions:,} resamples, {', '.join(NAMES)}; medians of {rounds} rounds",
        table,
        f"limits lie at most {apart(ours, limits):.1%} of the interval's width apart; rliable's come from {fewer:,} resamples",
        sep="\n",
        markup=False,
    )
