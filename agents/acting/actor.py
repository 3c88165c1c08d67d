"""Actor: a pool of environments, the frame stacks that a policy observes, and the returns of running episodes."""

import time
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.data.frames import Stacks
from envs.reinforcement.backends.pool import EnvironmentFailed, Pool, Step
from envs.reinforcement.isolation import IsolatedPool

THREADS = 2  # threads per pool; trajectories do not depend on it
RESTARTS = 3  # of an actor's environments that a run tolerates between two checkpoints


class Episode(NamedTuple):
    """A finished episode of one member."""

    member: int
    environment: int
    """index among the member's environments"""
    score: float
    """undiscounted, unclipped return, or what the benchmark scores in its place"""
    ago: int = 0
    """steps of the pool since it ended"""


class Tally:
    """Scores so far of the running episodes of S members x B environments."""

    def __init__(self, members: int, num_envs: int) -> None:
        self._scores = np.zeros((members, num_envs))

    def add(self, step: Step) -> list[Episode]:
        """Add a step's scores; return the episodes that ended with it."""
        self._scores += step.scores.reshape(self._scores.shape)
        ended = (step.terminated | step.truncated).reshape(self._scores.shape)
        episodes = [Episode(int(member), int(column), float(self._scores[member, column])) for member, column in np.argwhere(ended)]
        self._scores[ended] = 0.0
        return episodes

    def cut(self, columns: slice = slice(None)) -> list[Episode]:
        """Cut the episodes in some environments of each member; return them."""
        numbers = range(self._scores.shape[1])[columns]
        episodes = [Episode(member, column, float(row[column])) for member, row in enumerate(self._scores) for column in numbers]
        self._scores[:, columns] = 0.0
        return episodes


class Actor(Stacks):
    """S members x B environments in one pool, on the learner's device. Call `send`, learn while the emulator steps, then `receive`.

    If the environments fail, they are opened anew with the same seeds and play the same actions up to the step that failed, so that the
    run goes on as if nothing had happened. Raises EnvironmentFailed if they fail there again, too often, or play otherwise than before.
    """

    def __init__(self, open_pool: Callable[[], Pool | IsolatedPool], members: int, stack: int, device: str) -> None:
        """`open_pool` opens the same pool each time."""
        self._open, self._device = open_pool, device
        self.sent: list[np.ndarray] = []
        """actions of every step so far, (S x B, ...) each"""
        self.restarts = 0
        """how often the environments were opened anew"""
        self._pool, self._observed = open_pool(), np.empty(0)
        step = self._attempt(self._pool.reset)
        self._shape = members, self._pool.num_envs // members
        self._tally = Tally(*self._shape)
        super().__init__(self._tensor(step.observations), stack)

    def send(self, actions: Tensor) -> None:
        """Send an action to every environment, (S, B), or (S, B, numbers) of several numbers each."""
        self._send(actions.flatten(0, 1).cpu().numpy())

    def repeat(self, sent: Sequence[np.ndarray]) -> None:
        """Play the steps of an earlier actor again, from the same seeds; the episodes that they end are known."""
        for actions in sent:
            self._send(actions)
            self.receive()

    def receive(self) -> tuple[Step, list[Episode]]:
        """Wait for the step that was sent; return it and the episodes that ended with it."""
        step = self._attempt(self._pool.recv)
        self.push(self._tensor(step.observations), self._tensor(step.first))
        return step, self._tally.add(step)

    def close(self) -> list[Episode]:
        """Close the environments; return the episodes that this cut, with their scores so far."""
        self._pool.close()
        return self._tally.cut()

    def _send(self, actions: np.ndarray) -> None:
        """Send actions (S x B, ...), and keep them."""
        chosen = actions.astype(np.float32 if np.issubdtype(actions.dtype, np.floating) else np.int32)
        self.sent.append(chosen.astype(np.uint8) if chosen.dtype == np.int32 and chosen.max() < 256 else chosen)
        self._pool.send(chosen)

    def _attempt(self, call: Callable[[], Step]) -> Step:
        """The pool's answer, or that of one opened anew."""
        failures: list[tuple[int, str]] = []
        began = 0.0
        while True:
            try:
                step = self._again(failures) if failures else call()
            except EnvironmentFailed as error:
                began = began if failures else time.monotonic()
                self._pool.close()
                failures.append((len(self.sent), str(error)))
                self.restarts += 1
                if failures[-1] in failures[:-1]:
                    raise EnvironmentFailed(
                        f"the environments failed twice at step {len(self.sent)} since they were opened: {error}"
                    ) from error
                if self.restarts > RESTARTS:
                    raise EnvironmentFailed(f"the environments failed {self.restarts} times since they were opened: {error}") from error
            else:
                if failures:
                    took, last = time.monotonic() - began, failures[-1][1]
                    warnings.warn(f"the environments failed and were opened anew in {took:.1f} s: {last}", stacklevel=2)
                self._observed = step.observations
                return step

    def _again(self, failures: list[tuple[int, str]]) -> Step:
        """The answer to the last call, of a new pool that has played all steps."""
        self._pool = self._open()
        step = self._pool.reset()
        for number, actions in enumerate(self.sent):
            if number + 1 == len(self.sent) and not np.array_equal(step.observations, self._observed):
                raise EnvironmentFailed(f"the same seeds and actions gave other observations than before, after {failures[-1][1]}")
            self._pool.send(actions)
            step = self._pool.recv()
        return step

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device).view(*self._shape, *values.shape[1:])
