"""A watch over calls into simulators, which may never return: a thread cannot be interrupted, so the process ends."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOST = 4  # exit code, as of a run whose actors are lost


class Watchdog:
    """Ends this process if a watched call takes longer than `patience`, with one line on stderr.

    Time is counted by a thread that sleeps, so a process that was stopped, or a machine that slept, has not waited.
    """

    def __init__(self) -> None:
        self.patience: float | None = None
        """seconds; None watches nothing"""
        self._waited: dict[object, int] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self) -> Iterator[None]:
        """Watch what is called within."""
        if self.patience is None:
            yield
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._count, name="watchdog", daemon=True)
            self._thread.start()
        call = object()
        self._waited[call] = 0
        try:
            yield
        finally:
            del self._waited[call]

    def _count(self) -> None:
        while True:
            time.sleep(1)
            for call in list(self._waited):
                if call in self._waited:
                    self._waited[call] += 1
                    if self.patience is not None and self._waited[call] > self.patience:
                        os.write(2, f"\nerror: an environment did not answer for {self.patience:g} s; {ADVICE}\n".encode())
                        os._exit(LOST)


ADVICE = "the same command resumes from the last checkpoint, and --isolate begins such environments anew"
WATCHDOG = Watchdog()
"""of this process"""
