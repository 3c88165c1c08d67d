"""EnvPool's Gym-MuJoCo bodies under other physics in every task. Imports no torch, and EnvPool only when a space is asked for."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np

from envs.reinforcement.attributes import Attribute
from envs.reinforcement.backends import bodies
from envs.reinforcement.backends.joined import Joined
from envs.reinforcement.backends.pool import Backend, Opening
from envs.reinforcement.envpool import EnvPool
from envs.sequences import Visit
from plasticity_rl import registry
from plasticity_rl.checks import Interval, UsageError, choose
from plasticity_rl.seeds import derive

FAULT = "fault"


class Physics(NamedTuple):
    """Physics of one task of a member."""

    factors: Mapping[str, float]
    """name of `bodies.FACTORS` -> factor"""
    broken: int | None
    """number of the motor without force"""


@dataclass(frozen=True, kw_only=True)
class MuJoCo(EnvPool):
    """Bodies of EnvPool's Gym-MuJoCo environments (Ant, HalfCheetah, Hopper, Walker2d, ...), whose physics differ from task to task.

    Each member has its own physics, drawn from its seed. They are factors on the packaged body: 1 is its own physics. Observations, rewards
    and limits of episodes stay those of the id. Raises UsageError for an id without such a body.
    """

    ids: tuple[str, ...] = ("HalfCheetah-v4",)
    """EnvPool's ids of bodies, in order"""
    vary: tuple[str, ...] = ("friction=0.5..2",)
    """factors that differ between tasks: of `friction` (sliding, of all surfaces), `gravity`, `mass` (with inertia, all parts alike),
    `strength` (of motors), `stiffness` and `damping` (of joints). `gravity=0.5..1.5` draws from a range for each member and task,
    `gravity=1;0.5;2` takes the factors of a list in turn. `fault` takes all force from one motor, drawn for each member and task"""
    tasks: Annotated[int, Interval("[1, 10_000]")] = 5
    """number of tasks, which have the ids in turn; the default is our choice"""
    draw: Literal["log-uniform", "uniform"] = "log-uniform"
    """distribution of factors from ranges; log-uniform, so that half and double are equally likely, is our choice"""

    scores_hold_for: ClassVar[tuple[str, ...]] = (*EnvPool.scores_hold_for, "vary", "draw")

    def __post_init__(self) -> None:
        word, names = registry.name(self), [each.name for each in self.factors]
        for name in names:
            choose("factor of vary", name, [*bodies.FACTORS, FAULT])
        if len(set(self.vary)) < len(self.vary) or len(set(names)) < len(names):
            raise UsageError(f"{word}: vary names a factor twice")
        for each in self.factors:
            if min((each.low, *each.values)) < 0 or (self.draw == "log-uniform" and not each.values and each.low == 0):
                raise UsageError(f"{word}: factors are at least 0, above 0 in a range of draw=log-uniform, not {each.name}={each.low:g}")
        if self.vary and self.gradual:
            raise UsageError(f"{word}: physics changes at once: gradual={self.gradual} needs vary= without entries")
        super().__post_init__()
        for index, env_id in enumerate(self.ids):
            if {"xml_file", "base_path"} & set(self.arguments(index)):
                raise UsageError(f"{word}: xml_file and base_path of {env_id} are set by the benchmark")
            body = _packaged(env_id)
            for each in names:
                if bodies.changed(body, {each: 1.0}) == bodies.changed(body, {each: 2.0}):
                    raise UsageError(f"{word}: {env_id} has no {each} to vary: it is 0 there")

    @property
    def varies(self) -> bool:
        """True if two tasks of one id differ."""
        return bool(self.shifts or self.vary)

    @property
    def tasks_alike(self) -> bool:
        """True if every visit has physics of its own from the same ranges, and shifts rename features and actions at most."""
        if not self.vary:
            return super().tasks_alike
        drawn = len(self.ids) == 1 and self.cycles == 1 and not any(each.values for each in self.factors)
        return drawn and not set(self.shifts) - {"permute", "relabel"}

    @property
    def factors(self) -> list[Attribute]:
        """Meaning of `vary`, without the fault. Raises UsageError for other texts."""
        return [Attribute.read(text, registry.name(self), "vary") for text in self.vary if text != FAULT]

    def physics(self, seed: int, member: int, task: int) -> Physics:
        """Physics in a task of a member."""
        drawn = {each.name: each.value(seed, member, task, log=self.draw == "log-uniform") for each in self.factors}
        if FAULT not in self.vary:
            return Physics(drawn, None)
        motors = _motors(self.ids[task % len(self.ids)])
        return Physics(drawn, int(np.random.default_rng(derive(seed, member, "set", FAULT, task)).integers(motors)))

    def backend(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None) -> Backend:
        """Environments of the visit's task, one for each of `seeds` (members, environments), without shifts and padding."""
        if not self.vary:
            return super().backend(visit, seeds, threads, seed, opening)
        task = self.names.index(visit.task)
        index, share = task % len(self.ids), -(-threads // len(seeds))  # the members' simulators step at the same time
        body = _packaged(self.ids[index])

        def of(member: int) -> Backend:
            return self.made(index, seeds[member], share, **bodies.written(bodies.changed(body, *self.physics(seed, member, task))))

        return Joined([of(member) for member in range(len(seeds))])

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: hash of the fields, of every member's shifts and physics, and of the packaged bodies."""
        drawn = [self.physics(seed, member, task) for member in range(members) for task in range(len(self.names))]
        digest = hashlib.sha256(super().fingerprint(seed, members).encode() + repr(drawn).encode())
        for env_id in self.ids:
            digest.update(_packaged(env_id))
        return digest.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class SlipperyAnt(MuJoCo):
    """Ant-v3 whose friction changes every 2 million steps, of which the learner is not told (Dohare et al. 2024, Nature 632:768).

    The paper's Methods: the coefficient of friction is drawn log-uniformly from [0.02, 2]. It changes at the first end of an episode after
    2 million steps, here at step 2 million, which cuts the episode. Ten tasks, the first one's friction drawn like the others, are from
    the authors' code (shibhansh/loss-of-plasticity). Its Ant-v3 ran on MuJoCo 2.1, which computes no contact forces: 84 of the 111
    features are 0 there, as here, and contacts cost nothing. Frictions are drawn anew, since the authors' file of them was not read.
    """

    ids: tuple[str, ...] = ("Ant-v3",)
    """EnvPool's ids of bodies, in order"""
    vary: tuple[str, ...] = ("friction=0.02..2",)
    """factors that differ between tasks, as in `mujoco`; the ant's own friction is 1, so that factors are coefficients"""
    told: bool = False
    tasks: Annotated[int, Interval("[1, 10_000]")] = 10
    """number of tasks"""
    frames: Annotated[int, Interval("[1, inf)")] = 2_000_000
    """agent steps per visit and member"""
    random_scores: tuple[float, ...] = (-78.2,)
    """mean return of an episode under uniformly random actions: the 1,982 episodes in 1,500 steps of the first task's pool, of run seed 0,
    seeds `np.arange(400).reshape(100, 4)`, stepped with `np.random.default_rng(0).uniform(-1, 1, (400, 8))`; standard error 2.5"""


@cache
def _packaged(env_id: str) -> bytes:
    """The file of the body of an id. Raises UsageError if it has none."""
    import envpool

    config: Any = envpool.make_spec(env_id).config
    found = bodies.packaged(config.base_path, config.xml_file) if hasattr(config, "xml_file") else None
    if found is None:
        raise UsageError(f"mujoco: {env_id} is no body of Gym-MuJoCo; use Ant-v4, HalfCheetah-v4, Hopper-v4, Walker2d-v4 or the like")
    return found


@cache
def _motors(env_id: str) -> int:
    return bodies.motors(_packaged(env_id))
