"""Shifts of vector benchmarks: how observations and actions change from task to task. Imports no torch."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple, get_args

import numpy as np

from envs.reinforcement.backends.pool import Autoreset, Backend, Opening, Ramp, RawStep
from envs.reinforcement.backends.spaces import Space
from envs.sequences import Visit
from plasticity_rl.checks import Interval, UsageError
from plasticity_rl.seeds import derive

Word = Literal["offset", "permute", "relabel", "rescale", "noise"]
MAX_TASKS = 10_000  # of a member; a problem with fewer variants lists them all


class Variant(NamedTuple):
    """Order of features and actions in one task; of a continuous action's components."""

    features: tuple[int, ...]
    """the original's feature at each place"""
    actions: tuple[int, ...]
    """the original's action, or component of an action, for each of ours"""


class Shift(NamedTuple):
    """Change of F features and A actions, or components of an action, in one task; None changes nothing. With (N,) before each shape: of N
    environments.
    """

    features: np.ndarray | None = None
    """(F,) the original's feature at each place"""
    scale: np.ndarray | None = None
    """(F,) factors, in the new order"""
    offset: np.ndarray | None = None
    """(F,) added to the scaled features"""
    noise: np.ndarray | None = None
    """(F,) standard deviations of the noise in every observation"""
    actions: np.ndarray | None = None
    """(A,) the original's action, or its component of a continuous action, for each of ours"""


class Coming(NamedTuple):
    """Shifts of N environments, `before` turning into `now` by a `ramp`, if any."""

    now: Shift
    before: Shift | None = None
    ramp: Ramp | None = None


@dataclass(frozen=True, kw_only=True)
class Shifts(ABC):
    """Fields of a benchmark whose tasks shift observations or actions. Each member has its own shifts."""

    shifts: tuple[Word, ...] = ()
    """changes from task to task, none or several: `offset` (a Gaussian vector is added to observations), `rescale` (features are multiplied
    by log-normal factors), `noise` (Gaussian noise in every observation, of another size for each feature), `permute` (features change
    places), `relabel` (actions change names, components of a continuous one places); the first task has no offset,
    factor or noise"""
    offset_scale: Annotated[float, Interval("(0, inf)")] = 2.0
    """standard deviation of each component of an offset, in the feature's unit; 2 as in TRAC (Muppidi et al. 2024, arXiv 2405.16642)"""
    rescale_scale: Annotated[float, Interval("(0, inf)")] = 1.0
    """standard deviation of the logarithm of a factor; our choice"""
    noise_scale: Annotated[float, Interval("(0, inf)")] = 0.1
    """largest standard deviation of noise, in the feature's unit; each feature's is drawn uniformly between 0 and this; our choice"""
    gradual: Annotated[float, Interval("[0, 1]")] = 0.0
    """share of a visit over which the last task turns into the new one, observations by a weighted mean and actions by a growing
    probability; 0: at once"""
    told: bool = True
    """whether the learner is told of task changes. If not, nothing restarts at one: no schedule (`clock=visit` is then the run's), no
    exploration, no replay, no reward scale, and no method may refresh at tasks. Controls that start over are told"""

    frame_skip: ClassVar[int] = 1

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Task names in order."""

    @abstractmethod
    def visits(self) -> tuple[Visit, ...]:
        """The sequence of tasks."""

    @property
    def tasks_alike(self) -> bool:
        """True if features and actions change names and nothing else, at once and in every visit: the first task has no offset, factor or
        noise."""
        renamed = bool(self.shifts) and not set(self.shifts) - {"permute", "relabel"}
        return renamed and not self.gradual and all(visit.cycle == 0 for visit in self.visits())

    def check_shifts(self, tasks: int, features: int, actions: int, heads: str) -> None:
        """Raise UsageError for shifts that repeat or do not fit, or for more `tasks` than there are different ones."""
        name = type(self).__name__
        if len(set(self.shifts)) < len(self.shifts):
            raise UsageError(f"{name}: shifts must be distinct")
        for word in ("offset", "rescale", "noise"):
            scale, usual = getattr(self, f"{word}_scale"), type(self).__dataclass_fields__[f"{word}_scale"].default
            if scale != usual and word not in self.shifts:
                raise UsageError(f"{name}: {word}_scale={scale} changes nothing without shifts={'+'.join([*self.shifts, word])}")
        if self.gradual and not self.shifts:
            raise UsageError(f"{name}: gradual={self.gradual} needs shifts, one or several of {', '.join(get_args(Word))}")
        if not self.told and heads == "per-task":
            raise UsageError(f"{name}: heads=per-task tells the learner its task: it needs told=true")
        most = MAX_TASKS if set(self.shifts) - {"permute", "relabel"} else min(self._num_orders(features, actions), MAX_TASKS)
        if not 1 <= tasks <= most:
            raise UsageError(f"{name}: tasks must lie in [1, {most}], not {tasks}{'' if most > 1 else ': without shifts all are the same'}")

    def drawn(self, seed: int, member: int, tasks: int, features: int, actions: int) -> list[Shift]:
        """Shifts of a member's features and actions, one for each task. A shift does not depend on the number of tasks."""
        orders: list[dict[str, np.ndarray]] = [{}]
        if {"permute", "relabel"} & set(self.shifts):
            sizes = self._reordered(features, actions)
            chosen = variants(seed, member, min(tasks, _num_variants(*sizes)), *sizes)
            orders = [{name: np.array(order) for name, order in each._asdict().items() if len(order) > 1} for each in chosen]
        return [
            Shift(**orders[task % len(orders)], **self._numbers(seed, member, task, features))  # all orders seen, they come again
            for task in range(tasks)
        ]

    def _numbers(self, seed: int, member: int, task: int, features: int) -> dict[str, np.ndarray]:
        """Scale, offset and noise of a task, (features,) float32 each."""

        def random(name: str) -> np.random.Generator:
            return np.random.default_rng(derive(seed, member, name, task))

        made: dict[str, np.ndarray] = {}
        if "rescale" in self.shifts:
            made["scale"] = np.exp(random("rescale").normal(0, self.rescale_scale, features) * (task > 0))
        if "offset" in self.shifts:
            made["offset"] = random("offset").normal(0, self.offset_scale, features) * (task > 0)
        if "noise" in self.shifts:
            made["noise"] = random("observation noise").uniform(0, self.noise_scale, features) * (task > 0)
        return {name: values.astype(np.float32) for name, values in made.items()}

    def drawn_bytes(self, seed: int, members: int, tasks: int, features: int, actions: int) -> bytes:
        """All shifts of a run, for its fingerprint."""
        made = [shift for member in range(members) for shift in self.drawn(seed, member, tasks, features, actions)]
        return b"".join(part.tobytes() for shift in made for part in shift if part is not None)

    def shifted(
        self,
        backend: Backend,
        visit: Visit,
        seeds: np.ndarray,
        seed: int,
        opening: Opening | None,
        shows: int | None = None,
        actions: int | None = None,
    ) -> Backend:
        """The backend's environments, one for each of `seeds` (members, environments), in the task of the visit; without an `opening`, as
        the task is once it has changed. `shows`: number of features, if the backend has pictures in their place, which stay as they are.
        `actions`: the most of a task, if this one may have fewer, which then change names among themselves.
        """
        if not self.shifts:
            return backend
        own = backend.action_space.size
        features = shows or backend.observation_space.shape[0]
        now, before, ramp = self.shift_of(visit, seeds.shape, seed, opening, features, actions or own)

        def fitted(shift: Shift) -> Shift:
            names = None if shift.actions is None else np.stack([row[row < own] for row in shift.actions])
            return Shift(actions=names) if shows else shift._replace(actions=names)

        return Shifted(backend, fitted(now), seeds.reshape(-1), before and fitted(before), ramp and ramp.share)

    def shift_of(self, visit: Visit, shape: tuple[int, ...], seed: int, opening: Opening | None, features: int, actions: int) -> Coming:
        """Shifts of the environments (members, environments) in the task of the visit, in member-major order."""
        members, num_envs = shape
        drawn = [self.drawn(seed, member, len(self.names), features, actions) for member in range(members)]

        def of(task: str) -> Shift:
            parts = zip(*(shifts[self.names.index(task)] for shifts in drawn), strict=True)
            return Shift(*(None if part[0] is None else np.repeat(np.stack(part), num_envs, axis=0) for part in parts))

        coming = self.ramp(visit, opening)
        return Coming(of(visit.task)) if coming is None else Coming(of(visit.task), of(coming[0]), coming[1])

    def ramp(self, visit: Visit, opening: Opening | None) -> tuple[str, Ramp] | None:
        """The task that turns into the visit's in a pool with that opening, and how; None where the visit's is there from the start."""
        if opening is None or visit.index == 0 or not self.gradual:
            return None
        visits = self.visits()
        began = sum(each.budget for each in visits[: visit.index]) // self.frame_skip
        length = self.gradual * visit.budget / self.frame_skip
        return visits[visit.index - 1].task, Ramp(opening.step - began, opening.stride, length)

    def _reordered(self, features: int, actions: int) -> tuple[int, int]:
        """Features and actions that change places; 1 for those that do not."""
        return features if "permute" in self.shifts else 1, actions if "relabel" in self.shifts else 1

    def _num_orders(self, features: int, actions: int) -> int:
        return _num_variants(*self._reordered(features, actions))


class Shifted:
    """A backend whose features and actions a shift changes, (N, ...) of each of its parts.

    While `share`, a function of the steps made so far, is below 1, observations are (1 - share) times what the shift `before` makes of them
    plus share times what this one does, and an action has the new meaning with probability `share`.
    """

    def __init__(
        self, backend: Backend, shift: Shift, seeds: np.ndarray, before: Shift | None = None, share: Callable[[int], float] | None = None
    ) -> None:
        self._backend, self._shift, self._before, self._share, self._steps = backend, shift, before, share, 0
        self.num_envs, self.observation_space = backend.num_envs, backend.observation_space
        self.action_space: Space = backend.action_space
        self.autoreset: Autoreset = backend.autoreset
        self._noise = [np.random.default_rng(derive(int(each), "observation noise")) for each in seeds]
        self._labels = [np.random.default_rng(derive(int(each), "new labels")) for each in seeds]
        space = backend.observation_space
        assert all(part is None for part in shift[:4]) or (space.dtype == "float32" and len(space.shape) == 1), space

    def reset(self) -> RawStep:
        self._steps = 0
        return self._shifted(self._backend.reset())

    def send(self, actions: np.ndarray) -> None:
        meant = _renamed(self._shift, actions)
        if self._before and self._shift.actions is not None and (share := self._now) < 1:
            new = np.array([generator.random() for generator in self._labels]) < share
            meant = np.where(new.reshape(-1, *[1] * (actions.ndim - 1)), meant, _renamed(self._before, actions))
        self._backend.send(meant.astype(actions.dtype))

    def recv(self) -> RawStep:
        self._steps += 1
        return self._shifted(self._backend.recv())

    @property
    def _now(self) -> float:
        """Share of the new task in the current step."""
        return self._share(self._steps) if self._share else 1.0

    def _shifted(self, raw: RawStep) -> RawStep:
        width = self.observation_space.shape[0]
        normal = None
        if self._shift.noise is not None:
            normal = np.stack([generator.standard_normal(width, np.float32) for generator in self._noise])
        observations, share = _changed(self._shift, raw.observations, normal), self._now
        if self._before and share < 1:
            old = _changed(self._before, raw.observations, normal)
            observations = (np.float32(1 - share) * old + np.float32(share) * observations).astype(np.float32)
        return raw._replace(observations=observations)


def variants(seed: int, member: int, tasks: int, features: int, actions: int) -> list[Variant]:
    """The first `tasks` variants of a member, all different.

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


def _changed(shift: Shift, observations: np.ndarray, normal: np.ndarray | None) -> np.ndarray:
    """Observations (N, F) as a shift shows them, with `normal` numbers (N, F) for its noise."""
    if shift.features is not None:
        observations = np.take_along_axis(observations, shift.features, axis=1)
    if shift.scale is not None:
        observations = observations * shift.scale
    if shift.offset is not None:
        observations = observations + shift.offset
    return observations if shift.noise is None else observations + shift.noise * normal


def _renamed(shift: Shift, actions: np.ndarray) -> np.ndarray:
    """The original's action for each of `actions`: (N,) numbers of one, or vectors (N, A), whose components change places."""
    if shift.actions is None:
        return actions
    if actions.ndim == 1:
        return shift.actions[np.arange(len(actions)), actions]
    meant = np.empty_like(actions)
    np.put_along_axis(meant, shift.actions, actions, axis=1)
    return meant


def _num_variants(features: int, actions: int) -> int:
    return math.factorial(features) * math.factorial(actions)
