"""How a command ends on SIGINT, SIGTERM and SIGHUP: at once, or, while a run is written, after the step that is going on."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TWICE = 1.0  # seconds in which a signal that comes again is the same


class Stopped(KeyboardInterrupt):
    """A signal ended the command; `number` is the signal's. No `except Exception` takes it for a fault."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


class Signals:
    """Between enter and exit, the signals are noted instead of acted on, or raise Stopped where `at_once` says so. A second one always
    raises, unless it is the same again within a second: timeout(1) sends one to the process and one to its group.

    SIGINT and SIGTERM count even where the process was started with them ignored, as a shell's background jobs are. SIGHUP stays ignored
    where it was: that is what nohup is for.
    """

    def __init__(self, at_once: bool = False) -> None:
        self.caught, self._when, self._at_once = 0, 0.0, at_once

    def __enter__(self) -> "Signals":
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # elsewhere, signals are somebody else's
            numbers = [signal.SIGINT, signal.SIGTERM]
            if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
                numbers.append(signal.SIGHUP)
            self._before = {number: signal.signal(number, self._catch) for number in numbers}
        return self

    def _catch(self, number: int, frame: FrameType | None) -> None:
        before, now = self.caught, time.monotonic()
        if before == number and now - self._when < TWICE:
            return
        self.caught, self._when = number, now
        if before or self._at_once:
            raise Stopped(number, "stopped" if self._at_once else "stopped at once")

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@contextmanager
def kept() -> Iterator[None]:
    """SIGTERM's handler is afterwards what it was, whatever a library sets meanwhile, as Ray does."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
