"""Other people's scores, to stand beside ours: marked as theirs, in no comparison and never best.

A CSV file with the columns

    source   whose they are and where they stand: `DQN Zoo, github.com/google-deepmind/dqn_zoo`
    label    what they call the agent
    measure  what the number is: `mean of the last 100 episodes after 200M frames`
    task     one of ours
    run      a number or a name for each independent run; anything where there is one alone
    score    raw, in the unit of the task, as returns are

A score stands beside the tasks it is of, normalised as ours are. Whether it was measured as ours were is for `measure` to say: ours are
means over whole visits, which lie below what is reached at their ends.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.aggregates import intervals
from analysis.panels import REPETITIONS, Panel, estimated
from analysis.statistics import Estimate
from plasticity_rl.checks import UsageError
from plasticity_rl.files import choose_columns, read_csv

COLUMNS = ("source", "label", "measure", "task", "run", "score")


@dataclass(frozen=True)
class Theirs:
    """One agent of one source."""

    source: str
    label: str
    measure: str
    scores: dict[str, tuple[float, ...]]
    """task -> raw scores of its runs"""


def read_theirs(path: Path) -> tuple[Theirs, ...]:
    """The agents of a file, in its order. Raises UsageError, with the row, for what is no such file."""
    header, rows = read_csv(path)
    header = choose_columns(path, header, COLUMNS)
    if not rows:
        raise UsageError(f"{path} has no row")
    found: dict[tuple[str, str, str], dict[str, dict[str, float]]] = {}
    for number, row in rows:
        if not all(row):
            raise UsageError(f"{path}, row {number}: every column needs a value")
        source, label, measure, task, run, text = (row[header.index(name)] for name in COLUMNS)
        try:
            score = float(text)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise UsageError(f"{path}, row {number}: {text!r} is not a finite score")
        runs = found.setdefault((source, label, measure), {}).setdefault(task, {})
        if run in runs:
            raise UsageError(f"{path}, row {number}: run {run} of {label} on {task} is there twice")
        runs[run] = score
    return tuple(Theirs(*whose, {task: tuple(runs.values()) for task, runs in tasks.items()}) for whose, tasks in found.items())


def beside(panel: Panel, theirs: Theirs) -> dict[str, Estimate] | None:
    """aggregate -> estimate, of their scores on a panel's tasks; None where they have none of them.

    Runs of different tasks have nothing in common, so they are drawn anew for every task.
    """
    there = [theirs.scores.get(task, ()) for task in panel.of]
    if not any(there) or panel.no_scale:
        return None
    absent = [task for task, scores in zip(panel.of, there, strict=True) if not scores]
    names = list(dict.fromkeys(absent))
    of = sum(map(len, there))
    if absent:
        note = f"no score of {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        return {name: Estimate(np.nan, of=of, note=note) for name in panel.names}
    matrix = np.full((max(map(len, there)), len(there)), np.nan)
    for column, scores in enumerate(there):
        matrix[: len(scores), column] = (np.array(scores) - panel.floor[column]) / panel.human[column]
    found = intervals(matrix, panel.names, REPETITIONS)
    return {name: estimated((each[at] for each in found), of, of) for at, name in enumerate(panel.names)}
