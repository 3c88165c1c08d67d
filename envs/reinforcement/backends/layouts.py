"""Spaces of a library, and what becomes of them here. Imports no torch.

Observations are vectors, or images with channels first. Actions are one of n, or vectors in [-1, 1].
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from envs.reinforcement.backends.spaces import Box, Discrete, Dtype, Space
from plasticity_rl.checks import UsageError

MOST_ACTIONS = 4096  # of several discrete actions taken at once, as one


class Spaces(NamedTuple):
    """Observation and action space of an environment, after this project's changes to both."""

    observations: Box
    actions: Space


def layout(shape: tuple[int, ...], dtype: np.dtype, stacked: int = 1) -> tuple[Box, Callable[[np.ndarray], np.ndarray]]:
    """Space of what becomes of a library's arrays of that shape, and the function that turns (N, *shape) into it, or with several `stacked`
    (N, stacked, *shape).

    Three axes are an image, (channels, height, width) afterwards: the last is the channels unless the first is shorter. Two axes of uint8
    are one without channels. All else becomes a vector.
    """
    kind: Dtype = "uint8" if dtype == np.uint8 else "float32"
    if len(shape) == 3 or (len(shape) == 2 and kind == "uint8"):
        height, width, channels = (*shape, 1) if len(shape) == 2 else shape if shape[-1] <= shape[0] else (*shape[1:], shape[0])
        last = len(shape) == 3 and shape[-1] <= shape[0]

        def image(arrays: np.ndarray) -> np.ndarray:
            arrays = np.moveaxis(arrays, -1, -3) if last else arrays
            return np.ascontiguousarray(arrays.reshape(len(arrays), stacked * channels, height, width), kind)

        return Box((stacked * channels, height, width), kind), image
    size = stacked * int(np.prod(shape))
    return Box((size,), kind), lambda arrays: np.ascontiguousarray(arrays.reshape(len(arrays), size), kind)


def flat_size(space: Any, where: str) -> int:
    """Length of the vector that an observation of a Gymnasium space becomes. Raises UsageError if it becomes none."""
    kind = type(space).__name__
    if kind in ("Dict", "Tuple"):
        return sum(flat_size(each, where) for each in (space.spaces.values() if isinstance(space.spaces, Mapping) else space.spaces))
    if kind == "Discrete":
        return int(space.n)
    if kind in ("Box", "MultiBinary"):
        return int(np.prod(space.shape))
    if kind == "MultiDiscrete":
        return int(np.sum(space.nvec))
    raise UsageError(
        f"{where} observes {space}, which is no vector: wrap it in gymnasium.wrappers.TransformObservation so that it is a Box"
    )


WRAP = "wrap it in gymnasium.wrappers.TransformAction"


def usable_actions(space: Any, where: str, advice: str = WRAP) -> tuple[Space, Callable[[np.ndarray], np.ndarray]]:
    """Our space for a Gymnasium space of actions, and the function that turns actions of ours, (N,) or (N, d), into the library's.

    Discrete and MultiDiscrete become one Discrete. A Box of d components becomes Box((d,), low=-1, high=1), of which each component is
    scaled linearly to its own bounds. Raises UsageError for other spaces, which gives the `advice`.
    """
    kind = type(space).__name__
    if kind == "Discrete":
        return Discrete(int(space.n)), lambda actions: (actions + space.start).astype(space.dtype)
    if kind == "MultiDiscrete":
        sizes = tuple(int(size) for size in np.ravel(space.nvec))
        if (count := int(np.prod(sizes, dtype=float))) > MOST_ACTIONS:
            raise UsageError(
                f"{where} takes {space}, {count:,} combinations of actions, and {MOST_ACTIONS:,} are the most: wrap it to take fewer"
            )

        def parts(actions: np.ndarray) -> np.ndarray:
            each = np.stack(np.unravel_index(actions, sizes), axis=-1).reshape(len(actions), *space.shape)
            return (each + space.start).astype(space.dtype)

        return Discrete(count), parts
    if kind == "Box" and space.dtype.kind == "f":
        return _scaled(space, where, advice)
    raise UsageError(f"{where} takes {space}, and agents here choose one of n actions or a vector of floats: {advice}")


def _scaled(space: Any, where: str, advice: str) -> tuple[Box, Callable[[np.ndarray], np.ndarray]]:
    low, high = np.float64(space.low), np.float64(space.high)
    if max(np.abs(low).max(), np.abs(high).max()) > np.finfo(np.float32).max:
        raise UsageError(f"{where} takes {space}, and agents here choose actions within bounds: {advice}")

    def scale(actions: np.ndarray) -> np.ndarray:
        within = low + (np.float64(actions).reshape(-1, *space.shape) + 1) / 2 * (high - low)
        return np.clip(within, low, high).astype(space.dtype)  # rounding may leave the bounds

    return Box((low.size,), low=-1.0, high=1.0), scale
