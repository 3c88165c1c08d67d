"""Observations for a check: from a file, from an environment, or those that the checkpoint brings."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from launch.check.subject import Subject
from plasticity_rl.checks import UsageError, nearest

SPREAD = 4
"""steps played for each observation that is kept: successive ones are alike"""
ENVIRONMENTS = 4
"""of EnvPool, side by side"""
Play = Literal["random", "own"]


class Inputs(NamedTuple):
    observations: np.ndarray
    targets: np.ndarray | None
    """the person's own targets, in the order of the observations"""
    told: str
    """where they come from"""


def from_file(path: Path, samples: int) -> Inputs:
    """Array `x` of an .npz file, and its array `y` of targets if there is one; of more than `samples` rows, evenly spaced ones."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise UsageError(f"{path} holds one array without a name: np.savez(path, x=observations)")
            if "x" not in file.files:
                raise UsageError(f"{path} has no array x: np.savez(path, x=observations)")
            x, y = file["x"], file["y"] if "y" in file.files else None
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if x.ndim == 0 or x.dtype.kind not in "fiub":
        raise UsageError(f"{path}: x must be numbers (examples, ...), not {x.dtype} of shape {x.shape}")
    if y is not None and (len(y) != len(x) or y.dtype.kind not in "fiu" or (y.dtype.kind in "iu" and (y.ndim != 1 or y.min() < 0))):
        raise UsageError(f"{path}: y must be numbers for each of the {len(x)} x, or classes from 0, not {y.dtype} of shape {y.shape}")
    rows = np.linspace(0, len(x) - 1, min(samples, len(x))).round().astype(int)
    return Inputs(x[rows], None if y is None else y[rows], f"{len(rows)} of {len(x)} rows of {path.name}")


def collect(name: str, samples: int, subject: Subject, play: Play, seed: int) -> Inputs:
    """Play an environment of Gymnasium or EnvPool by random or the policy's own actions, and keep every fourth observation."""
    if play == "own" and subject.act is None:
        raise UsageError("the checkpoint has no policy that could play: --play random, or --inputs")
    pool, space = _made(name, seed)
    draw = np.random.default_rng(seed)
    found, have = [], 0
    observations = _observed(pool.reset(seed))
    while have < samples * SPREAD:
        found.append(observations)
        have += len(observations)
        if play == "own":
            assert subject.act is not None
            actions = _within(space, subject.act(observations), subject.squashed)
        else:
            actions = np.stack([space.sample() for _ in observations])
        observations = _observed(pool.step(actions))
    pool.close()
    kept = np.concatenate(found)
    rows = np.sort(draw.permutation(len(kept))[:samples])
    return Inputs(kept[rows], None, f"{samples} observations of {name}, {'by its own policy' if play == 'own' else 'by random actions'}")


class _Gymnasium:
    """One environment of Gymnasium, as a pool of one."""

    def __init__(self, env: Any) -> None:
        self._env = env

    def reset(self, seed: int) -> np.ndarray:
        return self._env.reset(seed=seed)[0][None]

    def step(self, actions: np.ndarray) -> np.ndarray:
        observation, _, terminated, truncated, _ = self._env.step(actions[0])
        return (self._env.reset()[0] if terminated or truncated else observation)[None]

    def close(self) -> None:
        self._env.close()


class _EnvPool:
    """Environments of EnvPool, which begin their next episodes themselves."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def reset(self, seed: int) -> np.ndarray:
        return self._pool.reset()[0]

    def step(self, actions: np.ndarray) -> np.ndarray:
        return self._pool.step(actions)[0]

    def close(self) -> None:
        self._pool.close()


def _made(name: str, seed: int) -> tuple[Any, Any]:
    """A pool and its action space."""
    import gymnasium

    try:
        if name in gymnasium.registry:
            env = gymnasium.make(name)
            env.action_space.seed(seed)
            return _Gymnasium(env), env.action_space
    except Exception as error:  # a simulator may be missing or fail in any way
        raise _refusal(name, error) from error
    import envpool  # not in the extra `check`

    try:
        if name in envpool.list_all_envs():
            pool = envpool.make_gymnasium(name, num_envs=ENVIRONMENTS, seed=seed)
            pool.action_space.seed(seed)
            return _EnvPool(pool), pool.action_space
    except Exception as error:
        raise _refusal(name, error) from error
    known = [*gymnasium.registry, *envpool.list_all_envs()]
    raise UsageError(f"unknown environment {name!r}; {nearest(name, known, 'ids of Gymnasium or EnvPool')}")


def _refusal(name: str, error: Exception) -> UsageError:
    return UsageError(f"environment {name} cannot be made: {type(error).__name__}: {' '.join(str(error).split())}")


def _observed(found: Any) -> np.ndarray:
    if not isinstance(found, np.ndarray):
        raise UsageError(f"observations are {type(found).__name__}s, and only arrays can be checked")
    return found.copy()


def _within(space: Any, actions: np.ndarray, squashed: bool) -> np.ndarray:
    """Actions in the space's own range and type."""
    if not hasattr(space, "high"):
        return actions.astype(space.dtype)
    if squashed:
        actions = space.low + (actions.reshape(len(actions), *space.shape) + 1) / 2 * (space.high - space.low)
    return np.clip(actions.reshape(len(actions), *space.shape), space.low, space.high).astype(space.dtype)


def arguments(subject: Subject, inputs: Inputs) -> Any:
    """The network's inputs as a tensor."""
    return subject.prepare(inputs.observations)
