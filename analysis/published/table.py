"""The project's table of published scores: CSV with the columns source, label, measure, task, run, score.

source   author and place of publication: `DQN Zoo, github.com/google-deepmind/dqn_zoo`
label    the agent's published name
measure  definition of the score: `mean of the last 100 episodes after 200M frames`
task     a task of this project
run      number or name of an independent run; arbitrary if there is only one
score    raw score, in the unit of the task
"""

import math
from collections.abc import Iterator
from pathlib import Path

from analysis.published.scores import Row
from plasticity_rl.checks import UsageError
from plasticity_rl.files import choose_columns, read_csv

COLUMNS = ("source", "label", "measure", "task", "run", "score")


def read(path: Path) -> Iterator[Row]:
    """Scores of a table. Raises UsageError, naming the row, if the file is invalid."""
    header, rows = read_csv(path)
    header = choose_columns(path, header, COLUMNS)
    if not rows:
        raise UsageError(f"{path} has no row")
    found: set[tuple[str, ...]] = set()
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
        whose = (source, label, measure, task, run)
        if whose in found:
            raise UsageError(f"{path}, row {number}: run {run} of {label} on {task} appears twice")
        found.add(whose)
        yield Row(*whose, score)
