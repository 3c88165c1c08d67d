"""Common parts of the five games: their interface, boards of 10 x 10, and N games that step together on one device.

Everything is a function of tensors of fixed shapes, with masks in place of branches, so that it can be compiled.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

SIDE = 10
NOOP, LEFT, UP, RIGHT, DOWN, FIRE = range(6)

State = Any
"""the state of N games: a NamedTuple of tensors (N, ...) and of such tuples; each game has its own"""


class Game(ABC):
    """The rules of one game, as pure functions of the state of N games. `ramping`: whether it becomes harder while it is played."""

    channels: ClassVar[tuple[str, ...]]
    """names of the observation's channels"""
    minimal: ClassVar[tuple[int, ...]]
    """the actions that do something in this game"""
    draws: ClassVar[int]
    """random numbers for one step or the beginning of one episode"""

    def __init__(self, ramping: bool = True) -> None:
        self.ramping = ramping

    @abstractmethod
    def begin(self, draws: Tensor) -> State:
        """N games at their beginning; `draws` are (N, `draws`) random numbers in [0, 1)."""

    @abstractmethod
    def step(self, state: State, actions: Tensor, draws: Tensor) -> tuple[State, Tensor, Tensor]:
        """The next state, rewards (N,) int64, and whether the episode ended by itself, (N,) bool. `actions`: (N,) int64 in [0, 6)."""

    @abstractmethod
    def observe(self, state: State) -> Tensor:
        """Observations, (N, channels, 10, 10) bool; dimension 2 is the row from the top, 3 the column."""


class Numbers(Protocol):
    """Random numbers of N games: each call returns the next ones, (N, count) in [0, 1)."""

    def __call__(self) -> Tensor: ...


class Batch:
    """N games that step together, each of which begins its next episode in the step after the last one's end.

    `numbers` returns one number for the sticky action, then those of the game. `sticky` is the probability that the previous action is
    repeated, across episodes too; `limit` the step at which an episode is truncated.
    """

    def __init__(self, game: Game, numbers: Numbers, sticky: float, limit: int | None) -> None:
        self.game, self.sticky, self.limit, self._numbers = game, sticky, limit, numbers
        draws = numbers()
        self.state = game.begin(draws[:, 1:])
        self.age = torch.zeros(len(draws), dtype=torch.int64, device=draws.device)
        """(N,) steps of the episode"""
        self.last_action, self.over = torch.zeros_like(self.age), torch.zeros_like(self.age, dtype=torch.bool)

    def reset(self, mask: Tensor) -> None:
        """Begin an episode where `mask`, (N,) bool, is true."""
        self.state = chosen(mask, self.game.begin(self._numbers()[:, 1:]), self.state)
        self.age, self.over = self.age.masked_fill(mask, 0), self.over & ~mask

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rewards (N,) float32, `terminated` and `truncated` (N,) bool. Games that were over begin anew instead, with reward 0."""
        draws, over = self._numbers(), self.over
        actions = torch.where((draws[:, 0] < self.sticky) | over, self.last_action, actions)
        stepped, rewards, terminated = self.game.step(self.state, actions, draws[:, 1:])
        self.state = chosen(over, self.game.begin(draws[:, 1:]), stepped)
        self.last_action, self.age = actions, (self.age + 1).masked_fill(over, 0)
        terminated = terminated & ~over
        truncated = torch.zeros_like(over) if self.limit is None else (self.age == self.limit) & ~terminated
        self.over = terminated | truncated
        return rewards.masked_fill(over, 0).float(), terminated, truncated

    def observation(self) -> Tensor:
        """Observations, (N, channels, 10, 10) bool."""
        return self.game.observe(self.state)


def chosen(mask: Tensor, where: State, otherwise: State) -> State:
    """The state, or tensor, `where` in games of `mask`, (N,), and `otherwise` in the others."""
    if isinstance(where, Tensor):
        return torch.where(mask.view(-1, *[1] * (where.ndim - 1)), where, otherwise)
    return type(where)(*(chosen(mask, one, other) for one, other in zip(where, otherwise, strict=True)))


def board(rows: Tensor, columns: Tensor, there: Tensor | None = None) -> Tensor:
    """Boards (N, 10, 10) bool with the cells of K things each, (N,) or (N, K), marked where `there` is true and they are on the board."""
    if rows.ndim == 1:
        rows, columns, there = rows[:, None], columns[:, None], None if there is None else there[:, None]
    shown = on_board(columns) if there is None else there & on_board(columns)
    cells = torch.zeros(len(rows), SIDE * SIDE + 1, dtype=torch.bool, device=rows.device)
    return cells.scatter(1, (rows * SIDE + columns).masked_fill(~shown, SIDE * SIDE), True)[:, :-1].view(-1, SIDE, SIDE)


def at(boards: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Values of boards (N, 10, 10) in one cell each, (N,)."""
    return boards.flatten(1).gather(1, (rows * SIDE + columns)[:, None])[:, 0]


def on_board(columns: Tensor) -> Tensor:
    """Whether columns are on the board; rows always are."""
    return (columns >= 0) & (columns < SIDE)


def signs(right: Tensor) -> Tensor:
    """1 where `right` is true, else -1."""
    return right * 2 - 1


def whole(draws: Tensor, count: int | Tensor) -> Tensor:
    """Random whole numbers in [0, count), int64."""
    return (draws * count).long()


def full(like: Tensor, value: int) -> Tensor:
    """(N,) int64 of one value, for draws (N, count)."""
    return torch.full((len(like),), value, dtype=torch.int64, device=like.device)
