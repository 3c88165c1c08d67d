"""Pools in processes of their own, which may crash or hang without the learner's. Imports no torch."""

import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from envs.reinforcement.backends.pool import EnvironmentFailed, Opening, Pool, Step, described
from envs.reinforcement.backends.watchdog import WATCHDOG
from envs.reinforcement.base import ReinforcementBenchmark
from envs.sequences import Visit
from plasticity_rl import plugins
from plasticity_rl.checks import UsageError

LONGEST = 3e7  # seconds; a year, for a process without a limit
CLOSING = 5.0  # seconds that a process has to end by itself
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


@dataclass(frozen=True)
class Containment:
    """How this process is kept from the faults of its environments. It is no part of an experiment and changes no number."""

    isolate: bool = False
    """each pool steps in a process of its own"""
    patience: float | None = None
    """seconds that a step may take: then an isolated pool has failed, and a process with a pool within it ends with exit code 4"""


_containment = Containment()


def contain(containment: Containment) -> None:
    """Set how the pools that this process opens from now on are contained."""
    global _containment
    _containment = containment
    WATCHDOG.patience = None if containment.isolate else containment.patience


def containment() -> Containment:
    """How this process contains its pools."""
    return _containment


def open_pool(
    benchmark: ReinforcementBenchmark, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None = None
) -> "Pool | IsolatedPool":
    """Open `benchmark.pool(...)`, contained as this process is set."""
    make = partial(benchmark.pool, visit, seeds, threads, seed, *(() if opening is None else (opening,)))
    return IsolatedPool(make, _containment.patience) if _containment.isolate else make()


class IsolatedPool:
    """A pool that steps in a process of its own: the calls of `Pool`, the same steps.

    Its process ends with this one, and with `close`. Raises EnvironmentFailed if the process ends early, or if it takes longer than
    `patience` seconds for an answer; and what `make` raises.
    """

    def __init__(self, make: Callable[[], Pool], patience: float | None = None) -> None:
        self._patience = LONGEST if patience is None else patience
        # A fork would inherit the locks of the threads of torch and EnvPool, but not the threads.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, plugins.allowed(), make), name="environments", daemon=True)
        self._process.start()
        theirs.close()
        self.num_envs, self.action_space, self.observation_space = self._answer()

    def reset(self) -> Step:
        """The first observations."""
        self._say("reset")
        return self._answer()

    def send(self, actions: np.ndarray) -> None:
        """Start a step."""
        self._say(self.action_space.checked(np.asarray(actions), self.num_envs))

    def recv(self) -> Step:
        """Wait for the step to end."""
        return self._answer()

    def close(self) -> None:
        """End the process. A second call has no effect."""
        self._connection.close()  # its next read fails, which ends it
        self._process.join(CLOSING)
        self._kill()

    def _say(self, message: Any) -> None:
        try:
            self._connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            return  # the answer will not come either

    def _answer(self) -> Any:
        waited = 0.0
        while not self._connection.poll(1):  # by single seconds, so that a stopped process has not waited
            waited += 1
            if waited >= self._patience:
                self._kill()
                raise EnvironmentFailed(f"no answer for {self._patience:g} s")
        try:
            answer = self._connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join(CLOSING)
            raise EnvironmentFailed(f"its process ended {_ending(self._process.exitcode)}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _kill(self) -> None:
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _ending(code: int | None) -> str:
    """How a process ended, in words."""
    return f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"


def _serve(connection: Connection, allowed: Sequence[str], make: Callable[[], Pool]) -> None:
    """Step a pool as the other end says, until it hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the other end decides
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)  # also where this process hangs
    plugins.allow(allowed)
    pool: Pool | None = None
    while True:
        try:
            if pool is None:
                pool = make()
                answer: Any = pool.num_envs, pool.action_space, pool.observation_space
            else:
                message = connection.recv()
                if isinstance(message, str):
                    answer = pool.reset()
                else:
                    pool.send(message)
                    answer = pool.recv()
        except EOFError:
            return
        except (EnvironmentFailed, FloatingPointError, UsageError) as error:
            answer = type(error)(*error.args)  # without its cause, which may not travel
        except Exception as error:
            answer = EnvironmentFailed(described(error))
        try:
            connection.send(answer)
        except BrokenPipeError:
            return
