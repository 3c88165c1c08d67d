"""Published scores, displayed beside the runs' scores: marked as published, excluded from comparisons and never best.

They are displayed for the same tasks, normalised in the same way. `measure` states how they were measured: the runs' scores are means over
whole visits, which lie below the scores reached at their ends.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from analysis.scores.matrix import RESAMPLES, ScoreMatrix, estimated
from analysis.statistics.aggregates import intervals
from analysis.statistics.intervals import Estimate
from plasticity_rl.checks import UsageError, nearest

NORMALISED = "human-normalised return"


class Row(NamedTuple):
    """The score of one run on one task, as in its file."""

    source: str
    """author and place of publication"""
    label: str
    """the agent's published name"""
    measure: str
    """definition of the score: `mean of the last 100 episodes`"""
    task: str
    run: str
    score: float
    normalised: bool = False
    """True if the score is human-normalised; otherwise raw, in the unit of the task"""


@dataclass(frozen=True)
class PublishedScores:
    """Scores of one agent from one source."""

    source: str
    label: str
    measure: str
    scores: dict[str, tuple[float, ...]]
    """task -> scores of its runs"""
    normalised: bool = False


def gather(rows: Iterable[Row]) -> tuple[PublishedScores, ...]:
    """The agents of these rows, in order of appearance. Raises UsageError for a duplicate run and a non-finite score."""
    found: dict[tuple[str, str, str, bool], dict[str, dict[str, float]]] = {}
    for row in rows:
        runs = found.setdefault((row.source, row.label, row.measure, row.normalised), {}).setdefault(row.task, {})
        if row.run in runs:
            raise UsageError(f"{row.source}: run {row.run} of {row.label} on {row.task} appears twice")
        if not math.isfinite(row.score):
            raise UsageError(f"{row.source}: the score of run {row.run} of {row.label} on {row.task} is {row.score}, which is not finite")
        runs[row.run] = row.score
    return tuple(
        PublishedScores(source, label, measure, {task: tuple(runs.values()) for task, runs in tasks.items()}, normalised)
        for (source, label, measure, normalised), tasks in found.items()
    )


def latest(values: Sequence[float], last: int, what: str) -> float:
    """The mean of the last `last` values, or of all if 0. Raises UsageError if there are fewer."""
    if not values or len(values) < last:
        raise UsageError(f"{what}: {len(values)} values, fewer than last={last}; last=0 takes the mean of all that there are")
    return float(np.mean(values[-last:] if last else values))


def mean_of(last: int, what: str, until: int | None = None) -> str:
    """The description of a measure computed by `latest`."""
    found = f"the last {what.removesuffix('s')}" if last == 1 else f"mean of {f'the last {last}' if last else 'all'} {what}"
    return found + (f" up to {until:,}" if until is not None else "")


def spelled(published: PublishedScores, tasks: Iterable[str]) -> PublishedScores:
    """The scores with tasks renamed to the runs' `tasks` that differ only in case."""
    known = {task.lower(): task for task in tasks}
    names = {task: known.get(task.lower(), task) for task in published.scores}
    names = {task: name if task == name or name not in published.scores else task for task, name in names.items()}
    return replace(published, scores={names[task]: scores for task, scores in published.scores.items()})


def unknown(others: Iterable[PublishedScores], tasks: Iterable[str]) -> list[str]:
    """One line for each published task that resembles one of the runs' `tasks` without published score; one line for all others, per
    source."""
    lines: list[str] = []
    sources: dict[str, set[str]] = {}
    for each in others:
        sources.setdefault(each.source, set()).update(each.scores)
    tasks = set(tasks)
    for source, named in sources.items():
        near = {task: nearest(task, tasks - named) for task in sorted(named - tasks)}
        meant = {task: clause for task, clause in near.items() if clause.startswith("did you mean")}
        lines += [f"published ({source}): {task} is no task of the runs; {clause}" for task, clause in meant.items()]
        if rest := [task for task in near if task not in meant]:
            listed = near[rest[0]] if tasks - named else "they have scores of all that are"
            lines.append(f"published ({source}): no task of the runs: {', '.join(rest)}; {listed}")
    return lines


def obstacle(matrix: ScoreMatrix, published: PublishedScores) -> str:
    """Why published scores cannot be compared with a score matrix; empty if they can."""
    unlike = published.normalised and matrix.scale != NORMALISED
    return matrix.no_scale or (f"they are human-normalised, and ours are not ({matrix.scale})" if unlike else "")


def beside(matrix: ScoreMatrix, published: PublishedScores) -> dict[str, Estimate] | None:
    """Aggregates of published scores on a matrix's tasks, aggregate -> estimate; None if there are none or there is an obstacle.

    Runs of different tasks are independent, so their members are drawn anew for each task.
    """
    there = [published.scores.get(task, ()) for task in matrix.of]
    if not any(there) or obstacle(matrix, published):
        return None
    absent = [task for task, scores in zip(matrix.of, there, strict=True) if not scores]
    names = list(dict.fromkeys(absent))
    of = sum(map(len, there))
    if absent:
        note = f"no score of {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        return {name: Estimate(np.nan, of=of, note=note) for name in matrix.names}
    shown = np.full((max(map(len, there)), len(there)), np.nan)
    for column, scores in enumerate(there):
        raw = np.array(scores)
        shown[: len(scores), column] = raw if published.normalised else (raw - matrix.floor[column]) / matrix.human[column]
    found = intervals(shown, matrix.names, RESAMPLES)
    return {name: estimated((each[at] for each in found), of, of) for at, name in enumerate(matrix.names)}
