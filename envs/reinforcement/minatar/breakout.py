"""Breakout: a ball, a paddle and three rows of bricks."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from envs.reinforcement.minatar.base import LEFT, NOOP, RIGHT, SIDE, Game, at, board, full, signs

WALL = slice(1, 4)  # rows of bricks


class BreakoutState(NamedTuple):
    """N games: (N,) int64 each, but `bricks`."""

    paddle: Tensor
    """column of the paddle, in the lowest row"""
    x: Tensor
    y: Tensor
    last_x: Tensor
    """column of the ball a step ago"""
    last_y: Tensor
    dx: Tensor
    """direction of the ball, 1 or -1: to the right"""
    dy: Tensor
    """direction of the ball, 1 or -1: downwards"""
    inside: Tensor
    """(N,) bool: the ball struck a brick in the last step, and so passes through the next"""
    bricks: Tensor
    """(N, 10, 10) bool"""


class Breakout(Game):
    """Reward 1 for each brick; the game ends when the ball passes the paddle, and the wall is built anew once it is gone.

    The ball moves along diagonals. It flies straight back from the paddle's edge, and up again in its direction from the paddle's middle.
    The game does not become harder.
    """

    channels: ClassVar[tuple[str, ...]] = ("paddle", "ball", "trail", "brick")
    minimal: ClassVar[tuple[int, ...]] = (NOOP, LEFT, RIGHT)
    draws: ClassVar[int] = 1

    def begin(self, draws: Tensor) -> BreakoutState:
        left = draws[:, 0] < 0.5
        x, y, four = torch.where(left, 0, SIDE - 1), full(draws, 3), full(draws, 4)
        return BreakoutState(four, x, y, x, y, signs(left), full(draws, 1), torch.zeros_like(left), self._wall(draws))

    def step(self, state: BreakoutState, actions: Tensor, draws: Tensor) -> tuple[BreakoutState, Tensor, Tensor]:
        paddle = (state.paddle + (actions == RIGHT).long() - (actions == LEFT).long()).clamp(0, SIDE - 1)
        x, y = state.x + state.dx, state.y + state.dy
        dx = torch.where((x < 0) | (x >= SIDE), -state.dx, state.dx)
        x, at_top, row = x.clamp(0, SIDE - 1), y < 0, y.clamp(0, SIDE - 1)  # y is 10 in the step after an episode's end, which is discarded
        inside = ~at_top & at(state.bricks, row, x)
        broken = inside & ~state.inside
        low = ~at_top & ~inside & (y == SIDE - 1)
        bricks = state.bricks & ~board(row, x, broken)
        bricks = bricks | (self._wall(draws) & (low & ~bricks.flatten(1).any(1))[:, None, None])
        caught = low & (state.x == paddle)
        edge = low & ~caught & (x == paddle)
        back = broken | caught | edge
        after = state._replace(
            paddle=paddle,
            x=x,
            y=torch.where(back, state.y, row),
            last_x=state.x,
            last_y=state.y,
            dx=torch.where(edge, -dx, dx),
            dy=torch.where(back | at_top, -state.dy, state.dy),
            inside=inside,
            bricks=bricks,
        )
        return after, broken.long(), low & ~caught & ~edge

    def observe(self, state: BreakoutState) -> Tensor:
        lowest = torch.full_like(state.paddle, SIDE - 1)
        cells = board(lowest, state.paddle), board(state.y, state.x), board(state.last_y, state.last_x), state.bricks
        return torch.stack(cells, 1)

    @staticmethod
    def _wall(draws: Tensor) -> Tensor:
        """(N, 10, 10) bool."""
        rows = torch.arange(SIDE, device=draws.device)[:, None]
        return ((rows >= WALL.start) & (rows < WALL.stop)).expand(len(draws), SIDE, SIDE)
