"""Sequences of EnvPool's environments, named by id. Imports no torch, and EnvPool only when a space is asked for."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from envs.reinforcement.backends.envpool import EnvPoolBackend
from envs.reinforcement.backends.layouts import Spaces, layout, usable_actions
from envs.reinforcement.backends.pool import Backend, Opening
from envs.reinforcement.backends.spaces import Box
from envs.reinforcement.ids import Ids, parsed
from envs.sequences import Visit
from plasticity_rl.checks import UsageError, choose, nearest

ONE_HOT = 1000  # most values of a discrete observation


@dataclass(frozen=True, kw_only=True)
class EnvPool(Ids):
    """Environments of EnvPool (Weng et al. 2022, arXiv 2206.10558), in sequence: MiniGrid, MuJoCo, DeepMind Control, Jumanji and others.

    Observations are vectors or images; of a Dict all parts, or those in `observe`, become one vector, bytes as they are and discrete ones
    as one-hot codes. Actions are discrete, or vectors in [-1, 1], scaled to the environment's bounds. `kwargs` are EnvPool's options of an
    id, such as `max_episode_steps=100`. Raises UsageError for what does not exist or cannot be used; Atari, Procgen and small control
    problems have words of their own.
    """

    ids: tuple[str, ...] = ("MiniGrid-Empty-5x5-v0",)
    """EnvPool's ids, in order"""
    observe: tuple[str, ...] = ()
    """parts of Dict observations to use, in order, of each environment those that it has; none: all"""

    def __post_init__(self) -> None:
        super().__post_init__()
        known = dict.fromkeys(part for index in range(len(self.ids)) for part in self._usable(index).parts)
        for name in self.observe:
            choose("part of the observations", name, known)

    def spaces(self, index: int) -> Spaces:
        """Spaces of one of `ids`. Raises UsageError if they cannot be used."""
        return self._usable(index).spaces

    def backend(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None) -> Backend:
        """Environments of the visit's task, one for each of `seeds` (members, environments), without shifts and padding."""
        return self.made(self.names.index(visit.task) % len(self.ids), seeds.reshape(-1), threads)

    def made(self, index: int, seeds: np.ndarray, threads: int, scored: str | None = None, **options: Any) -> EnvPoolBackend:
        """Environments of one of `ids`, one for each of `seeds` (N,), with further options of EnvPool; `scored` as in the backend."""
        usable = self._usable(index)
        settings = self.arguments(index) | options
        return EnvPoolBackend(self.ids[index], seeds, threads, usable.arrange, usable.spaces.observations, scored=scored, **settings)

    def _usable(self, index: int) -> "Usable":
        return _usable(self.ids[index], self.options(index), self.observe)


class Usable(NamedTuple):
    """How an environment is used."""

    spaces: Spaces
    arrange: Callable[[Any], np.ndarray]
    """makes observations of EnvPool's"""
    parts: tuple[str, ...] = ()
    """parts of EnvPool's observations, if they are a Dict"""


@cache
def _usable(env_id: str, kwargs: str, observe: tuple[str, ...]) -> Usable:
    """How an environment is used. Raises UsageError if it cannot be."""
    import envpool

    arguments = parsed("envpool", kwargs)
    known = envpool.list_all_envs()
    if env_id not in known:
        raise UsageError(f"envpool: unknown id {env_id!r}; {nearest(env_id, known, 'envpool.list_all_envs() lists them')}")
    try:
        spec: Any = envpool.make_spec(env_id, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"envpool: {env_id} cannot be made: {' '.join(str(error).split())}") from error
    for name in arguments:
        choose(f"option of {env_id}", name, spec.config._fields)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*precision lowered by casting", category=UserWarning)
        shown, taken = spec.gymnasium_observation_space, spec.gymnasium_action_space
    actions, _ = usable_actions(taken, f"envpool: {env_id}", "take another id")
    if type(shown).__name__ == "Dict":
        if observe and not set(observe) & set(shown.spaces):
            choose(f"part of the observations of {env_id}", observe[0], shown.spaces)
        own = {name: shown.spaces[name] for name in observe or shown.spaces if name in shown.spaces}
        size, arrange = _joined(own, env_id)
        return Usable(Spaces(Box((size,)), actions), arrange, tuple(shown.spaces))
    if observe:
        raise UsageError(f"envpool: observe names parts of a Dict, and {env_id} observes {shown}")
    if type(shown).__name__ == "Box":
        space, arrange = layout(shown.shape, shown.dtype)
        return Usable(Spaces(space, actions), arrange)
    size, arrange = _part(shown, env_id)
    return Usable(Spaces(Box((size,)), actions), arrange)


def _joined(spaces: Mapping[str, Any], where: str) -> tuple[int, Callable[[Any], np.ndarray]]:
    """Length of the vector that named parts of observations become, one after another, and the function that makes it."""
    parts = {name: _part(each, f"{where}: {name}") for name, each in spaces.items()}

    def join(observations: Mapping[str, Any]) -> np.ndarray:
        return np.concatenate([part(observations[name]) for name, (_, part) in parts.items()], axis=1)

    return sum(size for size, _ in parts.values()), join


def _part(space: Any, where: str) -> tuple[int, Callable[[Any], np.ndarray]]:
    """Length of the vector that a part of observations becomes, and the function that makes it, (N, ...) -> (N, length) float32."""
    kind = type(space).__name__
    if kind == "Dict":
        return _joined(space.spaces, where)
    if kind == "Discrete":
        if space.n > ONE_HOT:
            raise UsageError(f"{where} observes {space}, too many values for a one-hot code; observe=A+B names the parts to use")
        codes = np.eye(int(space.n), dtype=np.float32)
        return int(space.n), lambda values: codes[values.reshape(-1) - int(space.start)]
    if kind in ("Box", "MultiBinary"):
        size = int(np.prod(space.shape))
        return size, lambda values: values.reshape(len(values), size).astype(np.float32)
    raise UsageError(f"{where} observes {space}, which is no vector")
