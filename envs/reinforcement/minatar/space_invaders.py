"""Space Invaders: a cannon below a moving block of aliens."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from envs.reinforcement.minatar.base import FIRE, LEFT, NOOP, RIGHT, SIDE, Game, at, board, full

RELOAD = 5  # steps from one shot of the cannon to the next
PAUSE = 10  # waiting steps between two shots of the aliens
SLOWEST, FASTEST = 12, 6  # most waiting steps between two moves of the first wave, and of the fastest


class SpaceInvadersState(NamedTuple):
    """N games: (N,) int64 each, but for bool boards (N, 10, 10)."""

    cannon: Tensor
    """column of the cannon, in the lowest row"""
    reload: Tensor
    """steps until the cannon can shoot"""
    direction: Tensor
    """of the aliens, 1 or -1: to the right"""
    move_wait: Tensor
    """steps until the aliens move"""
    shot_wait: Tensor
    """steps until the aliens shoot"""
    interval: Tensor
    """most steps between two moves of this wave"""
    level: Tensor
    """waves that were faster than the one before"""
    aliens: Tensor
    shots: Tensor
    """the cannon's bullets, which rise"""
    bombs: Tensor
    """the aliens' bullets, which fall"""


class SpaceInvaders(Game):
    """Reward 1 for each alien shot; the game ends when an alien or its bullet reaches the cannon, or the aliens the bottom.

    Aliens move sideways until one is at the edge, then a row down and the other way, faster the fewer are left. The nearest one shoots.
    The next wave comes when all are shot, a step faster (until the seventh) if the game is `ramping`. Nothing is random but sticky actions.
    """

    channels: ClassVar[tuple[str, ...]] = ("cannon", "alien", "alien_left", "alien_right", "friendly_bullet", "enemy_bullet")
    minimal: ClassVar[tuple[int, ...]] = (NOOP, LEFT, RIGHT, FIRE)
    draws: ClassVar[int] = 0

    def begin(self, draws: Tensor) -> SpaceInvadersState:
        zero, empty = full(draws, 0), torch.zeros(len(draws), SIDE, SIDE, dtype=torch.bool, device=draws.device)
        slow = full(draws, SLOWEST)
        return SpaceInvadersState(
            full(draws, 5), zero, full(draws, -1), slow, full(draws, PAUSE), slow, zero, self._wave(draws), empty, empty
        )

    def step(self, state: SpaceInvadersState, actions: Tensor, draws: Tensor) -> tuple[SpaceInvadersState, Tensor, Tensor]:
        fires = (actions == FIRE) & (state.reload == 0)
        reload = state.reload.masked_fill(fires, RELOAD)
        cannon = (state.cannon + (actions == RIGHT).long() - (actions == LEFT).long()).clamp(0, SIDE - 1)
        lowest = torch.full_like(cannon, SIDE - 1)
        shots = _moved(state.shots | board(lowest, cannon, fires), -1)
        bombs = _moved(state.bombs, 1)
        over = at(bombs, lowest, cannon) | at(state.aliens, lowest, cannon)
        aliens, direction, move_wait, landed = self._march(state)
        over = over | landed | at(aliens, lowest, cannon)
        shoots = state.shot_wait == 0
        bombs = bombs | (_nearest(aliens, cannon) & shoots[:, None, None])
        killed = aliens & shots
        aliens, shots = aliens & ~killed, shots & ~killed
        cleared = ~aliens.flatten(1).any(1)
        faster = cleared & (state.interval > FASTEST) if self.ramping else torch.zeros_like(cleared)
        after = SpaceInvadersState(
            cannon=cannon,
            reload=(reload - 1).clamp(0),
            direction=direction,
            move_wait=move_wait - 1,
            shot_wait=state.shot_wait.masked_fill(shoots, PAUSE) - 1,
            interval=state.interval - faster.long(),
            level=state.level + faster.long(),
            aliens=torch.where(cleared[:, None, None], self._wave(draws), aliens),
            shots=shots,
            bombs=bombs,
        )
        return after, killed.flatten(1).sum(1), over

    def observe(self, state: SpaceInvadersState) -> Tensor:
        left = (state.direction < 0)[:, None, None]
        cannon = board(torch.full_like(state.cannon, SIDE - 1), state.cannon)
        return torch.stack([cannon, state.aliens, state.aliens & left, state.aliens & ~left, state.shots, state.bombs], 1)

    @staticmethod
    def _march(state: SpaceInvadersState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Aliens, direction and waiting time after a move, if one is due; and whether aliens in the lowest row went down."""
        due = state.move_wait == 0
        aliens, right = state.aliens, state.direction > 0
        count = aliens.flatten(1).sum(1)
        turns = due & torch.where(right, aliens[:, :, SIDE - 1].any(1), aliens[:, :, 0].any(1))
        sideways = torch.where(right[:, None, None], aliens.roll(1, 2), aliens.roll(-1, 2))
        moved = torch.where(turns[:, None, None], aliens.roll(1, 1), sideways)
        landed = turns & aliens[:, SIDE - 1].any(1)
        wait = torch.where(due, torch.minimum(count, state.interval), state.move_wait)
        return torch.where(due[:, None, None], moved, aliens), torch.where(turns, -state.direction, state.direction), wait, landed

    @staticmethod
    def _wave(draws: Tensor) -> Tensor:
        """A new block of aliens, (N, 10, 10) bool."""
        places = torch.arange(SIDE, device=draws.device)
        block = (places[:, None] < 4) & (places >= 2) & (places < 8)
        return block.expand(len(draws), SIDE, SIDE)


def _moved(bullets: Tensor, rows: int) -> Tensor:
    """Bullets one row further down, or up; those that leave the board are gone."""
    edge = torch.zeros_like(bullets[:, :1])
    return torch.cat([edge, bullets[:, :-1]] if rows > 0 else [bullets[:, 1:], edge], 1)


def _nearest(aliens: Tensor, cannon: Tensor) -> Tensor:
    """The lowest alien in the column of aliens that is nearest to the cannon, the left one of two; as a board."""
    places = torch.arange(SIDE, device=cannon.device)
    distance = 2 * (places - cannon[:, None]).abs() + (places > cannon[:, None]).long()
    column = distance.masked_fill(~aliens.any(1), 4 * SIDE).argmin(1)
    lowest = (aliens.gather(2, column[:, None, None].expand(-1, SIDE, 1))[:, :, 0] * (places + 1)).argmax(1)
    return board(lowest, column)
