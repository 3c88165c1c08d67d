"""Pools of environments that step together: one checked interface over several simulators, the backends. Imports no torch.

All pools follow the same rules, whatever a simulator's defaults are:
- Autoreset happens in the next step (Gymnasium's NextStep): the step after an episode's end ignores its action and returns the next
  episode's first observation with reward 0. This step is no transition; `Step.first` marks it.
- Rewards are the environment's own, never clipped. A lost life is reported but does not end the episode.
- Each environment has its own seed; a trajectory depends on seed and actions, not on the number of threads.
- Step limits count from the first observation; an episode that ends by itself in the step of the
  limit has terminated and is not truncated, where the simulator tells (EnvPool's control problems do not).

Simulators cannot save their state, so a run makes its pools anew at each checkpoint.
"""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from envs.reinforcement.backends.spaces import Box, Discrete, Space
from envs.reinforcement.backends.watchdog import WATCHDOG
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import MAX_SEED

Autoreset = Literal["NextStep", "SameStep", "Disabled"]
"""the values of `gymnasium.vector.AutoresetMode`"""


class EnvironmentFailed(RuntimeError):
    """Raised if a simulator raised an error, returned arrays of a wrong shape or type, or ended its process."""


class Opening(NamedTuple):
    """Place of a pool in its run, for tasks that change gradually."""

    step: int
    """steps of the run that a member has made when the pool opens"""
    stride: int
    """steps that a member makes with each step of the pool: its environments, in all pools"""


class Ramp(NamedTuple):
    """How a task comes about gradually, in steps of a member."""

    done: int
    """steps of the change that were made when the pool opened"""
    stride: int
    """steps that each step of the pool adds"""
    length: float

    def share(self, steps: int) -> float:
        """Share of the new task after some steps of the pool."""
        return min((self.done + steps * self.stride) / self.length, 1.0)


class Step(NamedTuple):
    """One step of N environments, in environment order. terminated, truncated, life_lost and first exclude one another."""

    observations: np.ndarray
    """(N, *shape): one frame each, (N, 84, 84) uint8 in Atari, (N, 3, 64, 64) uint8 in Procgen; float32 features elsewhere"""
    rewards: np.ndarray
    """(N,) float32, unclipped"""
    terminated: np.ndarray
    """(N,) bool: the episode ended by itself"""
    truncated: np.ndarray
    """(N,) bool: the step limit ended the episode"""
    life_lost: np.ndarray
    """(N,) bool: fewer lives than a step ago, and the episode continues"""
    first: np.ndarray
    """(N,) bool: the first observation of an episode; the action before it was ignored"""
    scores: np.ndarray
    """(N,) float32: contributions to an episode's score: the rewards, unless the benchmark scores otherwise, such as by success"""

    @property
    def clipped_rewards(self) -> np.ndarray:
        """(N,) float32, rewards clipped to [-1, 1]."""
        return np.clip(self.rewards, -1, 1)


class RawStep(NamedTuple):
    """A backend's step, in environment order: the fields of a Step, and the number of lives left, (N,) int. Without `scores`, rewards are
    the scores. Both may be anything in a step that only resets.
    """

    observations: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    lives: np.ndarray
    scores: np.ndarray | None = None


class Backend(Protocol):
    """N environments of one simulator. The pool has checked the actions that `send` receives."""

    num_envs: int
    observation_space: Box
    """of a single frame"""
    action_space: Space
    autoreset: Autoreset
    """when an environment is reset after an episode's end; pools accept NextStep alone"""

    def reset(self) -> RawStep: ...
    def send(self, actions: np.ndarray) -> None: ...
    def recv(self) -> RawStep: ...


class Pool:
    """N environments that step together: `reset()` once, then `send(actions)` and `recv()` alternately. They step between the two calls.

    A call in the wrong order or after `close()` raises RuntimeError, a simulator's failure EnvironmentFailed, in `reset` or `recv`.
    Observations and rewards that are not finite raise FloatingPointError: a replay would hand them on long after.
    """

    def __init__(self, backend: Backend) -> None:
        if backend.autoreset != "NextStep":
            raise ValueError(f"a pool needs a backend with autoreset NextStep, not {backend.autoreset}")
        self.num_envs = backend.num_envs
        self.action_space = backend.action_space
        self.observation_space = backend.observation_space
        self._backend: Backend | None = backend
        self._awaited: Literal["reset", "send", "recv"] = "reset"
        self._failure: EnvironmentFailed | None = None  # in a `send`, raised where its step is awaited
        self._ended = np.ones(self.num_envs, dtype=bool)
        self._lives = np.zeros(self.num_envs, dtype=np.int32)

    def reset(self) -> Step:
        """The first observations; `first` is true everywhere."""
        backend = self._expect("reset")
        with contained():
            raw = backend.reset()
        self._awaited = "send"
        return self._read(raw)

    def send(self, actions: np.ndarray) -> None:
        """Start a step. `actions`: one of `action_space` for each environment, copied. Raises ValueError for invalid ones."""
        backend = self._expect("send")
        # EnvPool aborts the process on a batch of the wrong length, and accepts actions out of range, floats and NaN silently.
        checked = self.action_space.checked(np.asarray(actions), self.num_envs)
        try:
            with contained():
                backend.send(checked)
        except EnvironmentFailed as error:
            self._failure = error
        self._awaited = "recv"

    def recv(self) -> Step:
        """Wait for the step to end. The pool does not write to the returned arrays again."""
        backend = self._expect("recv")
        if self._failure:
            raise self._failure
        with contained():
            raw = backend.recv()
        self._awaited = "send"
        return self._read(raw)

    def close(self) -> None:
        """Release the simulators and their threads, even in the middle of a step. A second call has no effect."""
        self._backend = None

    def _expect(self, call: str) -> Backend:
        """The backend, if `call` is the one expected now: EnvPool aborts the process on some calls in the wrong order."""
        if self._backend is None:
            raise RuntimeError(f"{call}() of a closed pool")
        if call != self._awaited:
            raise RuntimeError(f"{call}() in the wrong order: the pool expects {self._awaited}()")
        return self._backend

    def _read(self, raw: RawStep) -> Step:
        space = self.observation_space
        for name, values, shape in zip(raw._fields, raw, (space.shape, (), (), (), (), ()), strict=True):
            if values is not None and values.shape != (self.num_envs, *shape):
                raise EnvironmentFailed(f"the simulator returned {name} of shape {values.shape} instead of {(self.num_envs, *shape)}")
        if raw.observations.dtype != space.dtype:
            raise EnvironmentFailed(f"the simulator returned observations of type {raw.observations.dtype} instead of {space.dtype}")
        _refuse(raw.observations.reshape(self.num_envs, -1), "an observation")
        first, ended = self._ended, raw.terminated | raw.truncated
        rewards = np.where(first, np.float32(0), raw.rewards)  # EnvPool leaves what was in memory as the reward of some resets
        _refuse(rewards[:, None], "a reward")
        scores = rewards if raw.scores is None else np.where(first, np.float32(0), raw.scores)
        _refuse(scores[:, None], "a score")
        life_lost = (raw.lives < self._lives) & ~first & ~ended
        self._ended, self._lives = ended, raw.lives
        return Step(raw.observations, rewards, raw.terminated, raw.truncated & ~raw.terminated, life_lost, first, scores)


class Remapped:
    """A backend whose actions have other meanings: action a means the original's `actions[i, a]` in environment i, (N, A)."""

    def __init__(self, backend: Backend, actions: np.ndarray) -> None:
        self._backend, self._actions = backend, actions
        self.num_envs, self.observation_space = backend.num_envs, backend.observation_space
        self.autoreset: Autoreset = backend.autoreset
        self.action_space: Space = Discrete(actions.shape[1])
        assert actions.shape[0] == self.num_envs, actions.shape

    def reset(self) -> RawStep:
        return self._backend.reset()

    def send(self, actions: np.ndarray) -> None:
        self._backend.send(self._actions[np.arange(self.num_envs), actions].astype(np.int32))

    def recv(self) -> RawStep:
        return self._backend.recv()


@contextmanager
def contained() -> Iterator[None]:
    """Watch a call into a simulator; raise whatever fails in it as EnvironmentFailed, in one line with its place."""
    with WATCHDOG.over():
        try:
            yield
        except (UsageError, MemoryError):
            raise
        except Exception as error:
            raise EnvironmentFailed(described(error)) from error


def described(error: BaseException) -> str:
    """An error on one line, with the file and line that raised it."""
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({place[0].filename}, line {place[0].lineno})" if place else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"


def _refuse(values: np.ndarray, name: str) -> None:
    """Raise FloatingPointError for an environment with a non-finite number; `values` are (N, numbers)."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
        raise FloatingPointError(f"environment {wrong[0]} of {len(values)} returned {name} that is not finite")


def in_environment_order(raw: RawStep, env_ids: np.ndarray) -> RawStep:
    """A step whose rows came in the order `env_ids`, sorted."""
    order = np.argsort(env_ids)
    fields: list[Any] = [None if values is None else values[order] for values in raw]
    return RawStep(*fields)


def checked_seeds(seeds: Sequence[int] | np.ndarray) -> list[int]:
    """One seed for each environment. Raises UsageError unless they are distinct integers in [0, MAX_SEED)."""
    array = np.asarray(seeds)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise UsageError(f"seeds must be a list of integers, one for each environment, not {array.dtype} of shape {array.shape}")
    if array.min() < 0 or array.max() >= MAX_SEED:
        raise UsageError(f"seeds must lie in [0, {MAX_SEED}), not in [{array.min()}, {array.max()}]")
    if len(np.unique(array)) < len(array):
        raise UsageError("seeds must be distinct: environments with the same seed play the same episodes")
    return array.tolist()


def checked_threads(threads: int) -> int:
    """The number of a simulator's threads. Raises UsageError unless it is a whole number of at least 1."""
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise UsageError(f"threads must be a whole number of at least 1, not {threads!r}")
    return threads
