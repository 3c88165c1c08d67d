"""bsuite's Catch: a ball falls, and a paddle below it moves."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from envs.reinforcement.worlds.base import World, whole

ROWS, COLUMNS = 10, 5


class CatchState(NamedTuple):
    """N boards, (N,) int64 each."""

    column: Tensor
    """of the ball"""
    row: Tensor
    """of the ball"""
    paddle: Tensor
    """column of the paddle, in the last row"""


@dataclass(frozen=True)
class Catch(World):
    """Reward 1 for a ball that is caught after nine steps, -1 for one that is not (Osband et al. 2020, arXiv 1908.03568)."""

    draws: ClassVar[int] = 1

    def begin(self, draws: Tensor) -> CatchState:
        column = whole(draws[:, 0], COLUMNS)
        return CatchState(column, torch.zeros_like(column), torch.full_like(column, COLUMNS // 2))

    def step(self, state: CatchState, actions: Tensor, draws: Tensor) -> tuple[CatchState, Tensor, Tensor]:
        paddle, row = (state.paddle + actions - 1).clamp(0, COLUMNS - 1), (state.row + 1).clamp(max=ROWS - 1)
        landed, caught = row == ROWS - 1, paddle == state.column
        return CatchState(state.column, row, paddle), landed * (2 * caught.long() - 1), landed

    def observe(self, state: CatchState) -> Tensor:
        cells = torch.arange(ROWS * COLUMNS, device=state.row.device)
        ball, paddle = state.row * COLUMNS + state.column, (ROWS - 1) * COLUMNS + state.paddle
        return ((cells == ball[:, None]) | (cells == paddle[:, None])).float()
