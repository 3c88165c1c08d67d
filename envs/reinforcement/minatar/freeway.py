"""Freeway: a chicken crosses eight lanes."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from envs.reinforcement.minatar.base import DOWN, NOOP, SIDE, UP, Game, board, full, signs
from envs.reinforcement.worlds.base import whole

COLUMN = 4  # in which the chicken walks
LANES = 8
REST = 3  # steps from one step of the chicken to the next
LENGTH = 2500  # steps of an episode, but for one


class FreewayState(NamedTuple):
    """N games of eight cars, in rows 1 to 8."""

    row: Tensor
    """(N,) int64, of the chicken"""
    rest: Tensor
    """(N,) steps until the chicken can move"""
    left: Tensor
    """(N,) steps until the episode's end"""
    x: Tensor
    """(N, 8) column of each car"""
    wait: Tensor
    """(N, 8) steps until a car moves"""
    period: Tensor
    """(N, 8) 1 to 5, with the fastest cars first"""
    right: Tensor
    """(N, 8) bool: direction"""


class Freeway(Game):
    """Reward 1 each time the chicken reaches the top, from where it starts again, as it does when a car hits it.

    All cars then have new speeds and directions. An episode has 2,501 steps; its end counts as the game's own, as in the original. The
    game does not become harder.
    """

    channels: ClassVar[tuple[str, ...]] = ("chicken", "car", "speed1", "speed2", "speed3", "speed4", "speed5")
    minimal: ClassVar[tuple[int, ...]] = (NOOP, UP, DOWN)
    draws: ClassVar[int] = 2 * LANES

    def begin(self, draws: Tensor) -> FreewayState:
        period, right = self._traffic(draws)
        return FreewayState(
            full(draws, SIDE - 1), full(draws, REST), full(draws, LENGTH), torch.zeros_like(period), period.clone(), period, right
        )

    def step(self, state: FreewayState, actions: Tensor, draws: Tensor) -> tuple[FreewayState, Tensor, Tensor]:
        up, down = (actions == UP) & (state.rest == 0), (actions == DOWN) & (state.rest == 0)
        rest = state.rest.masked_fill(up | down, REST)
        row = (state.row + down.long() - up.long()).clamp(0, SIDE - 1)
        over = row == 0
        row = row.masked_fill(over, SIDE - 1)
        period, right = self._traffic(draws)
        wait = torch.where(over[:, None], period, state.wait)
        period, right = (torch.where(over[:, None], new, old) for new, old in ((period, state.period), (right, state.right)))
        moves = wait == 0
        x = torch.where(moves, (state.x + signs(right)) % SIDE, state.x)
        lane = torch.arange(1, LANES + 1, device=row.device) == row[:, None]
        hit = (lane & ((state.x == COLUMN) | (x == COLUMN))).any(1)
        after = FreewayState(
            row=row.masked_fill(hit, SIDE - 1),
            rest=(rest - 1).clamp(0),
            left=state.left - 1,
            x=x,
            wait=torch.where(moves, period, wait - 1),
            period=period,
            right=right,
        )
        return after, over.long(), after.left < 0

    def observe(self, state: FreewayState) -> Tensor:
        lanes = torch.arange(1, LANES + 1, device=state.x.device).expand_as(state.x)
        behind = (state.x - signs(state.right)) % SIDE
        trails = [board(lanes, behind, state.period == period) for period in range(1, 6)]
        chicken = board(state.row, torch.full_like(state.row, COLUMN))
        return torch.stack([chicken, board(lanes, state.x), *trails], 1)

    @staticmethod
    def _traffic(draws: Tensor) -> tuple[Tensor, Tensor]:
        """Random periods and directions, (N, 8) each."""
        return 1 + whole(draws[:, :LANES], 5), draws[:, LANES:] >= 0.5
