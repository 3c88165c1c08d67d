"""Continual World: manipulation tasks of a robot arm in sequence. Imports no torch, and EnvPool only when a space is asked for."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from envs.reinforcement.backends.pool import Autoreset, Backend, Opening, RawStep
from envs.reinforcement.backends.spaces import Box, Space
from envs.reinforcement.base import Heads
from envs.reinforcement.envpool import EnvPool
from envs.sequences import Visit
from plasticity_rl.checks import Interval

TASKS = (
    *("Hammer", "PushWall", "FaucetClose", "PushBack", "StickPull"),
    *("HandlePressSide", "Push", "ShelfPlace", "WindowClose", "PegUnplugSide"),
)


@dataclass(frozen=True, kw_only=True)
class CW10(EnvPool):
    """CW10 of Continual World (Wolczyk et al. 2021, arXiv 2105.10919): ten tasks of Meta-World, with a head of the network for each.

    An episode's score is 1 if the task succeeded in any of its 200 steps, otherwise 0; agents learn from Meta-World's rewards. Objects and
    goals are placed anew in every episode, and the goal is observed. Names, order, budget and these settings are those of the authors'
    code (awarelab/continual_world). It played Meta-World v1 or v2 and added a one-hot code of the task to the 39 features. Here v3 is
    played, as EnvPool has it, and the head is all that an agent knows of the task.
    """

    ids: tuple[str, ...] = tuple(f"MetaWorld/{name}-v3" for name in TASKS)
    """EnvPool's ids, in order"""
    kwargs: tuple[str, ...] = ("max_episode_steps=200;partially_observable=false",)
    """options of EnvPool, as in `envpool`; by default EnvPool hides the goal"""
    frames: Annotated[int, Interval("[1, inf)")] = 1_000_000
    """agent steps per visit and member"""
    heads: Heads = "per-task"
    random_scores: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.02, 0.0, 0.0, 0.0, 0.0)
    """share of successful episodes under uniformly random actions: of the first one of 200 environments with the seeds `np.arange(200)`,
    stepped with `np.random.default_rng(0).uniform(-1, 1, (200, 4))`"""

    def backend(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None) -> Backend:
        """Environments of the visit's task, one for each of `seeds` (members, environments), without shifts and padding."""
        return Successes(self.made(self.names.index(visit.task) % len(self.ids), seeds.reshape(-1), threads, scored="success"))


@dataclass(frozen=True, kw_only=True)
class CW20(CW10):
    """CW20 of Continual World (Wolczyk et al. 2021, arXiv 2105.10919): the tasks of `cw10` twice, a task with the same head again."""

    cycles: Annotated[int, Interval("[1, 10_000]")] = 2
    """number of passes through the list of tasks"""


class Successes:
    """A backend whose steps are scored by success, 0 or 1: here the first success of an episode scores 1, and all else 0."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.num_envs = backend.num_envs
        self.observation_space: Box = backend.observation_space
        self.action_space: Space = backend.action_space
        self.autoreset: Autoreset = backend.autoreset
        self._over = np.ones(self.num_envs, bool)
        """the next step begins an episode"""
        self._succeeded = np.zeros(self.num_envs, bool)

    def reset(self) -> RawStep:
        self._over[:] = True
        return self._first(self._backend.reset())

    def send(self, actions: np.ndarray) -> None:
        self._backend.send(actions)

    def recv(self) -> RawStep:
        return self._first(self._backend.recv())

    def _first(self, raw: RawStep) -> RawStep:
        assert raw.scores is not None
        successful = (raw.scores > 0) & ~self._over
        first = successful & ~self._succeeded
        self._succeeded = (self._succeeded | first) & ~self._over
        self._over = raw.terminated | raw.truncated
        return raw._replace(scores=first.astype(np.float32))
