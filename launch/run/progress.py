"""Progress display of a run: a live bar on a terminal, plain lines elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from analysis.format import count, number
from plasticity_rl.records.events import TRAINING, Score, Tick
from plasticity_rl.records.spec import Spec

EVERY = 10.0  # seconds between two plain lines


class Display:
    """Progress of one run: task, speed, last score in training (mean over members), time left."""

    def __init__(self, spec: Spec, console: Console | None = None) -> None:
        self._spec, self._console = spec, console or Console()
        self._total = sum(visit["budget"] for visit in spec.visits)
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
        self._row = self._bar.add_task(f"{spec.label}: compiling", total=self._total, speed="", score="")
        self._scores: dict[int, float] = {}
        self._started: tuple[float, int] | None = None
        self._printed = time.monotonic()

    def score(self, score: Score) -> None:
        if score.kind in TRAINING:
            self._scores[score.member] = score.score

    def tick(self, tick: Tick) -> None:
        now = time.monotonic()
        done = tick.updates if self._spec.unit == "updates" else tick.frames
        pace = tick.updates if self._spec.unit == "updates" else tick.steps
        if self._started is None:  # compilation has finished
            self._started = now, pace
            self._bar.reset(self._row, total=self._total, completed=done, speed="", score="")
        elapsed = now - self._started[0]
        speed = (
            f"{(pace - self._started[1]) / elapsed:,.0f} {'updates' if self._spec.unit == 'updates' else 'steps'}/s" if elapsed > 0 else ""
        )
        score = f"last score {number(sum(self._scores.values()) / len(self._scores))}" if self._scores else ""
        name = f"{self._spec.label}: {tick.task} ({tick.visit + 1} of {len(self._spec.visits)})"
        self._bar.update(self._row, completed=done, description=name, speed=speed, score=score)
        if not self._live and now - self._printed > EVERY:
            self._printed = now
            self._console.print(f"{name}  {done / self._total:.0%}  {speed}  {score}", highlight=False, soft_wrap=True)

    def __enter__(self) -> "Display":
        if not self._live:
            what = f"{self._spec.benchmark}, {count(self._spec.members, 'member')}, {self._total:,} {self._spec.unit}"
            self._console.print(f"{self._spec.label}: {what}", highlight=False, soft_wrap=True)
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()
