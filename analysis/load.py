"""Every run at or below some folders, as tidy tables, and the list of what is missing.

A run whose rows contradict its own description is left out whole, by name. Rows that are torn or no numbers are left out, by name.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.consistency import Missing, Run, count, numbers, refuse_mixtures, refuse_spec, unequal
from plasticity_rl.checks import UsageError
from plasticity_rl.runs import Metric, Score, Spec, find_runs, is_done, read_rows, read_spec

KINDS = ("online", "return", "cut", "evaluation")
LEADING = ("run", "setting", "benchmark", "label", "seed")
"""of the run that a row is of: its key, and what its spec.json says"""


@dataclass(frozen=True)
class Loaded:
    """What was found."""

    runs: tuple[Run, ...]
    """all of them, those without a row in `scores` too; by benchmark, setting, label and seed"""
    scores: pd.DataFrame
    """columns LEADING and those of runs.Score; a score that is no number is NaN"""
    metrics: pd.DataFrame
    """columns LEADING and those of runs.Metric; finite values"""
    missing: tuple[Missing, ...]


def load(folders: Sequence[Path]) -> Loaded:
    """Read every run at or below `folders`.

    Raises UsageError for a folder without runs, for runs none of which has a row, and for those that cannot be compared (consistency.py).
    """
    runs = _find(folders)
    refuse_mixtures(runs)
    missing = unequal(runs)
    scores: list[pd.DataFrame] = []
    metrics: list[pd.DataFrame] = []
    first_problem = ""
    for run in runs:
        rows, torn = read_rows(run.folder / "scores.csv", Score)
        table, problems = _scores(run, rows)
        scores.append(table)
        if not run.done:
            reached = f": in visit {table.visit.max()} of 0-{len(run.spec.visits) - 1}" if len(table) else ""
            problems.append(f"not finished{reached}")
        problems = torn + problems
        if len(table):
            diagnostics, more = _metrics(run)
            metrics.append(diagnostics)
            problems += more
        missing += [Missing(run.spec.setting, f"{run.name}: {problem}") for problem in problems]
        first_problem = first_problem or f"{run.folder}: {problems[0] if problems else 'no rows'}"
    if not any(map(len, scores)):
        raise UsageError(f"no scores to report in any of the runs found ({len(runs)}); the first: {first_problem}")
    return Loaded(tuple(runs), _stack(scores, Score), _stack(metrics, Metric), tuple(missing))


def _find(folders: Sequence[Path]) -> list[Run]:
    found: dict[Path, Run] = {}
    if not folders:
        raise UsageError("no folder was named: name one that holds runs")
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"no such folder: {folder}")
        here = find_runs(folder)
        if not here:
            raise UsageError(f"no run in {folder}: a run is a folder with a spec.json")
        for path in here:
            run = Run(path, _spec(path), is_done(path), _context(path))
            refuse_spec(run)
            found[path.resolve()] = run
    return sorted(found.values(), key=lambda run: (run.spec.benchmark, run.spec.setting, run.spec.label, run.spec.seed, run.spec.key))


def _spec(folder: Path) -> Spec:
    try:
        return read_spec(folder)
    except OSError as error:
        raise UsageError(f"cannot read {folder / 'spec.json'}: {error.strerror}") from error


def _context(folder: Path) -> dict[str, Any]:
    """What the run ran on; empty where that is not known."""
    try:
        context = json.loads((folder / "context.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return context if isinstance(context, dict) else {}


def _table(run: Run, rows: list[Any], row: type[Score] | type[Metric]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=pd.Index(row._fields))
    for position, (name, value) in enumerate(zip(LEADING, (run.spec.key, *run.spec[1:4], run.spec.seed), strict=True)):
        table.insert(position, name, value)
    return table


def _stack(tables: list[pd.DataFrame], row: type[Score] | type[Metric]) -> pd.DataFrame:
    tables = [table for table in tables if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=pd.Index([*LEADING, *row._fields]))


def _scores(run: Run, rows: list[Score]) -> tuple[pd.DataFrame, list[str]]:
    """The run's scores, and one line for each thing that is wrong with them."""
    table = _table(run, rows, Score)
    problems = []
    online = (table.kind == "online").to_numpy()
    repeated = online & table.duplicated().to_numpy()
    if repeated.any():
        problems.append(f"scores.csv: {count(repeated.sum(), 'row')} more than once; counted once")
        table = table.loc[~repeated]
    contradiction = _contradiction(run.spec, table, evaluated=(table.kind == "evaluation").to_numpy()) or _disorder(run.spec, table)
    if contradiction:
        return table.iloc[:0], [f"left out whole: scores.csv contradicts spec.json: {contradiction}"]
    broken = ~np.isfinite(table.score.to_numpy(dtype=float))
    if broken.any():
        where = sorted(set(zip(table.member[broken], table.visit[broken], strict=True)))
        problems.append("scores.csv: no number in " + "; ".join(f"member {member}, visit {visit}" for member, visit in where[:5]))
        problems[-1] += f" and {len(where) - 5} more" if len(where) > 5 else ""
        table = table.assign(score=table.score.where(~broken, np.nan))
    if (table.kind == "evaluation").all():
        problems.append("scores.csv: no rows" + (" but evaluations" if len(table) else ""))
    return table, problems


def _contradiction(spec: Spec, table: pd.DataFrame, evaluated: np.ndarray) -> str:
    """Why these rows cannot be of the run that spec.json describes; empty if they can. `evaluated` (rows,): may be of another task."""
    if not table.member.between(0, spec.members - 1).all():
        return f"{numbers('member', table.member[~table.member.between(0, spec.members - 1)])} of {spec.members} members"
    if not table.visit.between(0, len(spec.visits) - 1).all():
        return f"{numbers('visit', table.visit[~table.visit.between(0, len(spec.visits) - 1)])} of {len(spec.visits)} visits"
    tasks = [visit["task"] for visit in spec.visits]
    where = table[["visit", "task", "cycle"]].assign(evaluated=evaluated).drop_duplicates()
    for visit, task, cycle, other in where.itertuples(index=False):
        if cycle != spec.visits[visit]["cycle"] or (task != tasks[visit] and not other):
            return f"visit {visit} is called {task}, cycle {cycle}"
        if task not in tasks:
            return f"evaluation of {task}, which is no task of the run"
        if task not in tasks[: visit + 1]:
            return f"evaluation of {task} in visit {visit}, before its first visit"
    return ""


def _disorder(spec: Spec, table: pd.DataFrame) -> str:
    """Why these rows cannot be one run's in the order written; empty if they can."""
    kinds = set(table.kind)
    if not kinds <= set(KINDS):
        return f"unknown kind of score {min(kinds - set(KINDS))!r}"
    if "online" in kinds and kinds & {"return", "evaluation"}:
        return "scores of two kinds"
    for member, rows in table.groupby("member"):
        steps = np.diff(rows[["visit", spec.unit]].to_numpy(dtype=float), axis=0)
        if (steps < 0).any():
            return f"visits or {spec.unit} of member {member} run backwards"
        if rows.loc[rows.kind == "online", spec.unit].duplicated().any():
            return f"member {member} has two different scores after the same {spec.unit}"
    return ""


def _metrics(run: Run) -> tuple[pd.DataFrame, list[str]]:
    """The run's diagnostics, and one line for each thing that is wrong with them."""
    rows, problems = read_rows(run.folder / "metrics.csv", Metric)
    table = _table(run, rows, Metric)
    broken = ~np.isfinite(table.value.to_numpy(dtype=float))
    if broken.any():
        problems.append(f"metrics.csv: {count(broken.sum(), 'value')} left out: no number")
        table = table.loc[~broken]
    contradiction = _contradiction(run.spec, table, evaluated=np.zeros(len(table), dtype=bool))
    if contradiction:
        return table.iloc[:0], [*problems, f"metrics.csv was left out: it contradicts spec.json: {contradiction}"]
    return table, problems
