"""Both emulators of Atari games, held to the same rules."""

import os

import numpy as np
import pytest

from envs.reinforcement.backends.ale import ale_atari
from envs.reinforcement.backends.atari_rules import AtariRules
from envs.reinforcement.backends.envpool import envpool_atari
from envs.reinforcement.backends.pool import Step
from envs.reinforcement.backends.spaces import Box, Discrete
from plasticity_rl.checks import UsageError
from tests.envs.reinforcement.playing import assert_same, at_random, play

RULES = {"sticky": 0.25, "full_actions": True, "noops": 30, "episode_frames": 108_000}
FIRE = 1


@pytest.fixture(params=[(envpool_atari, "pixels"), (ale_atari, "pixels"), (ale_atari, "ram")], ids=["envpool", "ale", "ale's ram"])
def atari(request):
    """A pool factory: of each backend in turn, and of ale-py's for the RAM."""
    make, observe = request.param
    return lambda game, seeds, threads=1, **rules: make(game, seeds, threads, AtariRules(**RULES | {"observe": observe} | rules))


@pytest.mark.parametrize(
    ("observe", "space"), [("pixels", Box((84, 84), "uint8")), ("ram", Box((128,))), ("ram-bits", Box((1024,)))], ids=str
)
def test_shapes_and_types(atari, observe, space):
    pool = atari("Breakout", [3, 5, 9], observe=observe)
    assert (pool.num_envs, pool.action_space, pool.observation_space) == (3, Discrete(18), space)
    opening = pool.reset()
    assert opening.first.all() and not opening.rewards.any()
    pool.send(np.zeros(3, dtype=np.int64))
    for step in (opening, pool.recv()):
        assert step.observations.shape == (3, *space.shape) and step.observations.dtype == space.dtype
        assert step.rewards.shape == (3,) and step.rewards.dtype == step.clipped_rewards.dtype == np.float32
        assert step.scores is step.rewards
        for flags in step[2:6]:
            assert flags.shape == (3,) and flags.dtype == bool
    assert not step.first.any()


def test_the_step_after_an_end_is_no_transition(atari):
    rules = {"episode_frames": 40, "sticky": 0.0}
    actions = at_random(24, 2)
    steps = play(atari("Breakout", [3, 5], **rules), actions)
    assert np.flatnonzero(steps.truncated[:, 0]).tolist() == np.flatnonzero(steps.truncated[:, 1]).tolist() == [10, 21]
    assert np.flatnonzero(steps.first.any(axis=1)).tolist() == [0, 11, 22]
    for dummy in (11, 22):
        assert steps.first[dummy].all() and not steps.rewards[dummy].any()
        assert not (steps.terminated | steps.truncated | steps.life_lost)[dummy].any()

    actions[10] = (actions[10] + 1) % 18  # the action that leads to row 11
    assert_same(play(atari("Breakout", [3, 5], **rules), actions), steps)
    actions[:10] = (actions[:10] + 1) % 18
    assert not np.array_equal(play(atari("Breakout", [3, 5], **rules), actions).observations, steps.observations)


def test_a_lost_life_ends_nothing(atari):
    steps = play(atari("Breakout", [3, 5, 9, 14]), np.full((200, 4), FIRE))
    for env in range(4):
        (over,) = np.flatnonzero(steps.terminated[:, env])[:1]
        assert steps.life_lost[:over, env].sum() == 4  # the fifth of five lives is the end
        assert not steps.first[1 : over + 1, env].any() and steps.first[over + 1, env]
    assert not (steps.life_lost & (steps.terminated | steps.first)).any()


def test_rewards_are_raw(atari):
    steps = play(atari("SpaceInvaders", [3, 5]), at_random(250, 2))
    paid = set(steps.rewards[steps.rewards != 0])
    assert paid and paid <= {5, 10, 15, 20, 25, 30, 200}
    assert set(steps.clipped_rewards[steps.rewards != 0]) == {1}


def test_resets_press_no_fire(atari):
    assert not play(atari("Breakout", [3, 5]), np.zeros((60, 2), dtype=int)).life_lost.any()  # the ball waits for FIRE


def test_no_ops(atari):
    def opening_frames(noops: int) -> int:
        return len(np.unique(atari("Qbert", range(7), noops=noops).reset().observations, axis=0))

    assert opening_frames(1) <= 2 < opening_frames(30)


def test_sticky_actions(atari):
    one, other = np.full((30, 2), 2), np.full((30, 2), 3)
    for sticky, alike in ((0.0, False), (1.0, True)):  # at 1.0, the initial action is repeated for ever
        observations = [play(atari("Breakout", [3, 5], sticky=sticky), actions).observations for actions in (one, other)]
        assert np.array_equal(*observations) == alike


def test_a_game_that_is_over_at_the_limit_has_terminated(atari):
    actions = np.full((200, 1), FIRE)
    (length,) = np.flatnonzero(play(atari("Breakout", [3]), actions).terminated)[:1]
    at_limit = play(atari("Breakout", [3], episode_frames=4 * int(length)), actions[:length])
    assert at_limit.terminated[-1] and not at_limit.truncated.any()
    before = play(atari("Breakout", [3], episode_frames=4 * int(length) - 4), actions[: length - 1])
    assert before.truncated[-1] and not before.terminated.any()


def test_a_trajectory_depends_on_seed_and_actions_alone(atari):
    actions = at_random(60, 3)
    rules = {"episode_frames": 100}
    steps = play(atari("Breakout", [3, 4, 2**31 - 2], **rules), actions)
    assert_same(play(atari("Breakout", [3, 4, 2**31 - 2], threads=3, **rules), actions), steps)
    swapped = [2, 0, 1]
    moved = play(atari("Breakout", [2**31 - 2, 3, 4], threads=2, **rules), actions[:, swapped])
    assert_same(Step(*(values[:, [1, 2, 0]] for values in moved)), steps)


def test_environments_with_neighbouring_seeds_differ(atari):
    pool = atari("Breakout", [0, 1, 2, 3])
    steps = play(pool, np.repeat(at_random(60, 1), 4, axis=1))
    for one in range(4):
        for other in range(one):
            assert not np.array_equal(steps.observations[-1, one], steps.observations[-1, other])


def test_answers_stay_as_they_are(atari):
    pool = atari("Breakout", [3, 5])
    actions = at_random(10, 2)
    kept, copies = [pool.reset()], []
    for row in actions:
        copies.append([values.copy() for values in kept[-1]])
        pool.send(row)
        kept.append(pool.recv())
    for step, copy in zip(kept, copies, strict=False):
        assert_same(step, Step(*copy))


@pytest.mark.parametrize("sticky", [0.0, 0.25])
def test_backends_play_the_same_game(sticky):
    """These seeds give ale-py one no-op, too. Then everything agrees until the first episode ends, and so do the resets."""
    seeds, actions = [100, 101, 102, 109, 111, 113], at_random(332, 6)
    rules = RULES | {"sticky": sticky, "noops": 1, "episode_frames": 4 * 330}
    one, other = (play(make("Qbert", seeds, 2, AtariRules(**rules)), actions) for make in (envpool_atari, ale_atari))
    for env in range(6):
        (end,) = np.flatnonzero((one.terminated | one.truncated)[:, env])[:1]
        np.testing.assert_array_equal(one.observations[:end, env], other.observations[:end, env])
        for name in ("rewards", "terminated", "truncated", "life_lost", "first"):
            np.testing.assert_array_equal(getattr(one, name)[: end + 2, env], getattr(other, name)[: end + 2, env], err_msg=name)
    for seen in (one.rewards, one.terminated, one.truncated, one.life_lost):
        assert seen.any()


@pytest.mark.parametrize("sticky", [0.0, 0.25])
def test_backends_have_the_same_ram(sticky):
    """Everything agrees, later episodes too: with one no-op, only ale-py's own sticky actions are random."""
    rules = RULES | {"sticky": sticky, "noops": 1, "episode_frames": 4 * 330, "observe": "ram"}
    one, other = (play(make("Qbert", [100, 5, 7], 2, AtariRules(**rules)), at_random(700, 3)) for make in (envpool_atari, ale_atari))
    assert_same(one, other)
    for seen in (one.rewards, one.terminated, one.truncated, one.life_lost, one.first[1:]):
        assert seen.any()


def test_an_observed_ram_changes_nothing_else():
    """EnvPool's, hence ale-py's, which agrees in images and RAM."""
    rules = RULES | {"episode_frames": 400}
    actions = at_random(250, 2)
    pixels, ram = (
        play(envpool_atari("Breakout", [3, 5], 1, AtariRules(**rules, observe=observe)), actions) for observe in ("pixels", "ram")
    )
    assert_same(ram._replace(observations=pixels.observations), pixels)
    for seen in (pixels.rewards, pixels.terminated | pixels.truncated, pixels.life_lost):
        assert seen.any()


def test_encodings_of_the_ram(atari):
    """Three bytes by hand; and all a game's outputs come from the same RAM."""
    ram = np.array([[0, 255, 5]], np.uint8)
    bytes_, bits = (AtariRules(**RULES, observe=observe).read(ram) for observe in ("ram", "ram-bits"))
    np.testing.assert_allclose(bytes_, [[-1, 1, 5 / 127.5 - 1]], atol=1e-7)
    assert bits.tolist() == [[0.0] * 8 + [1.0] * 8 + [0.0] * 5 + [1.0, 0.0, 1.0]]
    actions = at_random(60, 2)
    bytes_, bits = (play(atari("Breakout", [3, 5], observe=observe), actions).observations for observe in ("ram", "ram-bits"))
    values = bits.reshape(61, 2, 128, 8) @ [128, 64, 32, 16, 8, 4, 2, 1]
    np.testing.assert_allclose(bytes_, values / 127.5 - 1, atol=1e-6)
    assert len(np.unique(values)) > 20 and bytes_.dtype == bits.dtype == np.float32


def test_ales_no_ops_are_drawn_from_the_seed_alone():
    """Twenty no-op counts between 1 and 3, identical alone and beside others."""
    rules = AtariRules(**RULES | {"noops": 3, "observe": "ram", "sticky": 0.0})
    openings = ale_atari("Qbert", range(20), 1, rules).reset().observations
    assert len(np.unique(openings, axis=0)) == 3
    np.testing.assert_array_equal(ale_atari("Qbert", [7], 1, rules).reset().observations[0], openings[7])


@pytest.mark.parametrize(("game", "minimal"), [("Pong", 6), ("Breakout", 4), ("Skiing", 3)])
def test_action_sets(atari, game, minimal):
    assert atari(game, [3]).action_space == Discrete(18)
    assert atari(game, [3], full_actions=False).action_space == Discrete(minimal)


def test_skiing_takes_all_actions_though_it_knows_no_fire(atari):
    joystick = np.tile(np.arange(2, 10).repeat(4)[:, None], (1, 2))
    rules = {"sticky": 0.0, "noops": 1}
    steps = play(atari("Skiing", [3, 5], **rules), joystick)
    assert_same(play(atari("Skiing", [3, 5], **rules), joystick + 8), steps)  # UP ... DOWNLEFT, then each with FIRE
    assert_same(
        play(atari("Skiing", [3, 5], **rules), np.full((32, 2), FIRE)), play(atari("Skiing", [3, 5], **rules), np.zeros((32, 2), int))
    )
    assert not np.array_equal(play(atari("Skiing", [3, 5], **rules), np.roll(joystick, 8, axis=0)).observations, steps.observations)


def test_colour(atari):
    """Colour is as bright as grey: ALE's grey is the luma, and shrinking keeps the mean. test_base.py compares trajectories."""
    looks = {"observe": "pixels", "colour": False}, {"colour": True}
    grey, colour = (play(atari("Breakout", [3, 5], noops=1, **look), at_random(60, 2)).observations for look in looks)
    assert colour.shape == (61, 2, 210, 160, 3) and colour.dtype == np.uint8
    assert (colour[..., 0] != colour[..., 2]).any()
    np.testing.assert_allclose(grey.mean(axis=(2, 3)), colour.mean(axis=(2, 3)) @ [0.2989, 0.5870, 0.1140], atol=0.6)


@pytest.mark.parametrize(
    ("game", "switches"),
    [("Freeway", {"mode": 1}), ("Freeway", {"mode": 1, "difficulty": 1}), ("Pong", {"difficulty": 1}), ("Pong", {"mode": 1})],
    ids=str,
)
def test_modes_and_difficulties(game, switches):
    """The defaults are 0 in both games. A choice shows within fifty steps, and after a reset again."""
    rules = {"episode_frames": 200, "sticky": 0.0, "noops": 1}

    def seen(**switches: int) -> Step:
        return play(envpool_atari(game, [3], 1, AtariRules(**RULES | rules | switches)), np.full((101, 1), 2))

    default, other = seen(), seen(**switches)
    assert_same(seen(mode=0, difficulty=0), default)
    for opening in (0, 51):
        assert default.first[opening] and other.first[opening]
        assert not np.array_equal(other.observations[opening : opening + 50], default.observations[opening : opening + 50])


def test_close_ends_the_threads(atari):
    counts = []
    for _ in range(4):
        pool = atari("Breakout", [3, 5, 9], threads=3)
        pool.reset()
        pool.send(np.zeros(3, dtype=int))
        pool.close()
        counts.append(len(os.listdir("/proc/self/task")))
    assert counts[-1] <= counts[0]  # threads may take time to end; the first pool of a process also starts threads that stay


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"noops": 0}, "noops must be at least 1"),
        ({"noops": -3}, "noops must be at least 1"),
        ({"sticky": 1.5}, r"sticky must lie in \[0, 1\]"),
        ({"sticky": -0.1}, r"sticky must lie in \[0, 1\]"),
        ({"sticky": float("nan")}, r"sticky must lie in \[0, 1\]"),
        ({"episode_frames": 0}, "episode_frames must be a positive multiple of 4"),
        ({"episode_frames": 30}, "episode_frames must be a positive multiple of 4"),
        ({"episode_frames": -4}, "episode_frames must be a positive multiple of 4"),
        ({"seeds": []}, "seeds must be a list of integers"),
        ({"seeds": [[1, 2]]}, "seeds must be a list of integers"),
        ({"seeds": 7}, "seeds must be a list of integers"),
        ({"seeds": [1.0, 2.0]}, "seeds must be a list of integers"),
        ({"seeds": [1, 2, 1]}, "seeds must be distinct"),
        ({"seeds": [-1, 2]}, r"seeds must lie in \[0, 2147483647\)"),
        ({"seeds": [2**31 - 1]}, r"seeds must lie in \[0, 2147483647\)"),
        ({"seeds": [2**40]}, r"seeds must lie in \[0, 2147483647\)"),
        ({"threads": 0}, "threads must be a whole number of at least 1"),
        ({"threads": 1.0}, "threads must be a whole number of at least 1"),
        ({"threads": True}, "threads must be a whole number of at least 1"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(atari, changed, message):
    with pytest.raises(UsageError, match=message):
        atari("Breakout", **{"seeds": [1, 2]} | changed)
