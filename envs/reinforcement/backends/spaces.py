"""Spaces of actions and observations, as values. Imports no torch."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Dtype = Literal["uint8", "float32"]


@dataclass(frozen=True)
class Discrete:
    """The actions 0 to n - 1."""

    n: int

    @property
    def size(self) -> int:
        """Number of actions."""
        return self.n

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one action."""
        return ()

    def checked(self, actions: np.ndarray, count: int) -> np.ndarray:
        """A copy of `count` actions, (count,) int32. Raises ValueError for another shape, no integers or a value out of range."""
        if actions.shape != (count,) or not np.issubdtype(actions.dtype, np.integer):
            raise ValueError(f"actions must be {count} integers, not {actions.dtype} of shape {actions.shape}")
        if actions.min() < 0 or actions.max() >= self.n:
            raise ValueError(f"actions must lie in [0, {self.n}), not in [{actions.min()}, {actions.max()}]")
        return actions.astype(np.int32)


@dataclass(frozen=True)
class Box:
    """Arrays of one shape and dtype, with all elements in [low, high]."""

    shape: tuple[int, ...]
    dtype: Dtype = "float32"
    """uint8: pixels in [0, 255]; float32: features, each in its own unit"""
    low: float = -math.inf
    high: float = math.inf

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def checked(self, actions: np.ndarray, count: int) -> np.ndarray:
        """A copy of `count` actions, (count, *shape). Raises ValueError for another shape, kind of number or a value out of range."""
        if actions.shape != (count, *self.shape) or not np.can_cast(actions.dtype, self.dtype, "same_kind"):
            raise ValueError(f"actions must be {self.dtype} of shape {(count, *self.shape)}, not {actions.dtype} of shape {actions.shape}")
        if not (np.isfinite(actions).all() and actions.min() >= self.low and actions.max() <= self.high):
            raise ValueError(f"actions must be finite and lie in [{self.low:g}, {self.high:g}], not in [{actions.min()}, {actions.max()}]")
        return actions.astype(self.dtype)


Space = Discrete | Box
