"""Speed of bootstrap intervals of benchmark aggregates compared with rliable's, alternating in one process.

Six algorithms, ten runs of each of 57 tasks, four aggregates. rliable would take a minute, so it may be given fewer resamples; its time is
proportional to their number and is scaled up.
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
"""megabyte in the unit of ru_maxrss"""


def scores(algorithms: int = ALGORITHMS, runs: int = RUNS, tasks: int = TASKS, seed: int = 0) -> np.ndarray:
    """Draw scores (runs, tasks, algorithms) that differ most between tasks, less between runs, and least between algorithms."""
    random = np.random.default_rng(seed)
    return np.exp(
        random.normal(-0.3, 0.8, size=(tasks, 1)) + 0.2 * random.normal(size=(runs, tasks, algorithms)) + 0.05 * np.arange(algorithms)
    )


def theirs(matrix: np.ndarray, repetitions: int) -> np.ndarray:
    """Compute rliable's interval limits (low and high, aggregates) for one algorithm's scores (runs, tasks)."""

    def aggregates(drawn: np.ndarray) -> np.ndarray:
        found = metrics.aggregate_iqm(drawn), metrics.aggregate_median(drawn), metrics.aggregate_mean(drawn)
        return np.array([*found, metrics.aggregate_optimality_gap(drawn)])

    _, limits = library.get_interval_estimates({"it": matrix}, aggregates, reps=repetitions)
    return limits["it"]


def apart(ours: Intervals, limits: np.ndarray) -> float:
    """Compute the largest difference of limits (low and high, aggregates, algorithms), as a share of the interval's width."""
    width = limits[1] - limits[0]
    return float(max((np.abs(ours.low - limits[0]) / width).max(), (np.abs(ours.high - limits[1]) / width).max()))


def measure(repetitions: int, fewer: int, rounds: int) -> None:
    """Print the time of both for `repetitions` resamples; rliable's is scaled from `fewer` resamples per round."""
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
