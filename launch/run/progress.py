"""Progress display of a run: a live bar on a terminal, plain lines elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from analysis.format import count, number
from plasticity_rl.records.events import TRAINING, Score, Tick
from plasticity_rl.records.spec import Spec

EVERY = 10.0  # seconds between two plain lines


class Pace:
    """Progress of one run from its events: share done, speed, and the last training score (mean over members)."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.total = sum(visit["budget"] for visit in spec.visits)
        self.done, self.speed = 0.0, 0.0
        self.unit = "updates" if spec.unit == "updates" else "steps"
        """unit of `speed`, which is per second since the first tick: compilation has then finished"""
        self._scores: dict[int, float] = {}
        self._started: tuple[float, int] | None = None

    def score(self, score: Score) -> None:
        if score.kind in TRAINING:
            self._scores[score.member] = score.score

    def tick(self, tick: Tick) -> None:
        now, made = time.monotonic(), tick.updates if self.spec.unit == "updates" else tick.steps
        self._started = self._started or (now, made)
        self.done = (tick.updates if self.spec.unit == "updates" else tick.frames) / self.total
        self.speed = (made - self._started[1]) / max(now - self._started[0], 1e-9)

    @property
    def mean(self) -> str:
        return number(sum(self._scores.values()) / len(self._scores)) if self._scores else ""


class Display:
    """Live display of one run: task, speed, last training score, time left."""

    def __init__(self, spec: Spec, console: Console | None = None, compiled: bool = False) -> None:
        """`compiled`: the run begins with compilation, which takes from seconds to minutes and shows nothing."""
        self._first = "; compiling first" if compiled else ""
        self._spec, self._console, self._pace = spec, console or Console(), Pace(spec)
        self._live = self._console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:3.0f}%  {task.fields[speed]}  {task.fields[score]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            disable=not self._live,
            transient=True,
        )
        self._row = self._bar.add_task(f"{spec.label}: compiling", total=self._pace.total, speed="", score="")
        self._compiled, self._printed = False, time.monotonic()

    def score(self, score: Score) -> None:
        self._pace.score(score)

    def tick(self, tick: Tick) -> None:
        pace = self._pace
        pace.tick(tick)
        if not self._compiled:  # the time left is estimated without compilation
            self._compiled = True
            self._bar.reset(self._row, total=pace.total, completed=round(pace.done * pace.total), speed="", score="")
        speed = f"{pace.speed:,.0f} {pace.unit}/s" if pace.speed else ""
        score = f"last score {pace.mean}" if pace.mean else ""
        name = f"{self._spec.label}: {tick.task} ({tick.visit + 1} of {len(self._spec.visits)})"
        self._bar.update(self._row, completed=pace.done * pace.total, description=name, speed=speed, score=score)
        if not self._live and time.monotonic() - self._printed > EVERY:
            self._printed = time.monotonic()
            self._console.print(f"{name}  {pace.done:.0%}  {speed}  {score}", highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(f"{self._spec.label}: {text}", highlight=False, soft_wrap=True)

    def __enter__(self) -> "Display":
        if not self._live:
            what = f"{self._spec.benchmark}, {count(self._spec.members, 'member')}, {self._pace.total:,} {self._spec.unit}{self._first}"
            self._console.print(f"{self._spec.label}: {what}", highlight=False, soft_wrap=True)
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()
