"""How the runs below a folder are going, from their files alone: they may be carried out anywhere that writes there."""

import csv
import time
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from analysis.format import number
from plasticity_rl.checks import UsageError
from plasticity_rl.runs import Score, Spec, failure, find_runs, is_done, read_spec

TAIL = 1 << 16  # bytes of a table's end that are read
ENDED = ("done", "failed")
STILL = 300.0  # seconds without a new row, after which a run counts as still: a leg of evaluations may take as long


class Seen(NamedTuple):
    """A run at one moment."""

    state: str
    """waits, runs, still, failed or done"""
    done: float
    """share of its budget"""
    score: float | None
    """latest in training, mean over members"""
    updates: int
    """updates of one member so far, as scores.csv has it"""
    at: float
    """time of the newest row"""
    why: str | None = None
    """it failed"""


def look(run: Path, spec: Spec, now: float) -> Seen:
    """What a run's folder says of it."""
    path = run / "scores.csv"
    rows = _last_rows(path)
    at = max((each.stat().st_mtime for each in (path, run / "metrics.csv") if each.exists()), default=0.0)
    scores = {row.member: row.score for row in rows if row.kind not in ("cut", "evaluation", "test")}
    score = sum(scores.values()) / len(scores) if scores else None
    total = sum(visit["budget"] for visit in spec.visits)
    count = rows[-1].updates if rows else 0
    done = (rows[-1].updates if spec.unit == "updates" else rows[-1].frames) / total if rows else 0.0
    why = failure(run)
    if is_done(run):
        state = "done"
    elif why is not None:
        state = "failed"
    else:
        state = "waits" if not rows else "runs" if now - at < STILL else "still"
    return Seen(state, 1.0 if state == "done" else min(done, 1.0), score, count, at, why)


def _last_rows(path: Path) -> list[Score]:
    """The rows at the end of a table that may be growing: whole ones alone."""
    if not path.exists():
        return []
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - TAIL, 0))
        lines = file.read().decode("utf-8", "replace").split("\n")[1:-1]  # the header or a piece of a row; nothing, or a torn row
    kinds = [Score.__annotations__[name] for name in Score._fields]
    return [Score(*(kind(cell) for kind, cell in zip(kinds, cells, strict=True))) for cells in csv.reader(lines)]


class Watch:
    """Looks again and again; speeds are of what was written between the first look and the newest row."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageError where there are no runs."""
        self._folder = folder
        self._specs: dict[Path, Spec] = {}
        self._first: dict[Path, Seen] = {}
        if not find_runs(folder):
            raise UsageError(f"no runs below {folder}")

    def look(self, now: float) -> dict[Path, Seen]:
        """Every run there is by now."""
        for run in find_runs(self._folder):
            self._specs.setdefault(run, read_spec(run))
        seen = {run: look(run, spec, now) for run, spec in self._specs.items()}
        for run, each in seen.items():
            first = self._first.setdefault(run, each)
            if each.done < first.done:  # begun again from a checkpoint
                self._first[run] = each
        return seen

    def speed(self, run: Path, seen: Seen) -> tuple[float | None, float | None]:
        """Updates a second, and seconds left, where two looks tell."""
        first = self._first[run]
        if seen.state != "runs" or seen.at <= first.at or seen.done <= first.done:
            return None, None
        took = seen.at - first.at
        return (seen.updates - first.updates) / took, (1 - seen.done) * took / (seen.done - first.done)

    def table(self, seen: dict[Path, Seen]) -> Table:
        """A row for each run, and what they come to together."""
        shown = Table(box=None, padding=(0, 1), pad_edge=False)
        for heading in ("run", "chain", "benchmark", "seed", "state"):
            shown.add_column(heading, no_wrap=heading != "chain")
        for heading in ("done", "score", "updates/s", "left"):
            shown.add_column(heading, justify="right", no_wrap=True)
        for run, each in seen.items():
            spec, (speed, left) = self._specs[run], self.speed(run, each)
            cells = [run.name, spec.label, spec.benchmark, str(spec.seed), each.state, f"{each.done:.0%}"]
            cells += ["" if each.score is None else number(each.score), "" if speed is None else f"{speed:,.0f}"]
            shown.add_row(*cells, "" if left is None else str(timedelta(seconds=round(left))))
        states = [each.state for each in seen.values()]
        told = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        reasons = [f"{run.name} failed: {each.why}" for run, each in seen.items() if each.state == "failed"]
        shown.caption, shown.caption_justify = Text("\n".join([f"{len(states)} runs: {told}", *reasons])), "left"
        return shown


def watch(folder: Path, once: bool, every: float, console: Console | None = None) -> None:
    """Show them until all have ended, or it is stopped: a live table on a terminal, elsewhere a table whenever a state changes."""
    console, watched = console or Console(highlight=False), Watch(folder)
    seen = watched.look(time.time())
    if once or not console.is_terminal:
        console.print(watched.table(seen))
        states = [each.state for each in seen.values()]
        while not once and any(state not in ENDED for state in states):
            time.sleep(every)
            seen = watched.look(time.time())
            if states != (states := [each.state for each in seen.values()]):
                console.print(watched.table(seen))
        return
    with Live(watched.table(seen), console=console, auto_refresh=False) as live:
        while any(each.state not in ENDED for each in seen.values()):
            time.sleep(every)
            seen = watched.look(time.time())
            live.update(watched.table(seen), refresh=True)
