"""Asterix: gold and enemies cross eight rows."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from envs.reinforcement.minatar.base import DOWN, LEFT, NOOP, RIGHT, SIDE, UP, Game, board, full, on_board, signs
from envs.reinforcement.worlds.base import whole

ROWS = 8
SPAWN, MOVE = 10, 5  # steps between two newcomers, and between two moves, at the beginning
RAMP = 100  # waiting steps before it gets harder


class AsterixState(NamedTuple):
    """N games: (N,) int64, or (N, 8) for the thing in each of the rows 1 to 8."""

    x: Tensor
    """column of the player"""
    y: Tensor
    there: Tensor
    """(N, 8) bool: something is in the row"""
    columns: Tensor
    """(N, 8) its column"""
    right: Tensor
    """(N, 8) bool: its direction"""
    gold: Tensor
    """(N, 8) bool: gold, or an enemy"""
    spawn_interval: Tensor
    spawn_wait: Tensor
    """steps until something comes in"""
    move_interval: Tensor
    move_wait: Tensor
    """steps until everything moves"""
    ramp_wait: Tensor
    """steps until it gets harder"""
    level: Tensor
    """how often it has got harder"""


class Asterix(Game):
    """Reward 1 for each gold that the player touches; the game ends when an enemy does.

    A third of what comes in, from either side into an empty row, is gold. If `ramping`, more comes in every 102 steps, and every second
    time everything moves faster.
    """

    channels: ClassVar[tuple[str, ...]] = ("player", "enemy", "trail", "gold")
    minimal: ClassVar[tuple[int, ...]] = (NOOP, LEFT, UP, RIGHT, DOWN)
    draws: ClassVar[int] = 3

    def begin(self, draws: Tensor) -> AsterixState:
        nothing = torch.zeros(len(draws), ROWS, dtype=torch.bool, device=draws.device)
        spawn, move, middle = full(draws, SPAWN), full(draws, MOVE), full(draws, 5)
        zero = nothing.long()
        return AsterixState(
            middle, middle, nothing, zero, nothing, nothing, spawn, spawn, move, move, full(draws, RAMP), torch.zeros_like(middle)
        )

    def step(self, state: AsterixState, actions: Tensor, draws: Tensor) -> tuple[AsterixState, Tensor, Tensor]:
        state = self._spawned(state, draws)
        x = (state.x + (actions == RIGHT).long() - (actions == LEFT).long()).clamp(0, SIDE - 1)
        y = (state.y + (actions == DOWN).long() - (actions == UP).long()).clamp(1, ROWS)
        beside = torch.arange(1, ROWS + 1, device=x.device) == y[:, None]
        touched = state.there & beside & (state.columns == x[:, None])
        rewards, over = (touched & state.gold).sum(1), (touched & ~state.gold).any(1)
        there = state.there & ~(touched & state.gold)
        moves = (state.move_wait == 0)[:, None]
        columns = torch.where(moves & there, state.columns + signs(state.right), state.columns)
        there = there & on_board(columns)
        touched = moves & there & beside & (columns == x[:, None])
        rewards, over = rewards + (touched & state.gold).sum(1), over | (touched & ~state.gold).any(1)
        after = state._replace(
            x=x,
            y=y,
            there=there & ~(touched & state.gold),
            columns=columns,
            spawn_wait=state.spawn_wait - 1,
            move_wait=torch.where(moves[:, 0], state.move_interval, state.move_wait) - 1,
        )
        return self._ramped(after), rewards, over

    def observe(self, state: AsterixState) -> Tensor:
        rows = torch.arange(1, ROWS + 1, device=state.x.device).expand_as(state.columns)
        cells = (
            board(state.y, state.x),
            board(rows, state.columns, state.there & ~state.gold),
            board(rows, state.columns - signs(state.right), state.there),
            board(rows, state.columns, state.there & state.gold),
        )
        return torch.stack(cells, 1)

    @staticmethod
    def _spawned(state: AsterixState, draws: Tensor) -> AsterixState:
        """Gold or an enemy in a random empty row, if it is time; nothing if all are full."""
        due, empty = state.spawn_wait == 0, ~state.there
        right, gold = draws[:, :1] < 1 / 2, draws[:, 1:2] < 1 / 3
        chosen = whole(draws[:, 2], empty.sum(1))[:, None]
        new = empty & (empty.cumsum(1) - 1 == chosen) & due[:, None]
        return state._replace(
            there=state.there | new,
            columns=torch.where(new, torch.where(right, 0, SIDE - 1), state.columns),
            right=torch.where(new, right, state.right),
            gold=torch.where(new, gold, state.gold),
            spawn_wait=torch.where(due, state.spawn_interval, state.spawn_wait),
        )

    def _ramped(self, state: AsterixState) -> AsterixState:
        """The state with shorter intervals, if it is time."""
        if not self.ramping:
            return state
        can = (state.spawn_interval > 1) | (state.move_interval > 1)
        due = can & (state.ramp_wait < 0)
        return state._replace(
            move_interval=state.move_interval - (due & (state.move_interval > 1) & (state.level % 2 == 1)).long(),
            spawn_interval=state.spawn_interval - (due & (state.spawn_interval > 1)).long(),
            level=state.level + due.long(),
            ramp_wait=(state.ramp_wait - can.long()).masked_fill(due, RAMP),
        )
