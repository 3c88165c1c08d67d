"""Progress of the runs below a folder, read from their files alone, so that they may run on any machine."""

import time
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from analysis.format import count, number
from launch.columns import fitted, shortest
from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import TRAINING, Score
from plasticity_rl.records.folder import RunFolder, find_runs
from plasticity_rl.records.spec import Spec

ENDED = ("done", "failed", "unreadable")
LEAST = ("run", "benchmark", "updates/s", "left", "seed", "last score")
"""columns that a narrow terminal omits, in this order"""
STILL = 300.0  # seconds without a new row after which a run counts as still: evaluations of a segment may take as long


class Look(NamedTuple):
    """State of a run at one time."""

    state: str
    """waits, running, still, stopped, failed, done or unreadable"""
    done: float
    """completed share of its budget"""
    score: float | None
    """mean over members of the newest training score; scores in a report are means over visits"""
    updates: int
    """updates of one member so far, from scores.csv"""
    at: float
    """time of the newest row"""
    why: str | None = None
    """reason why it failed or cannot be read"""


def look(run: RunFolder, spec: Spec, now: float) -> Look:
    """Read a run's state from its folder."""
    rows, problems = run.newest_rows(Score)
    at = max((each.stat().st_mtime for each in (run.scores, run.metrics) if each.exists()), default=0.0)
    scores = {row.member: row.score for row in rows if row.kind in TRAINING}
    score = sum(scores.values()) / len(scores) if scores else None
    total = sum(visit["budget"] for visit in spec.visits)
    updates = rows[-1].updates if rows else 0
    done = (rows[-1].updates if spec.unit == "updates" else rows[-1].frames) / total if rows else 0.0
    why = run.failure
    if problems:
        return Look("unreadable", min(done, 1.0), score, updates, at, problems[0])
    if run.is_done:
        return Look("done", 1.0, score, updates, at) if rows else _unreadable(f"{run.scores.name} has no rows")
    going = "stopped" if run.released else "running" if now - at < STILL else "still"
    state = "failed" if why is not None else "waits" if not rows else going
    return Look(state, min(done, 1.0), score, updates, at, why)


def _unreadable(why: str) -> Look:
    return Look("unreadable", 0.0, None, 0, 0.0, why)


class Watch:
    """Repeated looks at all runs; speeds are measured from the first look to the newest row."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageError if there are no runs."""
        self._folder = folder
        self._specs: dict[RunFolder, Spec] = {}
        self._runs: set[RunFolder] = set()
        self._first: dict[RunFolder, Look] = {}
        if not find_runs(folder):
            raise UsageError(f"no runs below {folder}")

    def look(self, now: float) -> dict[RunFolder, Look]:
        """Look at all current runs, and at those seen before."""
        there = set(find_runs(self._folder))
        self._runs |= there
        seen = {
            run: self._look(run, now) if run in there else _unreadable(f"no {run.spec.name} in {run} any more")
            for run in sorted(self._runs)
        }
        for run, each in seen.items():
            first = self._first.setdefault(run, each)
            if each.done < first.done:  # resumed from an earlier checkpoint
                self._first[run] = each
        return seen

    def _look(self, run: RunFolder, now: float) -> Look:
        try:
            spec = self._specs[run] = self._specs.get(run) or run.read_spec()
            return look(run, spec, now)
        except UsageError as error:
            return _unreadable(str(error))
        except OSError as error:
            return _unreadable(f"{error.filename}: {error.strerror}")

    def speed(self, run: RunFolder, seen: Look) -> tuple[float | None, float | None]:
        """Return updates per second and seconds left; None if unknown."""
        first = self._first[run]
        if seen.state != "running" or seen.at <= first.at or seen.done <= first.done:
            return None, None
        took = seen.at - first.at
        return (seen.updates - first.updates) / took, (1 - seen.done) * took / (seen.done - first.done)

    def table(self, seen: dict[RunFolder, Look], width: int) -> Table:
        """Make a table with a row per run, and totals."""
        letters = shortest([run.name for run in seen])
        columns: dict[str, list[str]] = {
            name: [] for name in ("chain", "benchmark", "seed", "run", "state", "done", "last score", "updates/s", "left")
        }
        for run, each in seen.items():
            spec, (speed, left) = self._specs.get(run), self.speed(run, each)
            cells = [spec.label, spec.benchmark, str(spec.seed)] if spec else ["?", "", ""]
            cells += [run.name[:letters], each.state, f"{each.done:.0%}", "" if each.score is None else number(each.score)]
            cells += ["" if speed is None else f"{speed:,.0f}", "" if left is None else str(timedelta(seconds=round(left)))]
            for column, cell in zip(columns.values(), cells, strict=True):
                column.append(cell)
        shown = fitted(columns, width, LEAST, ("done", "last score", "updates/s", "left"))
        states = [each.state for each in seen.values()]
        told = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        told_of = {"failed": "failed", "unreadable": "is unreadable"}
        reasons = [f"{run.name} {told_of[each.state]}: {each.why}" for run, each in seen.items() if each.why]
        shown.caption, shown.caption_justify = Text("\n".join([f"{count(len(states), 'run')}: {told}", *reasons])), "left"
        return shown


def watch(folder: Path, once: bool, every: float, console: Console | None = None) -> None:
    """Show the runs until all have ended or a signal comes: a live table on a terminal, elsewhere a table at every change of a state."""
    console, watched = console or Console(highlight=False), Watch(folder)
    seen = watched.look(time.time())
    if once or not console.is_terminal:
        console.print(watched.table(seen, console.width))
        states = [each.state for each in seen.values()]
        while not once and any(state not in ENDED for state in states):
            time.sleep(every)
            seen = watched.look(time.time())
            if states != (states := [each.state for each in seen.values()]):
                console.print(watched.table(seen, console.width))
        return
    with Live(watched.table(seen, console.width), console=console, auto_refresh=False) as live:
        while any(each.state not in ENDED for each in seen.values()):
            time.sleep(every)
            seen = watched.look(time.time())
            live.update(watched.table(seen, console.width), refresh=True)
