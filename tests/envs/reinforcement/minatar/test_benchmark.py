"""The benchmark of MinAtar's games: pools, channels, order, step limit, words."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from envs.reinforcement.minatar.benchmark import GAMES, MinAtar
from envs.reinforcement.minatar.games import GAMES as RULES
from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from tests.envs.reinforcement.playing import assert_same, at_random, play
from tests.training import resumed_is_never_stopped

SEEDS = np.array([[3, 5], [9, 14]])


def test_what_is_known_without_the_rules_is_theirs() -> None:
    assert set(GAMES) == set(RULES)
    for game, facts in GAMES.items():
        assert facts.channels == len(RULES[game].channels) and facts.actions == RULES[game].minimal


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"games": ("Pong",)}, "unknown game 'Pong'"),
        ({"games": ()}, "games must name at least one"),
        ({"games": ("Asterix", "Asterix")}, "games must be distinct; use cycles to repeat them"),
        ({"games": ("Asterix", "Breakout"), "full_actions": False}, "several games need full_actions=true"),
        ({"games": ("Asterix", "Freeway"), "channels": 6}, "channels must be at least 7, those of Asterix+Freeway, not 6"),
        ({"told": False, "heads": "per-task"}, "heads=per-task tells the learner its task"),
        ({"sticky": 1.5}, "sticky must lie in [0, 1], not 1.5"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields: Any, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        MinAtar(**fields)
    assert str(raised.value).startswith(f"MinAtar: {message}")


@pytest.mark.parametrize("game", GAMES)
def test_pools_with_the_same_seeds_are_equal_and_others_are_not(game: str) -> None:
    benchmark = MinAtar(games=(game,))
    visit, actions = benchmark.visits()[0], at_random(150, 4, 6)
    one, same, others = (play(benchmark.pool(visit, seeds, 1, 0), actions) for seeds in (SEEDS, SEEDS, SEEDS + 100))
    assert_same(one, same)
    assert not np.array_equal(one.observations, others.observations)
    alone = play(benchmark.pool(visit, SEEDS[1:, :1], 1, 0), actions[:, 2:3])
    for many, single in zip(one, alone, strict=True):
        np.testing.assert_array_equal(many[:, 2:3], single)


def test_an_episode_ends_its_game_and_the_next_step_begins_another() -> None:
    benchmark = MinAtar()
    steps = play(benchmark.pool(benchmark.visits()[0], SEEDS, 1, 0), at_random(60, 4, 6))
    assert steps.terminated.sum() > 4 and not steps.truncated.any() and not steps.life_lost.any()
    np.testing.assert_array_equal(steps.first[1:], steps.terminated[:-1])
    assert (steps.rewards[steps.first] == 0).all() and set(np.unique(steps.observations)) == {0, 255}
    ball = steps.observations[steps.first][:, 1]
    assert (ball[:, 3, [0, 9]].sum(1) == 255).all() and (ball.sum((1, 2)) == 255).all()  # each episode's ball is in a corner


def test_the_step_limit_truncates() -> None:
    benchmark = MinAtar(games=("Freeway",), episode_steps=7)
    steps = play(benchmark.pool(benchmark.visits()[0], SEEDS, 1, 0), at_random(20, 4, 6))
    assert np.flatnonzero(steps.truncated.all(1)).tolist() == [7, 15] and steps.truncated.any(1).sum() == 2
    assert np.flatnonzero(steps.first.all(1)).tolist() == [0, 8, 16] and not steps.terminated.any()


def test_channels_are_padded_and_change_places_for_each_member_and_visit() -> None:
    games, actions = ("Asterix", "Freeway"), at_random(60, 4, 6)
    plain, permuted = MinAtar(games=games, channels=10, cycles=2), MinAtar(games=games, channels=10, cycles=2, permute=True)
    assert MinAtar(games=games).inputs == (7, 10, 10) and plain.inputs == (10, 10, 10)
    seen = set()
    for visit in plain.visits():
        steps, moved = (play(each.pool(visit, SEEDS, 1, 7), actions) for each in (plain, permuted))
        assert not steps.observations[:, :, GAMES[visit.task].channels :].any()
        for member in range(2):
            places = permuted.places(visit, 7, member)
            assert sorted(places) == list(range(10))
            seen.add(tuple(places))
            for env in (2 * member, 2 * member + 1):
                np.testing.assert_array_equal(moved.observations[:, env], steps.observations[:, env, places])
    assert len(seen) == 8


def test_a_game_of_its_own_actions_plays_them() -> None:
    for game, facts in GAMES.items():
        few, full = MinAtar(games=(game,), full_actions=False), MinAtar(games=(game,))
        chosen = at_random(60, 4, few.action_space.n)
        assert few.action_space.n == len(facts.actions)
        steps = (play(each.pool(each.visits()[0], SEEDS, 1, 0), a) for each, a in ((few, chosen), (full, np.array(facts.actions)[chosen])))
        assert_same(*steps)


def test_games_change_places_after_the_first_cycle() -> None:
    visits = MinAtar(games=tuple(GAMES), cycles=6, shuffle=True).visits()
    orders = [tuple(visit.task for visit in visits[5 * cycle : 5 * cycle + 5]) for cycle in range(6)]
    assert orders[0] == tuple(GAMES) and len(set(orders)) == 6 and all(sorted(order) == sorted(GAMES) for order in orders)
    assert [(visit.index, visit.cycle) for visit in visits] == [(index, index // 5) for index in range(30)]
    assert MinAtar(games=tuple(GAMES), cycles=6, shuffle=True).visits() == visits


def test_images_show_where_things_are() -> None:
    benchmark = MinAtar(games=("SpaceInvaders",))
    visit = benchmark.visits()[0]
    image = benchmark.render_pool(visit, SEEDS, 1, 0).reset().observations[0]
    board = benchmark.pool(visit, SEEDS, 1, 0).reset().observations[0]
    assert image.shape == (160, 160, 3)
    cells = image.reshape(10, 16, 10, 16, 3)
    assert (cells == cells[:, :1, :, :1]).all()
    np.testing.assert_array_equal(cells[:, 0, :, 0].any(-1), board.any(0))
    assert len(np.unique(image.reshape(-1, 3), axis=0)) == 3  # nothing, the cannon, aliens


def test_scores_of_random_play_are_known_for_the_papers_rules() -> None:
    """Four standard errors of two hundred first episodes; Freeway's are too long to be played here."""
    random = np.random.default_rng(1)
    for game in ("Asterix", "Breakout", "Seaquest", "SpaceInvaders"):
        benchmark = MinAtar(games=(game,))
        pool = benchmark.pool(benchmark.visits()[0], np.arange(200)[None], 1, 0)
        returns, going = pool.reset().rewards, np.ones(200, bool)
        while going.any():
            pool.send(random.integers(6, size=200))
            step = pool.recv()
            returns, going = returns + step.rewards * going, going & ~step.terminated
        assert returns.mean() == pytest.approx(GAMES[game].random, abs=4 * float(returns.std()) / 200**0.5), game
    assert MinAtar().references() == {"Breakout": {"random": GAMES["Breakout"].random}}
    assert MinAtar(sticky=0.0).references() == MinAtar(episode_steps=None).references() == {}


def test_fingerprints() -> None:
    changed = [MinAtar(games=("Asterix",)), MinAtar(frames=30), MinAtar(cycles=2), MinAtar(sticky=0.0), MinAtar(ramping=False)]
    changed += [MinAtar(full_actions=False), MinAtar(channels=10), MinAtar(permute=True), MinAtar(shuffle=True), MinAtar(told=False)]
    changed += [MinAtar(episode_steps=None), MinAtar(heads="per-task"), MinAtar()]
    prints = {each.fingerprint(0, 2) for each in changed} | {MinAtar().fingerprint(1, 2), MinAtar().fingerprint(0, 3)}
    assert len(prints) == len(changed) + 2 == len(dataclasses.fields(MinAtar)) + 3


def test_equal_seeds_are_refused() -> None:
    with pytest.raises(UsageError, match="seeds must be distinct"):
        MinAtar().pool(MinAtar().visits()[0], np.array([[3, 3]]), 1, 0)


def test_words() -> None:
    plain: Any = experiment({"benchmark": "minatar"})
    assert type(plain.network).__name__ == "MinAtarCNN" and plain.network.width == 128
    assert (plain.agent.train_every, plain.agent.replay, plain.agent.rewards) == (1, 100_000, "raw")
    pqn: Any = experiment({"benchmark": "minatar", "agent": "pqn"})
    assert (type(pqn.network).__name__, pqn.network.norm) == ("MinAtarCNN", "layer")
    chain: Any = experiment({"benchmark": "c-chain-minatar"})
    assert chain.benchmark.names == ("SpaceInvaders", "Asterix", "Seaquest") and chain.benchmark.inputs == (10, 10, 10)
    assert {(visit.budget, visit.told) for visit in chain.benchmark.visits()} == {(2_000_000, False)}
    assert chain.agent.double and chain.agent.exploration_fraction * 6e6 == pytest.approx(100_000, rel=1e-4) and chain.schedule.rate == 3e-4
    nap: Any = experiment({"benchmark": "nap-minatar"})
    assert len(nap.benchmark.visits()) == 80 and nap.benchmark.frames == 58 * 2048 * 128
    assert nap.benchmark.inputs == (10, 10, 10) and nap.agent.num_envs * nap.agent.rollout_length // nap.agent.minibatches == 2048


def test_a_resumed_run_is_one_that_was_never_stopped() -> None:
    words = {"agent": "dqn:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10", "checkpoint_every": 60, "diagnose_every": 20}
    words |= {"benchmark": "minatar:games=Breakout+Freeway,frames=120,permute=true,episode_steps=30", "members": 2}
    resumed_is_never_stopped(words | {"network": "minatar-cnn:width=16"})


def test_games_are_not_compiled_on_a_processor() -> None:
    """Seaquest would warn that it cannot be, which fails here."""
    benchmark = MinAtar(games=("Seaquest",))
    pool = benchmark.device_pool(benchmark.visits()[0], SEEDS, 0, None, "cpu", compile=True)
    pool.reset()
    assert pool.step(torch.zeros(4, dtype=torch.int64)).observations.shape == (4, 10, 10, 10)
