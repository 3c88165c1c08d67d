"""Command lines in processes that may be killed. A server that has imported everything forks them, so that they begin at once."""

import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path

LIMIT = 600.0  # seconds that a command may take
IMPORTED = [
    "launch.commands.training",
    "launch.commands.results",
    "launch.run.runner",
    "launch.run.sweep",
    "launch.config.parse",
    "tensorboard",
    "torch.utils.tensorboard",
]
IMPORTED += ["agents.dqn", "agents.ppo", "agents.pqn", "agents.impala", "agents.supervised", "plasticity_rl.interventions", "envpool"]


class Command:
    """`python -m launch WORDS` in a process and a session of its own; `said` is what it printed."""

    def __init__(self, words: Sequence[str], log: Path, before: Callable[[], None] | None = None) -> None:
        """`before` is called first in that process."""
        self._log, self._began = log, time.monotonic()
        self._process = _server().Process(target=_main, args=(list(words), str(log), before))
        self._process.start()

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    @property
    def said(self) -> str:
        """Everything printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    def wait(self) -> int:
        """Wait for its end; returns its exit code, negative for a signal. Raises TimeoutError."""
        self._process.join(LIMIT)
        if self._process.is_alive():
            self.send(signal.SIGKILL)
            raise TimeoutError(f"no end after {LIMIT:g} s: {self.said[-500:]}")
        assert self._process.exitcode is not None
        self.took = time.monotonic() - self._began
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid or 0, signal.SIGKILL)  # what it left behind
        return self._process.exitcode

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid or 0, number)


def run(words: Sequence[str], log: Path, before: Callable[[], None] | None = None) -> tuple[int, str]:
    """Exit code of a command line, and what it printed."""
    command = Command(words, log, before)
    return command.wait(), command.said


def last_line(said: str) -> str:
    """The last line printed, for a table."""
    return (said.strip().splitlines() or ["nothing"])[-1][:200]


def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


def _main(words: list[str], log: str, before: Callable[[], None] | None) -> None:
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    import torch

    torch.set_num_threads(1)
    if before:
        before()
    code = launched(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def launched(words: Sequence[str]) -> int:
    """Exit code of `python -m launch WORDS` in this process."""
    sys.argv = ["launch", *words]
    sys.modules.pop("launch.__main__", None)  # runpy warns of a module that it is to run anew
    try:
        runpy.run_module("launch", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
