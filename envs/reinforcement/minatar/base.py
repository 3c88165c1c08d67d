"""Common parts of the five games: their interface, and boards of 10 x 10."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from envs.reinforcement.worlds.base import Given, View, World

SIDE = 10
CELL = 16  # pixels of a cell's side in an image
NOOP, LEFT, UP, RIGHT, DOWN, FIRE = range(6)


@dataclass(frozen=True)
class Game(World):
    """The rules of one game. Observations are (N, channels, 10, 10) bool; dimension 2 is the row from the top, 3 the column."""

    ramping: bool = True
    """whether it becomes harder while it is played"""

    channels: ClassVar[tuple[str, ...]]
    """names of the observation's channels"""
    minimal: ClassVar[tuple[int, ...]]
    """the actions that do something in this game"""


@dataclass(frozen=True)
class Actions(View):
    """Actions of a game. A pool gives `actions` (A,), the original's in the order of ours."""

    def meant(self, actions: Tensor, given: Given, draws: Tensor, clock: Tensor) -> Tensor:
        """The original's actions."""
        return given["actions"][actions]


@dataclass(frozen=True)
class Boards(Actions):
    """Boards as agents see them, (N, width, 10, 10) of 0 and 255, which networks read as 0 and 1.

    If `permuted`, a pool gives `places` (N, width): the game's channel at each place, or a number beyond them for an empty one.
    """

    width: int
    permuted: bool

    def shown(self, observations: Tensor, given: Given, draws: Tensor, clock: Tensor) -> Tensor:
        """Channels at their places."""
        number, channels = observations.shape[:2]
        boards = observations.view(torch.uint8) * 255
        if channels < self.width:
            boards = torch.cat([boards, boards.new_zeros(number, self.width - channels, SIDE, SIDE)], 1)
        return boards[torch.arange(number, device=boards.device)[:, None], given["places"]] if self.permuted else boards


@dataclass(frozen=True)
class Pictures(Actions):
    """RGB images of boards, (N, 160, 160, 3) uint8; of several things in a cell the last channel's is seen.

    A pool gives `colours` (1 + channels, 3) uint8, the first of an empty cell.
    """

    def shown(self, observations: Tensor, given: Given, draws: Tensor, clock: Tensor) -> Tensor:
        """A square of CELL pixels for each cell, in the colour of its channel."""
        numbers = torch.arange(1, observations.shape[1] + 1, device=observations.device)[:, None, None]
        top = (observations * numbers).amax(1)
        return given["colours"][top].repeat_interleave(CELL, 1).repeat_interleave(CELL, 2)


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


def full(like: Tensor, value: int) -> Tensor:
    """(N,) int64 of one value, for draws (N, count)."""
    return torch.full((len(like),), value, dtype=torch.int64, device=like.device)
