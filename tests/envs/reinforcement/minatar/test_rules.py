"""Our rules beside the original's, with its random numbers: rewards, ends, observations and the whole state are equal at every step."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from envs.reinforcement.minatar.base import board
from envs.reinforcement.minatar.games import GAMES
from envs.reinforcement.minatar.seaquest import ENEMIES
from envs.reinforcement.worlds.base import chosen
from tests.envs.reinforcement.minatar.wheel import Original, assert_alike, ours, play_both

every_game = pytest.mark.parametrize("game", GAMES)
IMMORTAL = ["Asterix", "Seaquest", "SpaceInvaders"]  # Breakout has no cell below the paddle, Freeway ends by time alone


@every_game
@pytest.mark.parametrize(("sticky", "ramping"), [(0.1, True), (0.0, False)])
def test_the_games_are_the_originals(game: str, sticky: float, ramping: bool) -> None:
    rewards, ends = play_both(game, 6, 200, sticky, ramping, seed=1)
    assert ends > 5 or game == "Freeway"
    assert rewards > 0 or game not in ("Breakout", "SpaceInvaders")


@pytest.mark.parametrize("game", IMMORTAL)
def test_late_play_is_the_originals(game: str) -> None:
    assert play_both(game, 4, 300, 0.1, True, seed=2, immortal=True)[0] > 0


@pytest.mark.slow
@every_game
@pytest.mark.parametrize(("sticky", "ramping"), [(0.1, True), (0.1, False), (0.0, True), (0.0, False)])
def test_the_games_are_the_originals_for_100_000_steps(game: str, sticky: float, ramping: bool) -> None:
    rewards, ends = play_both(game, 20, 5100, sticky, ramping, seed=3)
    assert rewards > 10 and ends >= 40


@pytest.mark.slow
@pytest.mark.parametrize("game", IMMORTAL)
@pytest.mark.parametrize("ramping", [True, False])
def test_late_play_is_the_originals_for_100_000_steps(game: str, ramping: bool) -> None:
    assert play_both(game, 20, 5100, 0.1, ramping, seed=4, immortal=True)[0] > 100


def test_the_busiest_sea_is_the_originals() -> None:
    """An enemy comes in at nearly every step, and no table overflows: as many are alive at once as there may be."""
    original = Original("Seaquest", 6, 0.0, True, 5)
    batch, random, most = ours(original, 0.0, True), np.random.default_rng(5), 0
    for env in original.envs:
        env.env.e_spawn_speed, env.env.move_speed = 1, 2
    ones = torch.ones(6, dtype=torch.int64)
    batch.change(spawn_interval=ones, move_interval=2 * ones)
    for _ in range(300):
        actions = random.choice(6, 6, p=[0.1, 0.2, 0.15, 0.2, 0.15, 0.2])
        rewards, ends = original.step(actions)
        mine, terminated, _ = batch.step(torch.from_numpy(actions))
        assert mine.tolist() == rewards.tolist() and terminated.tolist() == ends.tolist()
        assert_alike(original, batch)
        most = max(most, int(batch.state.enemies.there.sum(1).max()))
        original.revive()
        batch.revive()
    assert 20 < most <= ENEMIES


def test_landing_six_divers_is_the_originals() -> None:
    """150 of 200 units of oxygen pay 7, and -1 divers are left, with whom the player may surface again."""
    original = Original("Seaquest", 1, 0.0, True, 6)
    batch, env, one = ours(original, 0.0, True), original.envs[0].env, torch.ones(1, dtype=torch.int64)
    env.diver_count, env.oxygen, env.sub_y, env.surface = 6, 150, 1, False
    batch.change(rescued=6 * one, oxygen=150 * one, y=one, surfaced=one == 0)
    seen = []
    for action in (2, 4, 2, 4, 2):
        rewards, ends = original.step(np.array([action]))
        mine, terminated, _ = batch.step(torch.tensor([action]))
        assert_alike(original, batch)
        assert (mine.item(), terminated.item()) == (rewards[0], ends[0])
        seen.append((int(rewards[0]), bool(ends[0]), int(batch.state.rescued)))
    assert seen == [(7, False, -1), (0, False, -1), (0, False, -2), (0, False, -2), (0, False, -3)]


def test_breakout_by_hand() -> None:
    """The ball falls along a diagonal, from the left to (6, 9) and from the right to (3, 9); the paddle walks two steps, from column 4."""
    game = GAMES["Breakout"]()
    state = game.begin(torch.tensor([[0.2], [0.7]]))
    assert state.x.tolist() == [0, 9] and state.dx.tolist() == [1, -1] and state.y.tolist() == [3, 3]
    for step in range(6):
        state, rewards, over = game.step(state, torch.tensor([3, 1] if step < 2 else [0, 0]), torch.zeros(2, 1))
        assert rewards.sum() == 0 and over.tolist() == [False, step == 5]
    # At the sixth step the ball is at (5, 8) and would go to (6, 9), the paddle's place but not the ball's: it flies straight back.
    assert (state.x[0], state.y[0], state.dx[0], state.dy[0]) == (6, 8, -1, -1)
    for _ in range(5):
        state, rewards, over = game.step(state, torch.tensor([0, 0]), torch.zeros(2, 1))
    assert rewards[0] == 1 and state.bricks[0].sum() == 29 and not state.bricks[0, 3, 1]


def test_things_off_the_board_are_not_drawn() -> None:
    drawn = board(torch.tensor([[0, 9, 3]]), torch.tensor([[-1, 10, 4]]), torch.ones(1, 3, dtype=torch.bool))
    assert drawn.nonzero().tolist() == [[0, 3, 4]]


@every_game
def test_a_step_is_traced_without_its_values(game: str) -> None:
    """Nothing depends on data but the data, so it can be compiled; the graph, traced from no numbers, gives the same ones."""
    rules = GAMES[game]()

    def step(state: Any, actions: torch.Tensor, draws: torch.Tensor) -> Any:
        after, rewards, over = rules.step(state, actions, draws)
        return after, rewards, over, rules.observe(after), rules.begin(draws)

    draws, actions = torch.rand(4, rules.draws), torch.tensor([0, 1, 2, 5])
    state = rules.begin(draws)
    state = chosen(torch.ones(4, dtype=torch.bool), state, state)  # fields that share a tensor would be traced as one
    traced = make_fx(step, tracing_mode="fake")(state, actions, draws)
    for _ in range(30):
        expected = step(state, actions, torch.rand(4, rules.draws))
        state = expected[0]
    draws = torch.rand(4, rules.draws)
    for one, other in zip(leaves(traced(state, actions, draws)), leaves(step(state, actions, draws)), strict=True):
        assert torch.equal(one, other)


def leaves(tree: Any) -> list[torch.Tensor]:
    return [tree] if isinstance(tree, torch.Tensor) else [leaf for part in tree for leaf in leaves(part)]
