"""EnvPool's control problems. Its Atari games are in test_atari_rules.py, Procgen is in test_procgen.py."""

import math

import numpy as np
import pytest

from envs.reinforcement.backends.envpool import envpool_control
from envs.reinforcement.backends.spaces import Box, Discrete
from tests.envs.reinforcement.playing import assert_same, at_random, play


def test_cartpole():
    pool = envpool_control("CartPole-v1", [3, 5, 9], 2)
    assert (pool.num_envs, pool.action_space, pool.observation_space) == (3, Discrete(2), Box((4,)))
    pushed = play(pool, np.zeros((60, 3), dtype=int))
    assert pushed.observations.dtype == pushed.rewards.dtype == np.float32
    assert pushed.terminated.any() and not (pushed.truncated | pushed.life_lost).any()
    np.testing.assert_array_equal(pushed.first[1:], pushed.terminated[:-1])
    np.testing.assert_array_equal(pushed.rewards, ~pushed.first)


def test_cartpole_is_truncated_after_500_steps():
    pool = envpool_control("CartPole-v1", np.arange(20), 1)
    step = pool.reset()
    for _ in range(500):
        assert not (step.terminated | step.truncated).any()
        pool.send((step.observations @ [0.1, 0.3, 1, 0.5] > 0).astype(int))  # push towards where the pole falls
        step = pool.recv()
    assert step.truncated.all() and not step.terminated.any()


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1"])
def test_control_problems_move_as_gymnasiums(name):
    """Gymnasium repeats every step from the state before it."""
    import gymnasium

    pool, theirs = envpool_control(name, [3, 5, 9], 1), gymnasium.make(name).unwrapped
    theirs.reset(seed=0)
    steps = play(pool, actions := at_random(60, 3, pool.action_space.n))
    ends = 0
    for row, env in np.ndindex(60, 3):
        before = steps.observations[row, env].astype(float)
        if name == "Acrobot-v1":  # it observes cosines and sines of the two angles
            before = np.array([math.atan2(before[1], before[0]), math.atan2(before[3], before[2]), *before[4:]])
        if steps.first[row + 1, env]:
            theirs.reset()
            continue
        theirs.state = before
        observation, reward, over, _, _ = theirs.step(actions[row, env])
        np.testing.assert_allclose(steps.observations[row + 1, env], observation, atol=1e-5)
        assert (steps.rewards[row + 1, env], steps.terminated[row + 1, env]) == (reward, over)
        ends += over
    assert ends >= 3 or name == "Acrobot-v1"


def test_acrobot():
    """Pumped along its swing, the tip arrives; released, it does not."""
    pool = envpool_control("Acrobot-v1", [3, 5, 9], 1)
    step, total = pool.reset(), 0
    while not step.terminated[0]:
        pool.send(np.where(step.observations[:, 4] + step.observations[:, 5] > 0, 2, 0))
        step = pool.recv()
        assert step.rewards[0] == step.terminated[0] - 1
        total += 1
    assert 40 < total < 400
    idle = play(envpool_control("Acrobot-v1", [3, 5, 9], 1), np.ones((501, 3), dtype=int))
    assert idle.truncated[500].all() and idle.first[501].all() and idle.rewards.sum() == -1500
    assert not idle.truncated[:500].any() and not idle.terminated.any()


def test_lunar_lander_can_be_landed():
    """Gymnasium's proportional-derivative controller solves it: above 200."""
    pool = envpool_control("LunarLander-v3", np.arange(40), 1)
    step, returns, over = pool.reset(), np.zeros(40), np.zeros(40, dtype=bool)
    for _ in range(600):
        x, height, sideways, rise, angle, spin, left, right = step.observations.T
        landed = (left > 0) | (right > 0)
        turn = np.where(landed, 0, (np.clip(0.5 * x + sideways, -0.4, 0.4) - angle) * 0.5 - spin)
        lift = np.where(landed, -0.5 * rise, (0.55 * np.abs(x) - height) * 0.5 - rise * 0.5)
        main = (lift > np.abs(turn)) & (lift > 0.05)
        pool.send(np.where(main, 2, np.where(turn < -0.05, 3, np.where(turn > 0.05, 1, 0))))
        step = pool.recv()
        returns += np.where(over, 0, step.rewards)
        over |= step.terminated
    assert step.observations.dtype == np.float32 and over.mean() > 0.9
    assert np.mean(returns[over]) > 200 and (np.abs(returns) < 400).all()


def test_catch_can_be_played():
    pool = envpool_control("Catch-v0", np.arange(20), 1)
    assert (pool.action_space, pool.observation_space) == (Discrete(3), Box((50,)))
    step = pool.reset()
    for number in range(1, 31):
        board = step.observations.reshape(20, 10, 5)
        ball, paddle = board[:, :9].any(axis=1).argmax(1), board[:, 9].argmax(1)
        pool.send(np.sign(ball - paddle) + 1)
        step = pool.recv()
        assert (step.terminated == (number % 10 == 9)).all() and (step.first == (number % 10 == 0)).all()
        assert (step.rewards == step.terminated).all() and not step.truncated.any()


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1", "LunarLander-v3", "Catch-v0"])
def test_the_step_after_a_control_problems_end_is_no_transition(name):
    pool = envpool_control(name, [3, 5], 1)
    actions = at_random(520, 2, pool.action_space.n)
    steps = play(pool, actions)
    assert steps.first[1:].any() and not steps.rewards[steps.first].any()
    changed = np.where(steps.first[1:], (actions + 1) % pool.action_space.n, actions)
    assert_same(play(envpool_control(name, [3, 5], 1), changed), steps)
