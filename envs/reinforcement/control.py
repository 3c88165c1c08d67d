"""Small control problems, for tests and for thousands of runs. Imports no torch, and a simulator only when a pool is made."""

import hashlib
import importlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from envs.reinforcement.backends.envpool import control_backend
from envs.reinforcement.backends.pool import Opening, Pool
from envs.reinforcement.backends.spaces import Box, Discrete
from envs.reinforcement.base import Heads
from envs.reinforcement.shifts import Shifts, Word
from envs.sequences import Visit, sequence
from plasticity_rl import registry
from plasticity_rl.checks import ADDED, Interval, UsageError, check

if TYPE_CHECKING:
    from envs.reinforcement.worlds.pool import DevicePool


@dataclass(frozen=True, kw_only=True)
class Control(Shifts):
    """A control problem whose features and actions are permuted in every task: the dynamics are the same, so all tasks are equally hard.

    Each member has its own tasks; a task that returns in a later cycle is unchanged. Without `shifts` there is one task. Raises UsageError
    for a field out of range.
    """

    shifts: tuple[Word, ...] = ("permute", "relabel")
    tasks: int = 5
    """number of tasks; with `permute` and `relabel` alone all differ, and there are no more than their permutations"""
    frames: Annotated[int, Interval("[1, inf)")] = 50_000
    """agent steps per visit and member; the default is our choice"""
    cycles: Annotated[int, Interval("[1, 10_000]")] = 1
    """number of passes through the list of tasks"""
    heads: Heads = "shared"
    """one output head shared by all tasks, or one per task, whose identifier the agent is then given"""
    episode_steps: Annotated[int | None, Interval("[1, 1_000_000]")] = None
    """step limit of an episode, at which it is truncated; none: the problem's own"""
    simulator: Literal["envpool", "torch"] = field(default="envpool", metadata=ADDED)
    """`envpool` steps on processors. `torch`: the same rules as functions of tensors on the learner's device, which no step leaves"""

    world: ClassVar[tuple[Any, int] | None] = None
    """rules of `simulator=torch`, a `World` or the names of its module in `worlds` and of its class, and their step limit; none if None"""
    env_id: ClassVar[str]
    """EnvPool's name of the problem"""
    observation_space: ClassVar[Box]
    action_space: ClassVar[Discrete]
    random_score: ClassVar[float]
    """mean return of an episode under uniformly random actions: the episodes of `envpool_control(env_id, np.arange(1000), 2)`, with its
    step limit if there is one, stepped with `np.random.default_rng(0).integers(actions, size=1000)`"""
    stack: ClassVar[int] = 1
    supervision: ClassVar[str] = "rewards"
    unit: ClassVar[str] = "frames"

    def __post_init__(self) -> None:
        check(self)
        if self.simulator == "torch" and self.world is None:
            raise UsageError(f"{type(self).__name__}: there is no simulator=torch of {self.env_id}; use simulator=envpool")
        if self.simulator == "torch" and not (isinstance(self.world, tuple) and isinstance(self.world[0], str)):  # a plugin's own
            from envs.reinforcement.worlds.check import check_world

            check_world(self.world, self.observation_space.shape)
        self.check_shifts(self.tasks, self.observation_space.shape[0], self.action_space.size, self.heads)

    @property
    def names(self) -> tuple[str, ...]:
        """Task names in order."""
        return tuple(f"{type(self).__name__}-{task}" for task in range(self.tasks))

    def visits(self) -> tuple[Visit, ...]:
        """The tasks in order, `cycles` times."""
        return sequence(self.names, self.frames, self.cycles, self.told)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of one observation, float32."""
        return self.observation_space.shape

    @property
    def life_loss(self) -> bool:
        """False: there are no lives."""
        return False

    def references(self) -> dict[str, dict[str, float]]:
        """task -> {"random": score}, unknown for another step limit; no human score is published."""
        if self.episode_steps != type(self).episode_steps:
            return {}
        return {name: {"random": self.random_score} for name in self.names}

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: hash of every member's tasks and their budget."""
        fields = asdict(self)
        if self.simulator == "envpool":
            del fields["simulator"]  # tasks from before the field keep their hash
        digest = hashlib.sha256(json.dumps([registry.name(self), fields, seed], sort_keys=True).encode())
        digest.update(self.drawn_bytes(seed, members, self.tasks, self.observation_space.shape[0], self.action_space.size))
        return digest.hexdigest()[:16]

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None = None) -> Pool:
        """Simulators of the visit's task, one for each of `seeds`, (members, environments) integers, in member-major order. Those of a
        member share a task, which the run's `seed` decides.
        """
        if world := self.device_pool(visit, seeds, seed, opening, "cpu"):
            from envs.reinforcement.worlds.pool import DeviceBackend

            return Pool(DeviceBackend(world, self.observation_space, self.action_space))
        backend = control_backend(self.env_id, seeds.reshape(-1), threads, self.episode_steps)
        return Pool(self.shifted(backend, visit, seeds, seed, opening))

    def device_pool(
        self, visit: Visit, seeds: np.ndarray, seed: int, opening: Opening | None, device: str, compile: bool = False
    ) -> "DevicePool | None":
        """The environments of `pool` on a device; None unless `simulator=torch`."""
        if self.simulator != "torch" or self.world is None:
            return None
        from envs.reinforcement.worlds.pool import DevicePool, Rules
        from envs.reinforcement.worlds.shift import shift_view

        features = self.observation_space.shape[0]
        view, given = shift_view(features, *self.shift_of(visit, seeds.shape, seed, opening, features, self.action_space.n))
        world, limit = self.world
        if isinstance(world, str):
            module, _, rules = world.partition(".")
            world = getattr(importlib.import_module(f"envs.reinforcement.worlds.{module}"), rules)()
        return DevicePool(Rules(world, view, limit=self.episode_steps or limit), given, seeds.reshape(-1), device, compile)

    def render_pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> None:
        """None: EnvPool renders none of these problems."""


@dataclass(frozen=True, kw_only=True)
class CartPole(Control):
    """CartPole-v1 with features and actions permuted in every task: the dynamics are the same, so all tasks are equally hard.

    The reward is +1 a step, until the pole falls or 500 steps have passed (Barto et al. 1983, IEEE SMC-13). Observations are position,
    velocity, angle (radians) and angular velocity; actions push left or right. There are 48 different tasks.
    """

    world: ClassVar[tuple[Any, int] | None] = ("cart_pole.CartPole", 500)
    env_id: ClassVar[str] = "CartPole-v1"
    observation_space: ClassVar[Box] = Box((4,))
    action_space: ClassVar[Discrete] = Discrete(2)
    random_score: ClassVar[float] = 22.18
    """over 128,871 episodes in 3,000 steps; standard error 0.03"""


@dataclass(frozen=True, kw_only=True)
class Acrobot(Control):
    """Acrobot-v1 with features and actions permuted in every task: swing two links up, which random actions rarely achieve.

    The reward is -1 a step, until the tip is high enough or 500 steps have passed (Sutton 1996, NeurIPS 8). Observations are the cosine and
    sine of both joints' angles and their angular velocities (radians a second); actions turn the second joint either way or not at all.
    There are 4,320 different tasks.
    """

    frames: int = 100_000
    """agent steps per visit and member; the default is our choice"""

    world: ClassVar[tuple[Any, int] | None] = ("acrobot.Acrobot", 500)
    env_id: ClassVar[str] = "Acrobot-v1"
    observation_space: ClassVar[Box] = Box((6,))
    action_space: ClassVar[Discrete] = Discrete(3)
    random_score: ClassVar[float] = -498.92
    """over 19,212 episodes in 10,000 steps; standard error 0.08"""


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class Catch(Control):
    """bsuite's Catch with pixels and actions permuted in every task: permuted images with consequences.

    A ball falls through a board of 10 x 5 pixels; the paddle below it moves left, stays or moves right, and after nine steps the ball is
    caught (+1) or missed (-1) (Osband et al. 2020, arXiv 1908.03568). Observations are the 50 pixels, 0 or 1.
    """

    world: ClassVar[tuple[Any, int] | None] = ("catch.Catch", 9)
    env_id: ClassVar[str] = "Catch-v0"
    observation_space: ClassVar[Box] = Box((50,))
    action_space: ClassVar[Discrete] = Discrete(3)
    random_score: ClassVar[float] = -0.6
    """exact: the ball lands in each of the five columns equally often, wherever the paddle is"""


@dataclass(frozen=True, kw_only=True)
class Continual(Control):
    """Ten tasks that differ in an offset of observations, of which the learner is not told: the protocol of TRAC (Muppidi et al. 2024,
    arXiv 2405.16642) and C-CHAIN (Tang et al. 2025, arXiv 2506.00592).

    An offset is a Gaussian vector, the first task's zero. A visit is 200 iterations of 800 steps; episodes are cut at 400 steps.
    """

    shifts: tuple[Word, ...] = ("offset",)
    told: bool = False
    tasks: int = 10
    """number of tasks"""
    frames: int = 160_000
    """agent steps per visit and member"""
    episode_steps: int | None = 400
    """step limit of an episode, at which it is truncated"""


@dataclass(frozen=True, kw_only=True)
class ContinualCartPole(Continual, CartPole):
    """CartPole-v1 with an offset of observations in each of ten tasks, of which the learner is not told (TRAC, C-CHAIN)."""


@dataclass(frozen=True, kw_only=True)
class ContinualAcrobot(Continual, Acrobot):
    """Acrobot-v1 with an offset of observations in each of ten tasks, of which the learner is not told (TRAC, C-CHAIN)."""

    random_score: ClassVar[float] = -399.75
    """over 24,074 episodes in 10,000 steps; standard error 0.03"""


@dataclass(frozen=True, kw_only=True)
class ContinualLunarLander(Continual, LunarLander):
    """LunarLander-v3 with an offset of observations in each of ten tasks, of which the learner is not told (TRAC, C-CHAIN)."""

    random_score: ClassVar[float] = -182.0
    """over 31,830 episodes in 3,000 steps; standard error 0.6"""


@dataclass(frozen=True, kw_only=True)
class ContinualMountainCar(Continual):
    """MountainCar-v0 with an offset of observations in each of ten tasks, of which the learner is not told (TRAC, C-CHAIN).

    The reward is -1 a step until the car reaches the flag (Moore 1990). Observations are position and velocity; actions push left, not at
    all or right. Offsets are a hundred times smaller than elsewhere, as in TRAC.
    """

    offset_scale: float = 0.02
    """standard deviation of each component of an offset"""

    world: ClassVar[tuple[Any, int] | None] = ("mountain_car.MountainCar", 200)
    env_id: ClassVar[str] = "MountainCar-v0"
    observation_space: ClassVar[Box] = Box((2,))
    action_space: ClassVar[Discrete] = Discrete(3)
    random_score: ClassVar[float] = -400.0
    """of all 10,000 episodes in 4,010 steps"""
