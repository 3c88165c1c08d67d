"""What agents read of a benchmark that teaches by rewards, whichever it is. Imports no torch."""

from typing import ClassVar, Literal, Protocol

import numpy as np

from envs.reinforcement.pool import Pool
from envs.sequences import Visit

Dtype = Literal["uint8", "float32"]
Heads = Literal["shared", "per-task"]


class Games(Protocol):
    """A sequence of tasks to act in. All members visit the same names in the same order, each with its own environments.

    What stands here holds in all tasks alike: an observation, an action and a frame are of one kind throughout.
    """

    supervision: ClassVar[str]
    """rewards: what an agent learns from"""
    unit: ClassVar[str]
    """frames: what budgets count"""
    frame: ClassVar[tuple[int, ...]]
    """shape of a single frame, as the pools give it"""
    dtype: ClassVar[Dtype]
    """of frames: uint8 are pixels in [0, 255], float32 are features, each in a unit of its own"""
    stack: ClassVar[int]
    """how many single frames, the newest last, make one input of the network"""
    frame_skip: ClassVar[int]
    """frames of the emulator in one step of the agent"""

    @property
    def names(self) -> tuple[str, ...]:
        """The distinct tasks, in the order of their first visits."""
        ...

    @property
    def heads(self) -> Heads:
        """`shared`: one output head answers in all tasks, and the agent is not told which it is in. `per-task`: each of `names` has a head
        of its own, and the agent is told, as in the multi-head protocols of continual learning. Agents build the heads.
        """
        ...

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of one input of the network: `frame` where `stack` is 1, else (stack, *frame)."""
        ...

    @property
    def outputs(self) -> int:
        """Number of actions."""
        ...

    @property
    def life_loss(self) -> bool:
        """Does a lost life end the episode for the learner? The game itself goes on."""
        ...

    def visits(self) -> tuple[Visit, ...]:
        """The sequence: where, how often, and for how many frames."""
        ...

    def references(self) -> dict[str, dict[str, float]]:
        """task -> {"random": score, "human": score}, undiscounted returns of an episode, as far as they are known."""
        ...

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: the hash of all that defines the tasks which a run with this seed and so many members meets."""
        ...

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> Pool:
        """Environments of the visit's task, one for each of `seeds`, (members, environments) distinct integers; member-major, so those of a
        member are neighbours. `seed` is the run's own.
        """
        ...

    def pictures(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> Pool | None:
        """The same environments for people to look at: observations are RGB, (N, height, width, 3) uint8. Fed with the same actions, it
        goes through the same trajectory as `pool` does. None where there is nothing to see.
        """
        ...
