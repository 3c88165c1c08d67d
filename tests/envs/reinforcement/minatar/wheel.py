"""Playing the original, the package `minatar`, beside ours, with the same random numbers."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from minatar import Environment
from torch import Tensor

from envs.reinforcement.minatar.base import Game
from envs.reinforcement.minatar.games import GAMES
from envs.reinforcement.worlds.base import State
from envs.reinforcement.worlds.pool import Rules, advanced, begun

FILES = {"Asterix": "asterix", "Breakout": "breakout", "Freeway": "freeway", "Seaquest": "seaquest", "SpaceInvaders": "space_invaders"}


class Recorder:
    """A RandomState that records what it draws: `r` and uniform numbers, `i` and the numbers from which `whole` makes the same integers."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.RandomState(seed)
        self.kinds, self.values = "", []

    def rand(self, *shape: int) -> Any:
        drawn = self._random.rand(*shape)
        self.kinds, self.values = self.kinds + "r", [*self.values, *np.atleast_1d(drawn)]
        return drawn

    def randint(self, low: int, high: int | None = None, size: int | None = None) -> Any:
        low, high = (0, low) if high is None else (low, high)
        drawn = self._random.randint(low, high, size)
        self.kinds, self.values = self.kinds + "i", [*self.values, *((np.atleast_1d(drawn) - low + 0.5) / (high - low))]
        return drawn

    def taken(self) -> tuple[str, list[float]]:
        """Numbers drawn since the last call."""
        kinds, values = self.kinds, self.values
        self.kinds, self.values = "", []
        return kinds, values


def placed(game: str, kinds: str, values: list[float], row: np.ndarray) -> None:
    """Write the numbers that a game drew into `row`, the places that ours has for them."""
    if game == "Seaquest" and kinds == "ri":  # a diver alone
        row[3:5] = values
    else:
        assert kinds in {"Seaquest": ("", "rri", "rriri"), "Asterix": ("", "rr", "rri"), "Freeway": ("", "ir")}.get(game, ("", "i")), kinds
        row[: len(values)] = values


class Original:
    """N of the original's games, with episodes that begin in the step after an end, as ours do."""

    def __init__(self, game: str, count: int, sticky: float, ramping: bool, seed: int) -> None:
        self.game, self.draws = game, GAMES[game].draws
        self.envs = [Environment(FILES[game], sticky, ramping) for _ in range(count)]
        self._unused = np.random.default_rng(seed)
        self.recorders = [Recorder(seed + index) for index in range(count)]
        for env, recorder in zip(self.envs, self.recorders, strict=True):
            env.random = env.env.random = recorder  # type: ignore[assignment]
        self.over = np.ones(count, bool)
        self.numbers = self._rows()
        """(N, 1 + draws): what was drawn in the last step"""
        self.step(np.zeros(count, int))

    def _rows(self) -> np.ndarray:
        """Numbers that no game has drawn, and on which nothing may depend."""
        return self._unused.random((len(self.envs), 1 + self.draws))

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rewards and ends, (N,)."""
        self.numbers, rewards, ends = self._rows(), np.zeros(len(actions)), np.zeros(len(actions), bool)
        for index, (env, recorder) in enumerate(zip(self.envs, self.recorders, strict=True)):
            if self.over[index]:
                env.reset()
            else:
                rewards[index], ends[index] = env.act(actions[index])
            kinds, values = recorder.taken()
            if not self.over[index]:
                self.numbers[index, 0], kinds, values = values[0], kinds[1:], values[1:]
            placed(self.game, kinds, values, self.numbers[index, 1:])
        self.over = ends
        return rewards, ends

    def revive(self) -> None:
        """Go on with games that are over."""
        self.over[:] = False
        for env in self.envs:
            env.env.terminal = False

    def observation(self) -> np.ndarray:
        """(N, channels, 10, 10) bool."""
        return np.stack([env.state() for env in self.envs]).transpose(0, 3, 1, 2)


class Batch:
    """N of our games; `numbers` returns those of each step, (N, 1 + draws)."""

    def __init__(self, game: Game, numbers: Callable[[], Tensor], sticky: float) -> None:
        draws = numbers()
        self.rules, self._numbers = Rules(game, sticky=sticky), numbers
        self.running = begun(game, draws)

    @property
    def state(self) -> State:
        return self.running.state

    def change(self, **fields: Tensor) -> None:
        """Change fields of the state."""
        self.running = self.running._replace(state=self.state._replace(**fields))

    def revive(self) -> None:
        """Go on with games that are over."""
        self.running = self.running._replace(over=torch.zeros_like(self.running.over))

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rewards, `terminated` and `truncated`."""
        self.running, *found = advanced(self.rules, self.rules.world, self.running, actions, self._numbers())
        return found[0], found[1], found[2]

    def observation(self) -> Tensor:
        return self.rules.world.observe(self.state)


def ours(original: Original, sticky: float, ramping: bool) -> Batch:
    """The same games, which draw what the original has just drawn."""
    game: Game = GAMES[original.game](ramping)
    return Batch(game, lambda: torch.from_numpy(original.numbers), sticky)


def policies(count: int, seed: int) -> Iterator[np.ndarray]:
    """Actions of `count` players who prefer some actions, others every 40 steps, so that they go further than uniform ones."""
    random = np.random.default_rng(seed)
    while True:
        shares = random.dirichlet(np.full(6, 0.3), count).cumsum(1)
        for _ in range(40):
            yield (random.random((count, 1)) > shares).sum(1).clip(0, 5)


def table(entries: list[list[Any]]) -> list[tuple[int, ...]]:
    return sorted(tuple(int(each) for each in entry) for entry in entries)


def rows(parts: tuple[Tensor, ...], there: Tensor, index: int) -> list[tuple[int, ...]]:
    """The rows of one game's table that are there, sorted."""
    columns = [part[index][there[index]].tolist() for part in parts]
    return sorted(tuple(int(each) for each in row) for row in zip(*columns, strict=True))


def asterix(env: Any, state: Any, index: int) -> tuple[Any, Any]:
    fields = "player_x player_y spawn_speed spawn_timer move_speed move_timer ramp_timer ramp_index"
    mine = "x y spawn_interval spawn_wait move_interval move_wait ramp_wait level"
    things = [[e[1], e[0], e[2], e[3]] for e in env.entities if e is not None]
    lanes = torch.arange(1, 9).expand_as(state.columns)
    return (numbers(env, fields), table(things)), (
        numbers(state, mine, index),
        rows((lanes, state.columns, state.right, state.gold), state.there, index),
    )


def breakout(env: Any, state: Any, index: int) -> tuple[Any, Any]:
    direction = [(-1, -1), (1, -1), (1, 1), (-1, 1)][env.ball_dir]
    theirs = (*numbers(env, "pos ball_x ball_y last_x last_y"), *direction, int(env.strike)), env.brick_map.astype(int).tolist()
    return theirs, (numbers(state, "paddle x y last_x last_y dx dy inside", index), state.bricks[index].long().tolist())


def freeway(env: Any, state: Any, index: int) -> tuple[Any, Any]:
    cars = [(int(x), int(wait), abs(int(speed)), int(speed > 0)) for x, _, wait, speed in env.cars]
    parts = (state.x, state.wait, state.period, state.right)
    mine = [tuple(int(each) for each in car) for car in zip(*(part[index].tolist() for part in parts), strict=True)]
    return (numbers(env, "pos move_timer terminate_timer"), cars), (numbers(state, "row rest left", index), mine)


def space_invaders(env: Any, state: Any, index: int) -> tuple[Any, Any]:
    fields = "pos shot_timer alien_dir alien_move_timer alien_shot_timer enemy_move_interval ramp_index"
    maps = [each.astype(int).tolist() for each in (env.alien_map, env.f_bullet_map, env.e_bullet_map)]
    mine = [each[index].long().tolist() for each in (state.aliens, state.shots, state.bombs)]
    return (numbers(env, fields), maps), (
        numbers(state, "cannon reload direction move_wait shot_wait interval level", index),
        mine,
    )


def seaquest(env: Any, state: Any, index: int) -> tuple[Any, Any]:
    fields = "sub_x sub_y sub_or oxygen diver_count shot_timer surface e_spawn_speed e_spawn_timer d_spawn_timer move_speed ramp_index"
    mine = "x y right oxygen rescued reload surfaced spawn_interval spawn_wait diver_wait move_interval level"
    enemies, divers, shots = state.enemies, state.divers, state.shots
    bombs = sorted({(x, y, int(right)) for x, y, right in env.e_bullets})  # two in one place are one of ours
    theirs = numbers(env, fields), table(env.e_fish), table(env.e_subs), table(env.divers), table(env.f_bullets), bombs
    own = (
        numbers(state, mine, index),
        rows((enemies.x, enemies.y, enemies.right, enemies.wait), enemies.there & ~enemies.armed, index),
        rows((enemies.x, enemies.y, enemies.right, enemies.wait, enemies.pause), enemies.there & enemies.armed, index),
        rows((divers.x, divers.y, divers.right, divers.wait), divers.there, index),
        rows((shots.x, shots.y, shots.right), shots.there, index),
        sorted((x, y, way) for way, y, x in state.bombs[index].nonzero().tolist()),
    )
    return theirs, own


def numbers(holder: Any, names: str, index: int | None = None) -> tuple[int, ...]:
    """Attributes of the original, or of game `index` of ours."""
    values = (getattr(holder, name) for name in names.split())
    return tuple(int(value if index is None else value[index]) for value in values)


STATES: dict[str, Callable[[Any, Any, int], tuple[Any, Any]]] = {
    "Asterix": asterix,
    "Breakout": breakout,
    "Freeway": freeway,
    "Seaquest": seaquest,
    "SpaceInvaders": space_invaders,
}


def assert_alike(original: Original, batch: Batch) -> None:
    """State and observations are equal."""
    np.testing.assert_array_equal(batch.observation().numpy(), original.observation())
    for index, env in enumerate(original.envs):
        theirs, own = STATES[original.game](env.env, batch.state, index)
        assert theirs == own, (original.game, index)


def play_both(game: str, count: int, steps: int, sticky: float, ramping: bool, seed: int, immortal: bool = False) -> np.ndarray:
    """Play `count` games of each side for `steps` steps with everything compared; return the sums of rewards and of ends. An `immortal`
    player goes on after the end of a game, to where random ones do not come."""
    original = Original(game, count, sticky, ramping, seed)
    batch, totals = ours(original, sticky, ramping), np.zeros(2, int)
    assert_alike(original, batch)
    for _, actions in zip(range(steps), policies(count, seed), strict=False):
        rewards, ends = original.step(actions)
        mine, terminated, truncated = batch.step(torch.from_numpy(actions))
        np.testing.assert_array_equal(mine.numpy(), rewards)
        np.testing.assert_array_equal(terminated.numpy(), ends)
        assert not truncated.any()
        assert_alike(original, batch)
        totals += int(rewards.sum()), int(ends.sum())
        if immortal:
            original.revive()
            batch.revive()
    return totals
