"""Control problems that are small enough for tests and for thousands of runs. Imports no torch, and no simulator until a pool is made."""

import hashlib
import itertools
import json
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np

from envs.pools import Pool, envpool_cartpole
from envs.sequences import Visit, sequence
from plasticity_rl.checks import check
from plasticity_rl.seeds import derive

VARIANTS = [(features, actions) for features in itertools.permutations(range(4)) for actions in itertools.permutations(range(2))]
"""the ways to name CartPole's four features and two actions: 24 x 2"""
RANDOM_SCORE = 22.18
"""mean return of uniformly random actions: 128,871 episodes of `envpool_cartpole(np.arange(1000), 2)` in 3,000 steps with
`np.random.default_rng(0).integers(2, size=1000)`; standard error 0.03"""


@dataclass(frozen=True)
class CartPole:
    """CartPole-v1, with features and actions named anew in every task: the same problem underneath, so no task is harder than another.

    Each member has its own tasks, all different from one another; a task that comes back in a later cycle is the same again. Raises
    UsageError for a field out of range.
    """

    tasks: int = 5
    """of the 48 ways to name four features and two actions"""
    frames: int = 50_000
    """steps of each visit, of each member; the default is our choice"""
    cycles: int = 1
    """how often the whole list is played through"""

    teaches: ClassVar[str] = "rewards"
    unit: ClassVar[str] = "frames"
    frame_skip: ClassVar[int] = 1
    stack: ClassVar[int] = 1
    life_loss: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check(self, tasks=f"[1, {len(VARIANTS)}]", frames="[1, inf)", cycles="[1, 10_000]")

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks in order."""
        return tuple(f"CartPole-{task}" for task in range(self.tasks))

    def visits(self) -> tuple[Visit, ...]:
        """The tasks in order, `cycles` times over."""
        return sequence(self.names, self.frames, self.cycles)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of one observation, float32."""
        return (4,)

    @property
    def outputs(self) -> int:
        """Number of actions."""
        return 2

    def references(self) -> dict[str, dict[str, float]]:
        """task -> {"random": score}; nobody published a human's."""
        return {name: {"random": RANDOM_SCORE} for name in self.names}

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: the hash of every member's tasks and of the budget they have."""
        tables = [variants(seed, member, self.tasks) for member in range(members)]
        return hashlib.sha256(json.dumps(["CartPole", asdict(self), seed, tables], sort_keys=True).encode()).hexdigest()[:16]

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> Pool:
        """Simulators of the visit's task, one for each of `seeds`, (members, environments) integers; member-major, so those of a member are
        neighbours and share a task, which the run's `seed` decides.
        """
        members, environments = seeds.shape
        own = [variants(seed, member, self.tasks)[self.names.index(visit.task)] for member in range(members)]
        features, actions = (np.repeat(np.array(tables), environments, axis=0) for tables in zip(*own, strict=True))
        return envpool_cartpole(seeds.reshape(-1), threads, features=features, actions=actions)


def variants(seed: int, member: int, tasks: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """A member's first tasks: for each, which original feature stands at each place, and which original action each action means.

    A task depends on seed, member and its position alone, not on how many there are.
    """
    order = np.random.default_rng(derive(seed, member, "tasks")).permutation(len(VARIANTS))
    return [VARIANTS[index] for index in order[:tasks]]
