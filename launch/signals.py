"""Handling of SIGINT, SIGTERM and SIGHUP: a command ends at once, or, while a run is written, after a checkpoint."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TWICE = 1.0  # seconds within which a repeated signal counts as the same
LONGEST = 20.0  # seconds that a run has to save a checkpoint after a signal


class Stopped(KeyboardInterrupt):
    """A signal ended the command; `number` is the signal's. Not caught by `except Exception`."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


class Signals:
    """Context manager that records signals; with `at_once`, it raises Stopped instead. A second signal always raises, except the same one
    within a second, because timeout(1) signals both the process and its group.

    SIGINT and SIGTERM are handled even if the process was started with them ignored, as a shell's background jobs are. An ignored SIGHUP
    stays ignored, for nohup.
    """

    def __init__(self, at_once: bool = False) -> None:
        self.caught, self._when, self._at_once = 0, 0.0, at_once

    @property
    def waited(self) -> float:
        """Seconds since the signal."""
        return time.monotonic() - self._when

    def __enter__(self) -> "Signals":
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # only the main thread can set signal handlers
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
    """Restore SIGTERM's handler on exit, which a library such as Ray may replace."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
