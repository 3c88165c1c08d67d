"""Sequences of environments that are named by the ids of a library. Imports no torch, and the library only when a space is asked for."""

import hashlib
import json
import tomllib
from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from envs.reinforcement.backends.layouts import Spaces
from envs.reinforcement.backends.pool import Autoreset, Backend, Opening, Pool, RawStep
from envs.reinforcement.backends.spaces import Box, Discrete, Space
from envs.reinforcement.base import Heads
from envs.reinforcement.shifts import Shifts
from envs.sequences import Visit, sequence
from plasticity_rl import registry
from plasticity_rl.checks import Interval, UsageError, check


@dataclass(frozen=True, kw_only=True)
class Ids(Shifts):
    """Environments in sequence, each task one of `ids`. Raises UsageError for what does not exist or cannot be used."""

    ids: tuple[str, ...] = ("CartPole-v1",)
    """ids of the library, in order"""
    kwargs: tuple[str, ...] = ()
    """arguments of the constructors, `name=value` joined by `;`, values as in TOML: for every id the same, or one entry for each id. A
    file of TOML may hold tables [[kwargs]] instead, which are entries in JSON"""
    tasks: Annotated[int, Interval("[0, 10_000]")] = 0
    """number of tasks, which have the ids in turn; 0: one for each id. More need shifts"""
    frames: Annotated[int, Interval("[1, inf)")] = 50_000
    """agent steps per visit and member; the default is our choice"""
    cycles: Annotated[int, Interval("[1, 10_000]")] = 1
    """number of passes through the list of tasks"""
    heads: Heads = "shared"
    """one output head shared by all tasks, or one per task, whose identifier the agent is then given"""
    pad: bool = False
    """whether tasks may differ in the length of vectors, which are then filled up with zeros, and in the number of discrete actions: agents
    choose among a task's own alone"""
    random_scores: tuple[float, ...] = ()
    """mean return of an episode under random actions in each of `ids`, from which reports measure ratios; none: unknown, and they measure
    from 0"""

    stack: ClassVar[int] = 1
    life_loss: ClassVar[bool] = False
    supervision: ClassVar[str] = "rewards"
    unit: ClassVar[str] = "frames"
    scores_hold_for: ClassVar[tuple[str, ...]] = ("ids", "kwargs")
    """fields that a class's own `random_scores` hold for"""

    @abstractmethod
    def spaces(self, index: int) -> Spaces:
        """Spaces of one of `ids`. Raises UsageError if they cannot be used."""

    @abstractmethod
    def backend(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None) -> Backend:
        """Environments of the visit's task, one for each of `seeds` (members, environments), without shifts and padding."""

    @property
    def varies(self) -> bool:
        """True if two tasks of one id differ."""
        return bool(self.shifts)

    def __post_init__(self) -> None:
        check(self)
        name = registry.name(self)
        if not self.ids:
            raise UsageError(f"{name}: ids must name at least one environment")
        if len(self.kwargs) > 1 and len(self.kwargs) != len(self.ids):
            raise UsageError(f"{name}: kwargs must have one entry, or one for each of {len(self.ids)} ids, not {len(self.kwargs)}")
        if self.random_scores and len(self.random_scores) != len(self.ids):
            raise UsageError(f"{name}: random_scores must be one for each of {len(self.ids)} ids, not {len(self.random_scores)}")
        for index, each in enumerate(self.ids):
            if (each, self.arguments(index)) in [(self.ids[other], self.arguments(other)) for other in range(index)]:
                raise UsageError(f"{name}: {each} stands twice in ids with the same kwargs; use cycles to repeat tasks")
        if 0 < self.tasks < len(self.ids):
            raise UsageError(f"{name}: tasks must be at least {len(self.ids)}, the number of ids, not {self.tasks}")
        if self.tasks > len(self.ids) and not self.varies:
            raise UsageError(f"{name}: {self.tasks} tasks of {len(self.ids)} ids need shifts, such as shifts=offset; cycles repeats tasks")
        if not self.told and self.heads == "per-task":
            raise UsageError(f"{name}: heads=per-task tells the learner its task: it needs told=true")
        self._check_spaces(name)
        space: Box = self.observation_space
        if set(self.shifts) - {"relabel"} and (len(space.shape) > 1 or space.dtype != "float32"):
            shape = " x ".join(map(str, space.shape))
            raise UsageError(f"{name}: observations of {shape} ({space.dtype}) do not shift, float32 vectors do; relabel shifts actions")
        if self.gradual and not self.varies:
            raise UsageError(f"{name}: gradual={self.gradual} needs shifts, such as shifts=offset")
        if self.shifts:
            self.check_shifts(len(self.names), self.inputs[0], self.action_space.size, self.heads)

    def _check_spaces(self, name: str) -> None:
        first, unlike = self.spaces(0), [index for index in range(len(self.ids)) if self.spaces(index) != self.spaces(0)]
        for index in unlike:
            other = self.spaces(index)
            what = f"{self.ids[index]} has {_text(other)}, {self.ids[0]} {_text(first)}"
            if first.actions != other.actions and Box in {type(first.actions), type(other.actions)}:
                raise UsageError(f"{name}: {what}; tasks of continuous actions must have the same number of them, all tasks one kind")
            if not self.pad:
                raise UsageError(f"{name}: {what}; pad=true fills up vectors, and leaves each task its own actions")
            if {len(first.observations.shape), len(other.observations.shape)} != {
                1
            } or first.observations.dtype != other.observations.dtype:
                raise UsageError(f"{name}: {what}; only vectors of one kind of number can be padded: wrap one of them")

    @property
    def names(self) -> tuple[str, ...]:
        """Task names in order: an id, and the task's number where an id stands for several tasks."""
        count = self.tasks or len(self.ids)
        several = count > len(self.ids) or len(set(self.ids)) < len(self.ids)
        return tuple(f"{self.ids[task % len(self.ids)]}{f'-{task}' if several else ''}" for task in range(count))

    def visits(self) -> tuple[Visit, ...]:
        """The tasks in order, `cycles` times."""
        return sequence(self.names, self.frames, self.cycles, self.told)

    @property
    def tasks_alike(self) -> bool:
        """True if tasks are one environment under other names of features and actions."""
        return len(self.ids) == 1 and super().tasks_alike

    @property
    def observation_space(self) -> Box:
        """Space of an observation."""
        every = [self.spaces(index).observations for index in range(len(self.ids))]
        return every[0] if len(every[0].shape) > 1 else max(every, key=lambda space: space.shape)

    @property
    def action_space(self) -> Space:
        """Space of an action; of discrete ones, with the most of any task."""
        return max((self.spaces(index).actions for index in range(len(self.ids))), key=lambda space: space.size)

    @property
    def num_actions(self) -> tuple[int, ...]:
        """Number of actions in each of `names`, the first ones of `action_space`; empty if all have the same."""
        counts = [self.spaces(index).actions.size for index in range(len(self.ids))]
        return tuple(counts[task % len(counts)] for task in range(len(self.names))) if len(set(counts)) > 1 else ()

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of one observation."""
        return self.observation_space.shape

    def references(self) -> dict[str, dict[str, float]]:
        """task -> {"random": score}. Without `random_scores`, or with a class's own for other environments, empty entries if all tasks are
        of one id and share its scale.
        """
        usual = {name: field.default for name, field in type(self).__dataclass_fields__.items()}
        foreign = self.random_scores == usual["random_scores"] and any(getattr(self, name) != usual[name] for name in self.scores_hold_for)
        if not self.random_scores or foreign:
            return {name: {} for name in self.names} if len(self.ids) == 1 else {}
        return {name: {"random": self.random_scores[task % len(self.ids)]} for task, name in enumerate(self.names)}

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: hash of the fields, and of every member's shifts."""
        digest = hashlib.sha256(json.dumps([registry.name(self), asdict(self), seed, members, *self.num_actions], sort_keys=True).encode())
        digest.update(self.drawn_bytes(seed, members, len(self.names), self.inputs[0], self.action_space.size))
        return digest.hexdigest()[:16]

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None = None) -> Pool:
        """Environments of the visit's task, one for each of `seeds`, (members, environments) integers, in member-major order. The run's
        `seed` decides the shifts of each member.
        """
        backend = self.fitted(self.backend(visit, seeds, threads, seed, opening))
        return Pool(self.shifted(backend, visit, seeds, seed, opening, actions=self.action_space.size))

    def fitted(self, backend: Backend) -> Backend:
        """The backend with the observation space of all tasks; pictures keep theirs."""
        space = backend.observation_space
        return Padded(backend, self.observation_space) if len(space.shape) == 1 and space != self.observation_space else backend

    def render_pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> Pool | None:
        """None, unless a library renders its environments."""

    def arguments(self, index: int) -> dict[str, Any]:
        """Arguments of the constructor of one of `ids`."""
        return parsed(registry.name(self), self.options(index))

    def options(self, index: int) -> str:
        """The entry of `kwargs` for one of `ids`."""
        return self.kwargs[index if len(self.kwargs) > 1 else 0] if self.kwargs else ""


class Padded:
    """A backend of vectors, filled up with zeros to a larger space."""

    def __init__(self, backend: Backend, observation_space: Box) -> None:
        self._backend = backend
        self._missing = observation_space.shape[0] - backend.observation_space.shape[0]
        self.num_envs, self.observation_space = backend.num_envs, observation_space
        self.action_space: Space = backend.action_space
        self.autoreset: Autoreset = backend.autoreset

    def reset(self) -> RawStep:
        return self._padded(self._backend.reset())

    def send(self, actions: np.ndarray) -> None:
        self._backend.send(actions)

    def recv(self) -> RawStep:
        return self._padded(self._backend.recv())

    def _padded(self, raw: RawStep) -> RawStep:
        return raw._replace(observations=np.pad(raw.observations, ((0, 0), (0, self._missing))))


def parsed(where: str, text: str) -> dict[str, Any]:
    """Settings of `name=value;name=value`, whose values are TOML's or else texts; or of an object in JSON."""
    if text.startswith("{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(f"{where}: {text!r} in kwargs is neither of the form name=value nor an object in JSON") from error
    found: dict[str, Any] = {}
    for setting in filter(None, text.split(";")):
        name, equals, value = setting.partition("=")
        if not equals or not name.strip().isidentifier():
            raise UsageError(f"{where}: {setting!r} in kwargs is not of the form name=value")
        try:
            found[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name.strip()] = value.strip()
    return found


def _text(spaces: Spaces) -> str:
    shape = " x ".join(map(str, spaces.observations.shape))
    kind = "" if isinstance(spaces.actions, Discrete) else "continuous "
    return f"observations of {shape} ({spaces.observations.dtype}) and {spaces.actions.size} {kind}actions"
