"""Environments of Gymnasium, made, wrapped and stepped together. Imports Gymnasium."""

import inspect
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FlattenObservation, FrameStackObservation

from envs.reinforcement.backends.layouts import Spaces, flat_size, layout, usable_actions
from envs.reinforcement.backends.pool import Autoreset, Ramp, RawStep, checked_seeds
from envs.reinforcement.backends.spaces import Box, Space
from plasticity_rl import plugins
from plasticity_rl.checks import UsageError, nearest


class GymnasiumBackend:
    """Environments of one id in `gymnasium.vector`, each from its function in `makes`, in this thread or in processes."""

    def __init__(
        self, env_id: str, makes: Sequence[Callable[[], Any]], seeds: np.ndarray, stacked: int, processes: bool, renders: bool
    ) -> None:
        self._id, self._seeds, self._renders = env_id, checked_seeds(seeds), renders
        self.num_envs = len(makes)
        mode = AutoresetMode.NEXT_STEP
        # A fork of this process would inherit the threads' locks of torch and EnvPool, but not the threads.
        self._envs: Any = (
            AsyncVectorEnv(makes, autoreset_mode=mode, context="forkserver") if processes else SyncVectorEnv(makes, autoreset_mode=mode)
        )
        self.autoreset: Autoreset = self._envs.metadata["autoreset_mode"].value
        self.action_space: Space
        self.action_space, self._translate = usable_actions(self._envs.single_action_space, env_id)
        shown = self._envs.single_observation_space
        self.observation_space, self._arrange = layout(shown.shape[1:] if stacked > 1 else shown.shape, shown.dtype, stacked)
        if renders:
            self._envs.reset(seed=self._seeds)
            try:
                self.observation_space = Box(self._pictures().shape[1:], "uint8")
            except gymnasium.error.DependencyNotInstalled as error:
                raise UsageError(f"pictures of {env_id} need a package: {error}") from error

    def reset(self) -> RawStep:
        observations, _ = self._envs.reset(seed=self._seeds)
        nothing = np.zeros(self.num_envs, bool)
        return self._raw(observations, nothing, nothing, nothing)

    def send(self, actions: np.ndarray) -> None:
        self._actions = self._translate(actions)
        if isinstance(self._envs, AsyncVectorEnv):
            self._envs.step_async(self._actions)

    def recv(self) -> RawStep:
        step = self._envs.step_wait() if isinstance(self._envs, AsyncVectorEnv) else self._envs.step(self._actions)
        return self._raw(*step[:4])

    def _raw(self, observations: np.ndarray, rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray) -> RawStep:
        shown = self._pictures() if self._renders else self._arrange(observations)
        return RawStep(shown, rewards.astype(np.float32), terminated.copy(), truncated.copy(), np.zeros(self.num_envs, np.int32))

    def _pictures(self) -> np.ndarray:
        return np.stack(self._envs.render())


class Setting(gymnasium.Wrapper):
    """Sets attributes of the unwrapped environment, from `before` to `now` as the ramp says; at every reset, which may overwrite them."""

    def __init__(self, env: Any, before: dict[str, float], now: dict[str, float], ramp: Ramp | None) -> None:
        super().__init__(env)
        self._before, self._now, self._ramp, self._steps = before, now, ramp, -1
        self._set()

    def reset(self, **given: Any) -> Any:
        self._steps += 1
        self._set()
        found = self.env.reset(**given)
        self._set()
        return found

    def step(self, action: Any) -> Any:
        self._steps += 1
        if self._ramp:
            self._set()
        return self.env.step(action)

    def _set(self) -> None:
        share = self._ramp.share(max(self._steps, 0)) if self._ramp else 1.0
        for name, value in self._now.items():
            owner, _, last = name.rpartition(".")
            target = attrgetter(owner)(self.unwrapped) if owner else self.unwrapped
            setattr(target, last, (1 - share) * self._before[name] + share * value if share < 1 else value)


def make_own(
    modules: tuple[str, ...],
    env_id: str,
    arguments: dict[str, Any],
    stacked: int,
    renders: bool,
    before: dict[str, float],
    now: dict[str, float],
    ramp: Ramp | None,
) -> Any:
    """An environment as the backend steps it, made in any process. `modules`: the allowed plugins."""
    plugins.allow(modules)
    env = _make(env_id, arguments, "rgb_array" if renders else None)
    return _wrapped(Setting(env, before, now, ramp) if now else env, stacked, env_id)


def spaces(env_id: str, arguments: dict[str, Any], stacked: int, attributes: Sequence[str]) -> Spaces:
    """Spaces of an environment as the backend has them. Raises UsageError if they, or the attributes, cannot be used."""
    env = _make(env_id, arguments, None)
    try:
        actions, _ = usable_actions(env.action_space, env_id)
        for name in attributes:
            _check_attribute(env.unwrapped, name, env_id)
        shown = _wrapped(env, 1, env_id).observation_space
        return Spaces(layout(shown.shape, shown.dtype, stacked)[0], actions)
    finally:
        env.close()


def renders(env_id: str, arguments: dict[str, Any]) -> bool:
    """True if an environment has pictures to give."""
    return "rgb_array" in (_make(env_id, arguments, None).metadata.get("render_modes") or ())


def own_source(env_id: str, arguments: dict[str, Any]) -> bytes:
    """Source of the module of a plugin's environment; empty for others."""
    made = type(_make(env_id, arguments, None).unwrapped)
    return Path(inspect.getfile(made)).read_bytes() if plugins.is_own(f"{made.__module__}.{made.__name__}") else b""


def _make(env_id: str, arguments: dict[str, Any], render_mode: str | None) -> Any:
    if ":" in env_id:  # Gymnasium would import the module before it, and a description of a run never decides what is imported
        raise UsageError(f"gymnasium: the id {env_id!r} must not name a module; --plugin imports the module that registers it")
    given: dict[str, Any] = arguments if render_mode is None else arguments | {"render_mode": render_mode}
    make: Callable[..., Any] = gymnasium.make
    try:
        return make(env_id, disable_env_checker=True, **given)
    except gymnasium.error.UnregisteredEnv as error:
        near = nearest(env_id, gymnasium.registry, "--plugin MODULE imports a module that registers ids of your own")
        raise UsageError(f"gymnasium: unknown id {env_id!r}; {near}") from error
    except Exception as error:  # a user's constructor may fail in any way
        raise UsageError(f"gymnasium: {env_id} cannot be made: {type(error).__name__}: {' '.join(str(error).split())}") from error


def _wrapped(env: Any, stacked: int, env_id: str) -> Any:
    flat_size(env.observation_space, env_id)  # refuses what cannot be flattened
    if not isinstance(env.observation_space, gymnasium.spaces.Box):
        env = FlattenObservation(env)
    return env if stacked == 1 else FrameStackObservation(env, stacked)


def _check_attribute(env: Any, name: str, env_id: str) -> None:
    owner, _, last = name.rpartition(".")
    try:
        target = attrgetter(owner)(env) if owner else env
        found = getattr(target, last)
    except AttributeError:
        known = [each for each, value in vars(env).items() if isinstance(value, int | float) and not each.startswith("_")]
        raise UsageError(f"gymnasium: {env_id} has no attribute {name!r} to set; {nearest(name, known)}") from None
    if isinstance(found, bool) or not isinstance(found, int | float | np.number):
        raise UsageError(f"gymnasium: the attribute {name} of {env_id} is no number, but {type(found).__name__}")
