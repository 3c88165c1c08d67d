"""Load all runs at or below some folders as tidy tables, with a list of missing data.

A run that cannot be read, or whose rows contradict its own description, is skipped entirely; torn rows and non-finite values are skipped
alone. Both are listed by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.data.comparable import Missing, Run, refuse_mixtures, unequal
from analysis.format import count, numbered
from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Metric, Score
from plasticity_rl.records.folder import RunFolder, read_specs
from plasticity_rl.records.spec import Spec

MEASURED = ("online", "test")
"""kinds measured over an interval of learning or at its end: at most one row per member and count"""
KINDS = (*MEASURED, "return", "cut", "evaluation")
Columns = dict[str, np.ndarray]
"""a run's rows: name -> (rows,)"""
LEADING = ("run", "setting", "benchmark", "label", "seed")
"""columns that identify a row's run: its key, and fields of its spec.json"""


@dataclass(frozen=True, eq=False)
class Loaded:
    """All runs found, as tables."""

    runs: tuple[Run, ...]
    """all runs, including those without a row in `scores`; sorted by benchmark, setting, label and seed"""
    scores: pd.DataFrame
    """columns LEADING and those of events.Score; a non-finite score is NaN"""
    metrics: pd.DataFrame
    """columns LEADING and those of events.Metric; finite values"""
    missing: tuple[Missing, ...]

    @cached_property
    def spans(self) -> dict[str, slice]:
        """Rows of each run in `scores`, by the run's key; runs are in the order of `runs`."""
        keys = self.scores.run.to_numpy(dtype=object)
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.array([], dtype=int)
        stops = [*starts[1:].tolist(), len(keys)]
        return {str(keys[start]): slice(start, stop) for start, stop in zip(starts.tolist(), stops, strict=True)}

    def of(self, run: Run) -> pd.DataFrame:
        """One run's scores."""
        return self.scores.iloc[self.spans.get(run.spec.key, slice(0))]

    def lacking(self, setting: str) -> list[str]:
        """Missing, or possibly missing, data of a setting."""
        return [line.what for line in self.missing if line.setting in ("", setting)]


def load(folders: Sequence[Path]) -> Loaded:
    """Read every run at or below `folders`.

    Raises UsageError for a folder without runs, if no run has a row, and for runs that are not comparable (comparable.py).
    """
    runs, missing = _find(folders)
    refuse_mixtures(runs)
    missing += unequal(runs)
    scores: list[Columns] = []
    metrics: list[Columns] = []
    first_problem = ""
    for run in runs:
        rows, torn = run.folder.read_rows(Score)
        columns, problems = _scores(run, rows)
        scores.append(columns)
        if not run.done:
            reached = f": in visit {columns['visit'].max()} of 0-{len(run.spec.visits) - 1}" if len(columns["visit"]) else ""
            problems.append(f"not finished{reached}")
        problems = run.folder.altered() + torn + problems
        diagnostics, more = _metrics(run) if len(columns["visit"]) else (_columns([], Metric), [])
        metrics.append(diagnostics)
        problems += more
        missing += [Missing(run.spec.setting, f"{run.name}: {problem}") for problem in problems]
        first_problem = first_problem or f"{run.folder}: {problems[0] if problems else 'no rows'}"
    if not any(len(columns["visit"]) for columns in scores):
        raise UsageError(f"no scores to report in any of the runs found ({len(runs)}); the first: {first_problem}")
    return Loaded(tuple(runs), _stack(runs, scores), _stack(runs, metrics), tuple(missing))


def _find(folders: Sequence[Path]) -> tuple[list[Run], list[Missing]]:
    """The readable runs, and the others by name."""
    found: dict[Path, Run] = {}
    unreadable: dict[Path, str] = {}
    if not folders:
        raise UsageError("no folder was named: name one that holds runs")
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"no such folder: {folder}")
        here, broken = read_specs(folder)
        if not here and not broken:
            raise UsageError(f"no run in {folder}: a run is a folder with a spec.json")
        found |= {run.path.resolve(): Run(run, spec, run.is_done, _context(run)) for run, spec in here.items()}
        unreadable |= {run.path.resolve(): why for run, why in broken.items()}
    if not found:
        raise UsageError(next(iter(unreadable.values())))
    runs = sorted(found.values(), key=lambda run: (run.spec.benchmark, run.spec.setting, run.spec.label, run.spec.seed, run.spec.key))
    return runs, [Missing("", f"a run is left out: {unreadable[path]}") for path in sorted(unreadable)]


def _context(folder: RunFolder) -> dict[str, Any]:
    """The run's context.json; empty if unknown."""
    try:
        return folder.read_context()
    except (OSError, ValueError, RecursionError):
        return {}


def _columns(rows: Sequence[Any], row: type[Score] | type[Metric]) -> Columns:
    """Rows as columns, with the types of the row's fields."""
    kinds = {int: np.int64, float: np.float64, str: object}
    values = zip(*rows, strict=True) if rows else ([] for _ in row._fields)
    return {name: np.array(column, dtype=kinds[row.__annotations__[name]]) for name, column in zip(row._fields, values, strict=True)}


def _only(columns: Columns, rows: np.ndarray) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def _stack(runs: Sequence[Run], tables: Sequence[Columns]) -> pd.DataFrame:
    """Concatenate the columns of all runs, with LEADING before them."""
    counts = [len(columns["visit"]) for columns in tables]
    leading = zip(*((run.spec.key, *run.spec[1:4], run.spec.seed) for run in runs), strict=True)
    made = {
        name: np.repeat(np.array(of, dtype=object if name != "seed" else np.int64), counts)
        for name, of in zip(LEADING, leading, strict=True)
    }
    return pd.DataFrame(made | {name: np.concatenate([columns[name] for columns in tables]) for name in tables[0]})


def _scores(run: Run, rows: list[Score]) -> tuple[Columns, list[str]]:
    """The run's scores, and one line per problem with them."""
    columns, problems = _columns(rows, Score), []
    if len(first := _first_of_each(rows)) < len(rows):
        problems.append(f"scores.csv: {count(len(rows) - len(first), 'row')} more than once; counted once")
        columns = _only(columns, first)
    kind = columns["kind"]
    contradiction = _contradiction(run.spec, columns, evaluated=kind == "evaluation") or _disorder(run.spec, columns)
    if contradiction:
        return _columns([], Score), [f"left out whole: scores.csv contradicts spec.json: {contradiction}"]
    broken = ~np.isfinite(columns["score"])
    if broken.any():
        where = sorted(set(zip(columns["member"][broken].tolist(), columns["visit"][broken].tolist(), strict=True)))
        problems.append("scores.csv: non-finite score of " + "; ".join(f"member {member}, visit {visit}" for member, visit in where[:5]))
        problems[-1] += f" and {len(where) - 5} more" if len(where) > 5 else ""
        columns["score"] = np.where(broken, np.nan, columns["score"])
    if (kind == "evaluation").all():
        problems.append("scores.csv: no rows" + (" but evaluations" if len(kind) else ""))
    return columns, problems


def _first_of_each(rows: Sequence[Score]) -> np.ndarray:
    """Positions of the rows without duplicates among those measured over an interval; two episodes may be equal."""
    first: dict[Score, int] = {}
    return np.array([at for at, row in enumerate(rows) if row.kind not in MEASURED or first.setdefault(row, at) == at], dtype=int)


def _contradiction(spec: Spec, columns: Columns, evaluated: np.ndarray) -> str:
    """Why these rows contradict spec.json; empty if they do not. `evaluated` (rows,): rows that may be of another task."""
    for name, number, many in (("member", spec.members, "members"), ("visit", len(spec.visits), "visits")):
        outside = columns[name][(columns[name] < 0) | (columns[name] >= number)]
        if len(outside):
            return f"{numbered(name, outside.tolist())} of {number} {many}"
    tasks = [visit["task"] for visit in spec.visits]
    where = zip(*(columns[name].tolist() for name in ("visit", "task", "cycle")), evaluated.tolist(), strict=True)
    for visit, task, cycle, other in dict.fromkeys(where):
        if cycle != spec.visits[visit]["cycle"] or (task != tasks[visit] and not other):
            return f"visit {visit} is called {task}, cycle {cycle}"
        if task not in tasks:
            return f"evaluation of {task}, which is no task of the run"
        if task not in tasks[: visit + 1]:
            return f"evaluation of {task} in visit {visit}, before its first visit"
    return ""


def _disorder(spec: Spec, columns: Columns) -> str:
    """Why these rows cannot be in the order that one run writes; empty if they can."""
    kinds = set(columns["kind"].tolist())
    if not kinds <= set(KINDS):
        return f"unknown kind of score {min(kinds - set(KINDS))!r}"
    if kinds & set(MEASURED) and kinds & {"return", "evaluation"}:
        return "scores of two kinds"
    for member in np.unique(columns["member"]).tolist():
        own = columns["member"] == member
        visits, counts = columns["visit"][own], columns[spec.unit][own]
        if (np.diff(visits) < 0).any() or (np.diff(counts) < 0).any():
            return f"visits or {spec.unit} of member {member} run backwards"
        for kind in kinds & set(MEASURED):
            at = counts[columns["kind"][own] == kind]
            if len(np.unique(at)) < len(at):
                return f"member {member} has two different scores after the same {spec.unit}"
    return ""


def _metrics(run: Run) -> tuple[Columns, list[str]]:
    """The run's diagnostics, and one line per problem with them."""
    rows, problems = run.folder.read_rows(Metric)
    columns = _columns(rows, Metric)
    broken = ~np.isfinite(columns["value"])
    if broken.any():
        problems.append(f"metrics.csv: {count(broken.sum(), 'value')} left out: no number")
        columns = _only(columns, ~broken)
    contradiction = _contradiction(run.spec, columns, evaluated=np.zeros(len(columns["visit"]), dtype=bool))
    if contradiction:
        return _columns([], Metric), [*problems, f"metrics.csv was left out: it contradicts spec.json: {contradiction}"]
    return columns, problems
