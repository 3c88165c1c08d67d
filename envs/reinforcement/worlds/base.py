"""The shape of a world: the rules of N environments as pure functions of tensors, and how agents see and act in them.

Everything has fixed shapes, with masks in place of branches, so that it can be compiled and never waits for the device.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

State = Any
"""the state of N environments: a NamedTuple of tensors (N, ...) and of such tuples; each world has its own"""
Given = dict[str, Tensor]
"""tensors of one pool that its world or view reads, by name"""


@dataclass(frozen=True)
class World(ABC):
    """The rules of an environment. Its fields are constants; instances with equal fields are equal, and compiled once."""

    draws: ClassVar[int]
    """random numbers for one step or the beginning of one episode"""

    def bound(self, given: Given) -> "World":
        """The same rules with the tensors of a pool; by default there are none."""
        return self

    @abstractmethod
    def begin(self, draws: Tensor) -> State:
        """N environments at the beginning of an episode; `draws` are (N, `draws`) random numbers in [0, 1)."""

    @abstractmethod
    def step(self, state: State, actions: Tensor, draws: Tensor) -> tuple[State, Tensor, Tensor]:
        """The next state, rewards (N,), and whether the episode ended by itself, (N,) bool. `actions`: (N,) int64."""

    @abstractmethod
    def observe(self, state: State) -> Tensor:
        """Observations, (N, *shape)."""


@dataclass(frozen=True)
class View:
    """How actions are meant and what is seen of a world; this one changes nothing. `clock` () is the number of steps of the pool."""

    def draws(self) -> int:
        """Random numbers for one step."""
        return 0

    def meant(self, actions: Tensor, given: Given, draws: Tensor, clock: Tensor) -> Tensor:
        """Actions of the world."""
        return actions

    def shown(self, observations: Tensor, given: Given, draws: Tensor, clock: Tensor) -> Tensor:
        """Observations of the agent."""
        return observations


def chosen(mask: Tensor, where: State, otherwise: State) -> State:
    """The state, or tensor, `where` in environments of `mask`, (N,), and `otherwise` in the others."""
    if isinstance(where, Tensor):
        return torch.where(mask.view(-1, *[1] * (where.ndim - 1)), where, otherwise)
    return type(where)(*(chosen(mask, one, other) for one, other in zip(where, otherwise, strict=True)))


def whole(draws: Tensor, count: int | Tensor) -> Tensor:
    """Random whole numbers in [0, count), int64."""
    return (draws * count).long()
