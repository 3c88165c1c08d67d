"""Learners that run in turn: each is a process group that is paused while another is measured. Linux only.

A contender prints lines `steps N at T`: all agent steps so far, and the machine's monotonic clock in seconds; other output is ignored. It
is paused right after a report, so that a window between two reports holds whole cycles of acting and learning, however rare the reports.
"""

import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TextIO

PATIENCE = 300.0  # seconds without a report, after which a contender counts as failed
SAMPLE = 1.0  # seconds between two memory samples without a report
LINE = re.compile(r"steps (\d+) at (\d+\.\d+)$")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Failed(Exception):
    """A contender failed; the message is its last output."""


class Report(NamedTuple):
    """Progress of a contender."""

    steps: int
    ran: float
    """running time in seconds, without pauses"""


class Contender:
    """A program that trains until it is stopped; its processes form one session."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.last = Report(0, 0.0)
        self.memory = 0
        """peak resident bytes of all its processes over the samples; shared pages count in each"""
        self._said: queue.Queue[tuple[int, float]] = queue.Queue()
        self._errors = folder / "stderr"
        self._running = [(time.monotonic(), float("inf"))]
        with open(self._errors, "wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=folder,
                env=environment,
                start_new_session=True,
                text=True,
                errors="replace",
            )
        assert self._process.stdout
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    def run_until(self, *, steps: int = 0, ran: float = 0.0, patience: float = PATIENCE) -> Report:
        """Continue to the first report with at least `steps` steps and `ran` seconds. Raises Failed."""
        self._resume()
        try:
            while self.last.steps < steps or self.last.ran < ran:
                self.last = self._next(patience)
        finally:
            self._pause()
        return self.last

    def stop(self) -> None:
        """End all processes of its session."""
        deadline = time.monotonic() + 10
        self._signal(signal.SIGKILL)
        self._process.wait()
        while _session(self._process.pid) and time.monotonic() < deadline:
            self._signal(signal.SIGKILL)
            time.sleep(0.01)

    def _resume(self) -> None:
        if self._running[-1][1] < float("inf"):
            self._running.append((time.monotonic(), float("inf")))
            self._signal(signal.SIGCONT)

    def _pause(self) -> None:
        self._signal(signal.SIGSTOP)
        self._running[-1] = self._running[-1][0], time.monotonic()
        self._look()

    def _next(self, patience: float) -> Report:
        deadline = time.monotonic() + patience
        while True:
            try:
                steps, at = self._said.get(timeout=min(SAMPLE, patience))
            except queue.Empty:
                self._look()
                if self._process.poll() is not None:
                    raise Failed(self._last_words()) from None
                if time.monotonic() > deadline:
                    raise Failed(f"no report within {patience:g} s; {self._last_words()}") from None
            else:
                return Report(steps, sum(min(at, end) - begin for begin, end in self._running if begin < at))

    def _listen(self, lines: TextIO) -> None:
        with lines:
            for line in lines:
                if found := LINE.search(line.rstrip()):
                    self._said.put((int(found[1]), float(found[2])))

    def _look(self) -> None:
        self.memory = max(self.memory, sum(_session(self._process.pid).values()))

    def _signal(self, number: int) -> None:
        """Send a signal to all its processes, including those started meanwhile."""
        reached: set[int] = set()
        while new := _session(self._process.pid).keys() - reached:
            for pid in new:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            reached |= new

    def _last_words(self) -> str:
        lines = COLOUR.sub("", self._errors.read_text(errors="replace")).split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), f"ended with code {self._process.returncode}")[-300:]


class Start(NamedTuple):
    """Command that starts a contender, and the steps before its first window, which cover compilation and the first updates."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    warm: int


class Measured(NamedTuple):
    """Measurements of a contender."""

    speeds: list[float]
    """steps per second in each window"""
    memory: int = 0
    """peak resident bytes"""
    failure: str = ""
    """reason why there are no more windows"""


def take_turns(starts: Sequence[Start], seconds: float, rounds: int, tell: Callable[[str, str], None]) -> list[Measured]:
    """Warm up the contenders one after the other, then measure one window of each in every round. All processes are ended.

    `tell` receives the status: a line that changes rarely, and details that change often.
    """
    measured = [Measured([]) for _ in starts]
    with TemporaryDirectory(prefix="bench-") as root, ExitStack() as stack:
        going: dict[int, Contender] = {}
        for index, start in enumerate(starts):
            tell(f"{start.name} warms up", "")
            folder = Path(root, str(index))
            folder.mkdir()
            contender = going[index] = Contender(start.command, folder, start.environment)
            stack.callback(contender.stop)
            measured[index] = _try(measured[index], contender, lambda each=contender, steps=start.warm: each.run_until(steps=steps))
        for turn in range(rounds):
            for index, contender in going.items():
                if not measured[index].failure:
                    tell(f"window {turn + 1} of {rounds}", starts[index].name)
                    speeds = measured[index].speeds
                    measured[index] = _try(measured[index], contender, lambda each=contender, to=speeds: to.append(speed(each, seconds)))
    return measured


def _try(measured: Measured, contender: Contender, act: Callable[[], object]) -> Measured:
    """Call `act`; return the measurements with the contender's memory and any failure."""
    try:
        act()
    except Failed as failure:
        contender.stop()
        return measured._replace(memory=contender.memory, failure=str(failure))
    return measured._replace(memory=contender.memory)


def speed(contender: Contender, seconds: float) -> float:
    """Measure steps per second from the last report to the first one at least `seconds` of running time later."""
    begin = contender.last
    end = contender.run_until(ran=begin.ran + seconds)
    return (end.steps - begin.steps) / (end.ran - begin.ran)


def _session(leader: int) -> dict[int, int]:
    """Return the resident bytes of each living process of a session."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            state, _, _, session, *rest = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
            if int(session) == leader and state not in "ZX":
                found[int(pid)] = int(rest[17]) * PAGE
    return found
