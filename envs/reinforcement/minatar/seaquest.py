"""Seaquest: a submarine, its enemies, divers and oxygen."""

from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor

from envs.reinforcement.minatar.base import DOWN, FIRE, LEFT, NOOP, RIGHT, SIDE, UP, Game, at, board, full, on_board, signs
from envs.reinforcement.worlds.base import whole

OXYGEN = 200
SPAWN, MOVE = 20, 5  # steps between two enemies, and waiting steps between their moves, at the beginning
DIVER_SPAWN, DIVER_MOVE = 30, 5
RELOAD = 5  # steps from one shot of the player to the next
PAUSE = 10  # waiting steps between two shots of an enemy
DIVERS = 6  # on board at most
ENEMIES = 30  # alive at once at most: the fastest are gone after 30 steps, and one at most comes in at each
SHOTS = IN_WATER = 2  # at once at most: a shot is gone after 10 steps, a diver after 60


class Enemies(NamedTuple):
    """Fish and submarines, (N, 30) each, the newest first."""

    there: Tensor
    """bool"""
    armed: Tensor
    """bool: a submarine, or a fish"""
    right: Tensor
    """bool: direction"""
    x: Tensor
    y: Tensor
    wait: Tensor
    """steps until it moves"""
    pause: Tensor
    """steps until it shoots, of a submarine"""


class Divers(NamedTuple):
    """Divers in the water, (N, 2) each, the newest first."""

    there: Tensor
    right: Tensor
    x: Tensor
    y: Tensor
    wait: Tensor


class Shots(NamedTuple):
    """The player's bullets, (N, 2) each, the newest first."""

    there: Tensor
    right: Tensor
    x: Tensor
    y: Tensor


Table = TypeVar("Table", Enemies, Divers, Shots)


class SeaquestState(NamedTuple):
    """N games: (N,) int64 each, unless stated, and three tables."""

    x: Tensor
    y: Tensor
    right: Tensor
    """(N,) bool: direction of the player"""
    oxygen: Tensor
    rescued: Tensor
    """divers on board; below 0 after six were landed, see `Seaquest`"""
    reload: Tensor
    """steps until the player can shoot"""
    surfaced: Tensor
    """(N,) bool: at the surface after the last step"""
    spawn_interval: Tensor
    spawn_wait: Tensor
    diver_wait: Tensor
    move_interval: Tensor
    level: Tensor
    """how often it has got harder"""
    bombs: Tensor
    """(N, 2, 10, 10) bool: the enemies' bullets, those that fly to the left and those that fly to the right"""
    enemies: Enemies
    divers: Divers
    shots: Shots


class Seaquest(Game):
    """Reward 1 for each enemy shot, and one for each cell of oxygen left when six divers are landed.

    The game ends when an enemy or its bullet touches the player, without oxygen, and at the surface without a diver. Surfacing with fewer
    than six costs one diver, fills the oxygen and, if `ramping`, makes enemies come more often and every second time move faster. Two
    peculiarities of the original are kept: landing six leaves -1 divers on board (no number but 0 ends the game at the surface), and a
    player who never leaves the surface plays for ever.
    """

    channels: ClassVar[tuple[str, ...]] = (
        *("sub_front", "sub_back", "friendly_bullet", "trail", "enemy_bullet", "enemy_fish", "enemy_sub"),
        *("oxygen_gauge", "diver_gauge", "diver"),
    )
    minimal: ClassVar[tuple[int, ...]] = (NOOP, LEFT, UP, RIGHT, DOWN, FIRE)
    draws: ClassVar[int] = 5

    def begin(self, draws: Tensor) -> SeaquestState:
        zero, spawn = full(draws, 0), full(draws, SPAWN)
        no = torch.zeros_like(zero, dtype=torch.bool)

        def table(width: int, flags: int, numbers: int) -> list[Tensor]:
            return [no[:, None].repeat(1, width)] * flags + [zero[:, None].repeat(1, width)] * numbers

        return SeaquestState(
            x=full(draws, 5),
            y=zero,
            right=no,
            oxygen=full(draws, OXYGEN),
            rescued=zero,
            reload=zero,
            surfaced=~no,
            spawn_interval=spawn,
            spawn_wait=spawn,
            diver_wait=full(draws, DIVER_SPAWN),
            move_interval=full(draws, MOVE),
            level=zero,
            bombs=torch.zeros(len(draws), 2, SIDE, SIDE, dtype=torch.bool, device=draws.device),
            enemies=Enemies(*table(ENEMIES, 3, 4)),
            divers=Divers(*table(IN_WATER, 2, 3)),
            shots=Shots(*table(SHOTS, 2, 2)),
        )

    def step(self, state: SeaquestState, actions: Tensor, draws: Tensor) -> tuple[SeaquestState, Tensor, Tensor]:
        state, shot = _shots_fly(_acted(_spawned(state, draws), actions))
        submarines = state.enemies.there & state.enemies.armed  # those shot in this step shoot once more
        state, ran, over_enemies = _enemies_move(_divers_swim(state))
        state, over_bombs = _bombs_fly(_enemies_shoot(state, submarines))
        state, landed, over_air = self._breathed(state)
        state = state._replace(
            spawn_wait=(state.spawn_wait - 1).clamp(0), diver_wait=(state.diver_wait - 1).clamp(0), reload=(state.reload - 1).clamp(0)
        )
        return state, shot + ran + landed, over_enemies | over_bombs | over_air

    def observe(self, state: SeaquestState) -> Tensor:
        enemies, divers, shots = state.enemies, state.divers, state.shots
        columns = torch.arange(SIDE, device=state.x.device)
        air = (state.oxygen.clamp(0) * SIDE // OXYGEN)[:, None]
        rescued = (columns >= SIDE - 1 - state.rescued[:, None]) & (columns < SIDE - 1)
        cells = (
            board(state.y, state.x),
            board(state.y, state.x - signs(state.right)),
            board(shots.y, shots.x, shots.there),
            _trail(enemies) | _trail(divers),
            state.bombs[:, 0] | state.bombs[:, 1],
            board(enemies.y, enemies.x, enemies.there & ~enemies.armed),
            board(enemies.y, enemies.x, enemies.there & enemies.armed),
            _lowest(columns < air),
            _lowest(rescued),
            board(divers.y, divers.x, divers.there),
        )
        return torch.stack(cells, 1)

    def _breathed(self, state: SeaquestState) -> tuple[SeaquestState, Tensor, Tensor]:
        """The state with less oxygen, or at the surface; the reward for landing six divers; and whether the game is over."""
        below = state.y > 0
        arrives = ~below & ~state.surfaced
        lands = arrives & (state.rescued != 0)
        six = lands & (state.rescued == DIVERS)
        after = state._replace(
            oxygen=(state.oxygen - below.long()).masked_fill(lands, OXYGEN),
            rescued=state.rescued.masked_fill(six, 0) - lands.long(),
            surfaced=~below & (state.surfaced | lands),
        )
        if self.ramping:
            harder = lands & ((state.spawn_interval > 1) | (state.move_interval > 2))
            after = after._replace(
                move_interval=state.move_interval - (harder & (state.move_interval > 2) & (state.level % 2 == 1)).long(),
                spawn_interval=state.spawn_interval - (harder & (state.spawn_interval > 1)).long(),
                level=state.level + harder.long(),
            )
        return after, six * (state.oxygen * 10 // OXYGEN), (state.oxygen <= 0) | (arrives & ~lands)


def _spawned(state: SeaquestState, draws: Tensor) -> SeaquestState:
    """A new enemy and a new diver where it is time; no enemy in a row in which others go the other way."""
    due, diver_due = state.spawn_wait == 0, state.diver_wait == 0
    right, y = draws[:, 0] < 1 / 2, 1 + whole(draws[:, 2], 8)
    enemies = state.enemies
    facing = enemies.there & (enemies.y == y[:, None]) & (enemies.right != right[:, None])
    enemy = Enemies(torch.ones_like(due), draws[:, 1] < 1 / 3, right, _side(right), y, state.move_interval, torch.full_like(y, PAUSE))
    diver_right, diver_y = draws[:, 3] < 1 / 2, 1 + whole(draws[:, 4], 8)
    diver = Divers(torch.ones_like(due), diver_right, _side(diver_right), diver_y, torch.full_like(y, DIVER_MOVE))
    return state._replace(
        enemies=_pushed(enemies, enemy, due & ~facing.any(1)),
        divers=_pushed(state.divers, diver, diver_due),
        spawn_wait=torch.where(due, state.spawn_interval, state.spawn_wait),
        diver_wait=state.diver_wait.masked_fill(diver_due, DIVER_SPAWN),
    )


def _acted(state: SeaquestState, actions: Tensor) -> SeaquestState:
    """The player's move or shot."""
    left, right, fires = actions == LEFT, actions == RIGHT, (actions == FIRE) & (state.reload == 0)
    shot = Shots(torch.ones_like(fires), state.right, state.x, state.y)
    return state._replace(
        x=(state.x + right.long() - left.long()).clamp(0, SIDE - 1),
        y=(state.y + (actions == DOWN).long() - (actions == UP).long()).clamp(0, SIDE - 2),
        right=(state.right | right) & ~left,
        shots=_pushed(state.shots, shot, fires),
        reload=state.reload.masked_fill(fires, RELOAD),
    )


def _shots_fly(state: SeaquestState) -> tuple[SeaquestState, Tensor]:
    """The state after the player's bullets moved, and the number of enemies shot; of several in a cell the oldest fish, or submarine."""
    shots, enemies, there = state.shots, state.enemies, state.enemies.there
    x = shots.x + signs(shots.right)
    flying = shots.there & on_board(x)
    hits = []
    for each in range(SHOTS):
        met = there & (enemies.x == x[:, each, None]) & (enemies.y == shots.y[:, each, None]) & flying[:, each, None]
        fish = met & ~enemies.armed
        shot = _last(torch.where(fish.any(1, keepdim=True), fish, met))
        hits.append(shot.any(1))
        there = there & ~shot
    hit = torch.stack(hits, 1)
    after = state._replace(shots=shots._replace(x=x, there=flying & ~hit), enemies=enemies._replace(there=there))
    return after, hit.sum(1)


def _divers_swim(state: SeaquestState) -> SeaquestState:
    """The state after divers moved, and came on board where they touched the player before or after."""
    divers, rescued, there = state.divers, state.rescued, []
    due = divers.wait == 0
    x = torch.where(due, divers.x + signs(divers.right), divers.x)
    touched = (divers.y == state.y[:, None]) & divers.there
    before, behind = touched & (divers.x == state.x[:, None]), touched & (x == state.x[:, None])
    taken = []
    for each in range(IN_WATER):  # the newest first: there may be room for one alone
        takes = (before | behind)[:, each] & (rescued < DIVERS)
        rescued = rescued + takes.long()
        taken.append(takes)
    there = divers.there & on_board(x) & ~torch.stack(taken, 1)
    return state._replace(divers=divers._replace(x=x, there=there, wait=(divers.wait - 1).masked_fill(due, DIVER_MOVE)), rescued=rescued)


def _enemies_move(state: SeaquestState) -> tuple[SeaquestState, Tensor, Tensor]:
    """The state after enemies moved, the number that ran into bullets, and whether one touched the player before or after.

    Each bullet, the oldest first, stops one: submarines come before fish, and the newest first.
    """
    enemies, shots = state.enemies, state.shots
    due = enemies.there & (enemies.wait == 0)
    x = torch.where(due, enemies.x + signs(enemies.right), enemies.x)
    row, here = enemies.there & (enemies.y == state.y[:, None]), x == state.x[:, None]
    over = (row & ((enemies.x == state.x[:, None]) | here)).any(1)
    there = enemies.there & on_board(x)
    exposed = due & there & ~(row & here)
    hits = []
    for each in reversed(range(SHOTS)):
        met = exposed & (x == shots.x[:, each, None]) & (enemies.y == shots.y[:, each, None]) & shots.there[:, each, None]
        armed = met & enemies.armed
        shot = _first(torch.where(armed.any(1, keepdim=True), armed, met))
        hits.append(shot.any(1))
        there, exposed = there & ~shot, exposed & ~shot
    hit = torch.stack(hits[::-1], 1)
    wait = torch.where(due, state.move_interval[:, None], enemies.wait - 1)
    after = state._replace(enemies=enemies._replace(x=x, there=there, wait=wait), shots=shots._replace(there=shots.there & ~hit))
    return after, hit.sum(1), over


def _enemies_shoot(state: SeaquestState, these: Tensor) -> SeaquestState:
    """The state with the bullets of the submarines `these`, (N, 30), that have waited long enough."""
    enemies = state.enemies
    due = these & (enemies.pause == 0)
    new = [board(enemies.y, enemies.x, due & way) for way in (~enemies.right, enemies.right)]
    pause = (enemies.pause - these.long()).masked_fill(due, PAUSE)
    return state._replace(bombs=state.bombs | torch.stack(new, 1), enemies=enemies._replace(pause=pause))


def _bombs_fly(state: SeaquestState) -> tuple[SeaquestState, Tensor]:
    """The state after the enemies' bullets moved, and whether one touched the player before or after."""
    left, right = state.bombs.unbind(1)
    edge = torch.zeros_like(left[:, :, :1])
    bombs = torch.stack([torch.cat([left[:, :, 1:], edge], 2), torch.cat([edge, right[:, :, :-1]], 2)], 1)
    touched = [at(boards, state.y, state.x) for boards in (left, right, *bombs.unbind(1))]
    return state._replace(bombs=bombs), torch.stack(touched).any(0)


def _pushed(table: Table, new: Table, where: Tensor) -> Table:
    """The table with a new first row where `where`, (N,); the last row, long gone, gives way."""
    pairs = zip(table, new, strict=True)
    return type(table)(*(torch.where(where[:, None], torch.cat([first[:, None], old[:, :-1]], 1), old) for old, first in pairs))


def _side(right: Tensor) -> Tensor:
    """The column at which something that moves right, or left, comes in."""
    return torch.where(right, 0, SIDE - 1)


def _lowest(row: Tensor) -> Tensor:
    """Boards with the lowest row (N, 10), (N, 10, 10)."""
    return torch.nn.functional.pad(row[:, None], (0, 0, SIDE - 1, 0))


def _trail(table: Enemies | Divers) -> Tensor:
    """The cells behind those of a table, (N, 10, 10)."""
    return board(table.y, table.x - signs(table.right), table.there)


def _first(mask: Tensor) -> Tensor:
    """The first true element alone of each row."""
    return mask & (mask.cumsum(1) == 1)


def _last(mask: Tensor) -> Tensor:
    """The last true element alone of each row."""
    return _first(mask.flip(1)).flip(1)
