"""Sequences of EnvPool's environments, named by id. Imports no torch, and EnvPool only when a space is asked for."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from envs.reinforcement.backends.envpool import EnvPoolBackend
from envs.reinforcement.backends.layouts import Spaces, layout, usable_actions
from envs.reinforcement.backends.pool import Backend, Opening
from envs.reinforcement.backends.spaces import Box, Discrete
from envs.reinforcement.ids import Ids, parsed
from envs.sequences import Visit
from plasticity_rl.checks import UsageError, choose, nearest

ONE_HOT = 1000  # most values of a discrete observation


@dataclass(frozen=True, kw_only=True)
class EnvPool(Ids):
    """Environments of EnvPool (Weng et al. 2022, arXiv 2206.10558) with discrete actions, in sequence: MiniGrid, Jumanji and others.

    Observations are vectors or images; of a Dict all parts, or those in `observe`, become one vector, bytes as they are and discrete ones
    as one-hot codes. `kwargs` are EnvPool's options of an id, such as `max_episode_steps=100`. Raises UsageError for what does not exist
    or cannot be used; Atari, Procgen and small control problems have words of their own.
    """

    ids: tuple[str, ...] = ("MiniGrid-Empty-5x5-v0",)
    """EnvPool's ids, in order"""
    observe: tuple[str, ...] = ()
    """parts of Dict observations to use, in order; none: all"""

    def spaces(self, index: int) -> Spaces:
        """Spaces of one of `ids`. Raises UsageError if they cannot be used."""
        space, _, actions = _usable(self.ids[index], self._text(index), self.observe)
        return Spaces(space, actions)

    def backend(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None) -> Backend:
        """Environments of the visit's task, one for each of `seeds` (members, environments), without shifts and padding."""
        index = self.names.index(visit.task) % len(self.ids)
        space, arrange, _ = _usable(self.ids[index], self._text(index), self.observe)
        return EnvPoolBackend(self.ids[index], seeds.reshape(-1), threads, arrange, space, **self.arguments(index))

    def _text(self, index: int) -> str:
        return self.kwargs[index if len(self.kwargs) > 1 else 0] if self.kwargs else ""


@cache
def _usable(env_id: str, kwargs: str, observe: tuple[str, ...]) -> tuple[Box, Callable[[Any], np.ndarray], Discrete]:
    """Space of what becomes of EnvPool's observations, the function that makes it, and the actions. Raises UsageError."""
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
    if type(taken).__name__ != "Discrete":
        raise UsageError(f"envpool: {env_id} takes {taken}, and agents here choose one of n actions: take an id with a Discrete space")
    actions, _ = usable_actions(taken, env_id)
    if type(shown).__name__ != "Dict":
        if observe:
            raise UsageError(f"envpool: observe names parts of a Dict, and {env_id} observes {shown}")
        if type(shown).__name__ == "Box":
            return *layout(shown.shape, shown.dtype), actions
        size, part = _part(shown, env_id)
        return Box((size,)), part, actions
    for name in observe:
        choose(f"part of the observations of {env_id}", name, shown.spaces)
    parts = {name: _part(shown.spaces[name], f"{env_id}: {name}") for name in observe or shown.spaces}

    def joined(observations: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([part(observations[name]) for name, (_, part) in parts.items()], axis=1)

    return Box((sum(size for size, _ in parts.values()),)), joined, actions


def _part(space: Any, where: str) -> tuple[int, Callable[[np.ndarray], np.ndarray]]:
    """Length of the vector that a part of observations becomes, and the function that makes it, (N, ...) -> (N, length) float32."""
    kind = type(space).__name__
    if kind == "Discrete":
        if space.n > ONE_HOT:
            raise UsageError(f"{where} observes {space}, too many values for a one-hot code; observe=A+B names the parts to use")
        codes = np.eye(int(space.n), dtype=np.float32)
        return int(space.n), lambda values: codes[values.reshape(-1) - int(space.start)]
    if kind in ("Box", "MultiBinary"):
        size = int(np.prod(space.shape))
        return size, lambda values: values.reshape(len(values), size).astype(np.float32)
    raise UsageError(f"{where} observes {space}, which is no vector")
