"""Checkpoints that are written while the run goes on.

A checkpoint of a million frames has 7 GB, which take seconds to hash. A fork of the process has them as they were at that moment, without
copying them: the system copies only the pages that the run overwrites meanwhile.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

import torch

from plasticity_rl.records import checkpoint
from plasticity_rl.records.events import Snapshot
from plasticity_rl.records.folder import SAVING

LARGE = 2**28
"""bytes from which a checkpoint is written by a fork; smaller ones take a fraction of a second"""
ERRORS = {each.__name__: each for each in (FloatingPointError, MemoryError)}


def can_fork() -> bool:
    """True where a fork is safe: from the main thread, where there is no Ray, whose threads hold locks that a fork would inherit."""
    return hasattr(os, "fork") and threading.current_thread() is threading.main_thread() and "ray" not in sys.modules


def hold(folder: Path) -> int:
    """Mark a folder of checkpoints as being written until the returned file is closed here and in every fork. See `RunFolder.lock`."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / SAVING, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


class Saving:
    """One checkpoint on its way to the disk."""

    def __init__(self, folder: Path, number: int, snapshot: Snapshot) -> None:
        """Begin; small checkpoints are written at once. Raises what `checkpoint.save` raises, here or in `wait`."""
        self.number, self._began, self._fork = number, time.monotonic(), 0
        self.bytes = sum(tensor.nbytes for tensor in snapshot.tensors.values())
        self.seconds = 0.0
        """how long it took, once it is done"""
        if self.bytes < LARGE or not can_fork():
            checkpoint.save(folder, number, snapshot)
        else:
            snapshot = snapshot._replace(tensors={name: tensor.detach().cpu() for name, tensor in snapshot.tensors.items()})
            sys.stdout.flush()
            sys.stderr.flush()
            self._told, told = os.pipe()
            held = hold(folder)
            self._fork = os.fork()
            if self._fork == 0:
                _save_and_end(folder, number, snapshot, told)
            os.close(told)
            os.close(held)  # the fork's own keeps it held
        self.waited = time.monotonic() - self._began
        """how long the run waited for it, in seconds"""
        self._end()

    def done(self) -> bool:
        """True once it is on the disk, without waiting. Raises what `checkpoint.save` raised."""
        if self._fork:
            ended, _ = os.waitpid(self._fork, os.WNOHANG)
            if ended:
                self._read()
        return not self._fork

    def wait(self) -> None:
        """Wait until it is on the disk. Raises what `checkpoint.save` raised."""
        if self._fork:
            began = time.monotonic()
            os.waitpid(self._fork, 0)
            self.waited += time.monotonic() - began
            self._read()

    def _read(self) -> None:
        self._fork = 0
        with os.fdopen(self._told, "rb") as pipe:
            said = pipe.read()
        self._end()
        if not said:
            raise OSError(f"the process that wrote checkpoint {self.number} was killed")
        kind, number, message = json.loads(said)
        if kind:
            raise ERRORS[kind](message) if kind in ERRORS else OSError(number, message) if number else RuntimeError(f"{kind}: {message}")

    def _end(self) -> None:
        if not self._fork:
            self.seconds = time.monotonic() - self._began


def _save_and_end(folder: Path, number: int, snapshot: Snapshot, told: int) -> NoReturn:
    """In the fork: save, tell how it went, and end without what the process had planned for its end."""
    said: tuple[str, int | None, str] = ("", None, "")
    try:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # they reach the whole group; the run decides, and waits
        torch.set_num_threads(1)  # the threads of a pool are not in the fork
        checkpoint.save(folder, number, snapshot)
    except BaseException as error:
        said = type(error).__name__, getattr(error, "errno", None), getattr(error, "strerror", None) or str(error)
    finally:
        os.write(told, json.dumps(said).encode())
        os._exit(0)
