"""Interface of a reinforcement-learning benchmark. Imports no torch."""

from abc import abstractmethod
from typing import ClassVar, Literal, Protocol

import numpy as np

from envs.reinforcement.backends.pool import Opening, Pool
from envs.reinforcement.backends.spaces import Box, Space
from envs.sequences import Visit

Heads = Literal["shared", "per-task"]


class ReinforcementBenchmark(Protocol):
    """A sequence of tasks learned from rewards. All members visit the same task names in the same order, each in its own environments.

    Spaces, frame stack and frame skip are the same in all tasks; but pools may take the first actions alone, as `num_actions` says.
    """

    supervision: ClassVar[str]
    """what agents learn from: rewards"""
    unit: ClassVar[str]
    """unit of budgets: frames"""
    stack: ClassVar[int]
    """single frames in one input of the network, the newest last"""
    frame_skip: ClassVar[int]
    """emulator frames in one agent step"""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Distinct task names, in the order of their first visits."""
        ...

    @property
    @abstractmethod
    def heads(self) -> Heads:
        """`shared`: one output head for all tasks, and no task identifier. `per-task`: a head for each of `names`, and the agent is given
        the task identifier, as in the multi-head protocols of continual learning. Agents build the heads.
        """
        ...

    @property
    @abstractmethod
    def observation_space(self) -> Box:
        """Space of a single frame, as pools return it."""
        ...

    @property
    @abstractmethod
    def action_space(self) -> Space:
        """Space of an action: Discrete(n), or of a vector of d numbers Box((d,), low=-1, high=1), which backends scale to a simulator's own
        bounds.
        """
        ...

    @property
    @abstractmethod
    def inputs(self) -> tuple[int, ...]:
        """Shape of one input of the network: that of `observation_space` if `stack` is 1, otherwise with (stack,) before it."""
        ...

    @property
    @abstractmethod
    def life_loss(self) -> bool:
        """Whether a lost life ends the episode for the learner. The game itself continues."""
        ...

    @abstractmethod
    def visits(self) -> tuple[Visit, ...]:
        """The sequence of tasks with budgets in frames. Either all visits are told to the learner or none."""
        ...

    @property
    @abstractmethod
    def tasks_alike(self) -> bool:
        """True if every visit is a new draw of one distribution of tasks, the first among them."""
        ...

    @abstractmethod
    def references(self) -> dict[str, dict[str, float]]:
        """task -> {"random": score, "human": score}: known undiscounted returns of an episode."""
        ...

    @abstractmethod
    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: hash of everything that defines the tasks of a run with this seed and number of members."""
        ...

    @abstractmethod
    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None = None) -> Pool:
        """Environments of the visit's task, one for each of `seeds`, (members, environments) distinct integers, in member-major order.
        `seed` is the run's; `opening`, of a pool that trains, is for tasks that change gradually, and without it they have changed.
        """
        ...

    @abstractmethod
    def render_pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> Pool | None:
        """The environments of `pool` with RGB observations, (N, height, width, 3) uint8. The same actions give the same trajectory. None if
        there is nothing to render.
        """
        ...


def num_actions(benchmark: ReinforcementBenchmark) -> tuple[int, ...]:
    """Number of actions in each of `names`, of a benchmark of discrete actions whose tasks differ in it and that has a property
    `num_actions`; else empty. A task of n actions has the first n of `action_space`.
    """
    return getattr(benchmark, "num_actions", ())
