"""Small control problems, for tests and for thousands of runs. Imports no torch, and a simulator only when a pool is made."""

import hashlib
import itertools
import json
import math
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np

from envs.reinforcement.base import Heads
from envs.reinforcement.envpool import envpool_control
from envs.reinforcement.pool import Pool
from envs.reinforcement.spaces import Box, Discrete
from envs.sequences import Visit, sequence
from plasticity_rl import registry
from plasticity_rl.checks import Interval, check
from plasticity_rl.seeds import derive

MAX_TASKS = 10_000  # of a member; a problem with fewer variants lists them all


class Variant(NamedTuple):
    """One task of a control problem."""

    features: tuple[int, ...]
    """the original's feature at each place"""
    actions: tuple[int, ...]
    """the original's action for each action"""


@dataclass(frozen=True)
class Control:
    """A control problem whose features and actions are permuted in every task: the dynamics are the same, so all tasks are equally hard.

    Each member has its own tasks, all different; a task that returns in a later cycle is unchanged. Raises UsageError for a field out of
    range.
    """

    tasks: int = 5
    """number of tasks: permutations of features and actions"""
    frames: Annotated[int, Interval("[1, inf)")] = 50_000
    """agent steps per visit and member; the default is our choice"""
    cycles: Annotated[int, Interval("[1, 10_000]")] = 1
    """number of passes through the list of tasks"""
    heads: Heads = "shared"
    """one output head shared by all tasks, or one per task, whose identifier the agent is then given"""

    env_id: ClassVar[str]
    """EnvPool's name of the problem"""
    observation_space: ClassVar[Box]
    action_space: ClassVar[Discrete]
    random_score: ClassVar[float]
    """mean return of an episode under uniformly random actions: the episodes of `envpool_control(env_id, np.arange(1000), 2)`, stepped with
    `np.random.default_rng(0).integers(actions, size=1000)`"""
    stack: ClassVar[int] = 1
    frame_skip: ClassVar[int] = 1
    supervision: ClassVar[str] = "rewards"
    unit: ClassVar[str] = "frames"

    def __post_init__(self) -> None:
        most = min(_num_variants(self.observation_space.shape[0], self.action_space.n), MAX_TASKS)
        check(self, tasks=f"[1, {most}]")

    @property
    def names(self) -> tuple[str, ...]:
        """Task names in order."""
        return tuple(f"{type(self).__name__}-{task}" for task in range(self.tasks))

    def visits(self) -> tuple[Visit, ...]:
        """The tasks in order, `cycles` times."""
        return sequence(self.names, self.frames, self.cycles)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of one observation, float32."""
        return self.observation_space.shape

    @property
    def life_loss(self) -> bool:
        """False: there are no lives."""
        return False

    def references(self) -> dict[str, dict[str, float]]:
        """task -> {"random": score}; no human score is published."""
        return {name: {"random": self.random_score} for name in self.names}

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: hash of every member's tasks and their budget."""
        tables = [self._variants(seed, member) for member in range(members)]
        return hashlib.sha256(json.dumps([registry.name(self), asdict(self), seed, tables], sort_keys=True).encode()).hexdigest()[:16]

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> Pool:
        """Simulators of the visit's task, one for each of `seeds`, (members, environments) integers, in member-major order. Those of a
        member share a task, which the run's `seed` decides.
        """
        members, num_envs = seeds.shape
        own = [self._variants(seed, member)[self.names.index(visit.task)] for member in range(members)]
        features, actions = (np.repeat(np.array(tables), num_envs, axis=0) for tables in zip(*own, strict=True))
        return envpool_control(self.env_id, seeds.reshape(-1), threads, features=features, actions=actions)

    def render_pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> None:
        """None: EnvPool renders none of these problems."""

    def _variants(self, seed: int, member: int) -> list[Variant]:
        return variants(seed, member, self.tasks, features=self.observation_space.shape[0], actions=self.action_space.n)


@dataclass(frozen=True)
class CartPole(Control):
    """CartPole-v1 with features and actions permuted in every task: the dynamics are the same, so all tasks are equally hard.

    The reward is +1 a step, until the pole falls or 500 steps have passed (Barto et al. 1983, IEEE SMC-13). Observations are position,
    velocity, angle (radians) and angular velocity; actions push left or right. There are 48 different tasks.
    """

    env_id: ClassVar[str] = "CartPole-v1"
    observation_space: ClassVar[Box] = Box((4,))
    action_space: ClassVar[Discrete] = Discrete(2)
    random_score: ClassVar[float] = 22.18
    """over 128,871 episodes in 3,000 steps; standard error 0.03"""


@dataclass(frozen=True)
class Acrobot(Control):
    """Acrobot-v1 with features and actions permuted in every task: swing two links up, which random actions rarely achieve.

    The reward is -1 a step, until the tip is high enough or 500 steps have passed (Sutton 1996, NeurIPS 8). Observations are the cosine and
    sine of both joints' angles and their angular velocities (radians a second); actions turn the second joint either way or not at all.
    There are 4,320 different tasks.
    """

    frames: int = 100_000
    """agent steps per visit and member; the default is our choice"""

    env_id: ClassVar[str] = "Acrobot-v1"
    observation_space: ClassVar[Box] = Box((6,))
    action_space: ClassVar[Discrete] = Discrete(3)
    random_score: ClassVar[float] = -498.92
    """over 19,212 episodes in 10,000 steps; standard error 0.08"""


@dataclass(frozen=True)
class LunarLander(Control):
    """LunarLander-v3 with features and actions permuted in every task: rewards reach 100 either way and are best left unclipped.

    Rewards are shaped by distance, speed and angle, with +100 for coming to rest and -100 for a crash; at most 1,000 steps, no wind
    (Gymnasium; a return above 200 counts as solved). Observations are position, velocity, angle (radians), angular velocity and the
    contact of two legs; actions fire one of three engines or none.
    """

    frames: int = 200_000
    """agent steps per visit and member; the default is our choice"""

    env_id: ClassVar[str] = "LunarLander-v3"
    observation_space: ClassVar[Box] = Box((8,))
    action_space: ClassVar[Discrete] = Discrete(4)
    random_score: ClassVar[float] = -182.1
    """over 31,621 episodes in 3,000 steps; standard error 0.6"""


@dataclass(frozen=True)
class Catch(Control):
    """bsuite's Catch with pixels and actions permuted in every task: permuted images with consequences.

    A ball falls through a board of 10 x 5 pixels; the paddle below it moves left, stays or moves right, and after nine steps the ball is
    caught (+1) or missed (-1) (Osband et al. 2020, arXiv 1908.03568). Observations are the 50 pixels, 0 or 1.
    """

    env_id: ClassVar[str] = "Catch-v0"
    observation_space: ClassVar[Box] = Box((50,))
    action_space: ClassVar[Discrete] = Discrete(3)
    random_score: ClassVar[float] = -0.6
    """exact: the ball lands in each of the five columns equally often, wherever the paddle is"""


def variants(seed: int, member: int, tasks: int, features: int, actions: int) -> list[Variant]:
    """The first `tasks` variants of a member.

    A variant depends on seed, member and its position alone, not on the number of tasks.
    """
    random = np.random.default_rng(derive(seed, member, "tasks"))
    if _num_variants(features, actions) <= MAX_TASKS:
        every = list(itertools.product(itertools.permutations(range(features)), itertools.permutations(range(actions))))
        return [Variant(*every[index]) for index in random.permutation(len(every))[:tasks]]
    drawn: dict[Variant, None] = {}
    while len(drawn) < tasks:
        drawn[Variant(tuple(random.permutation(features).tolist()), tuple(random.permutation(actions).tolist()))] = None
    return list(drawn)


def _num_variants(features: int, actions: int) -> int:
    return math.factorial(features) * math.factorial(actions)
