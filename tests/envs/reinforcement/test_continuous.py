"""Environments with continuous actions behind the layer: MuJoCo, DeepMind Control, Gymnasium."""

import functools
import math
from typing import Any

import envpool
import gymnasium
import numpy as np
import pytest

from envs.reinforcement.backends.pool import Pool
from envs.reinforcement.backends.spaces import Box
from envs.reinforcement.envpool import EnvPool
from envs.reinforcement.gymnasium import Gymnasium
from envs.reinforcement.ids import Ids
from envs.reinforcement.isolation import IsolatedPool
from tests.envs.reinforcement.playing import assert_same, boxes, play

SEEDS = np.array([[3, 5], [9, 14]])
SHORT = ("max_episode_steps=60",)
CHEETAH, WALKER = EnvPool(ids=("HalfCheetah-v4",), kwargs=SHORT), EnvPool(ids=("WalkerWalk-v1",), kwargs=SHORT)
PENDULUM = Gymnasium(ids=("Pendulum-v1",), kwargs=SHORT)


def opened(benchmark: Ids, visit: int = 0, threads: int = 1) -> Pool:
    return benchmark.pool(benchmark.visits()[visit], SEEDS, threads, 7)


def raw(env_id: str, actions: np.ndarray) -> list[Any]:
    """EnvPool's own steps, for actions within its bounds."""
    envs: Any = envpool.make(env_id, env_type="gymnasium", num_envs=4, batch_size=4, num_threads=1, seed=SEEDS.reshape(-1).tolist())
    envs.async_reset()
    steps = [envs.recv()]
    for row in actions:
        envs.send(row)
        steps.append(envs.recv())
    return steps


@pytest.mark.parametrize("benchmark", [CHEETAH, WALKER, PENDULUM], ids=lambda each: each.ids[0])
def test_a_trajectory_depends_on_seeds_and_actions_alone(benchmark):
    """Not on threads, nor on what was played before; equal to the last bit, across an episode's end."""
    actions = boxes(130, 4, benchmark.action_space.size)
    one = play(opened(benchmark), actions)
    assert_same(play(opened(benchmark, threads=3), actions), one)
    assert one.truncated.any() and not one.rewards[one.first].any() and one.observations.dtype == one.rewards.dtype == np.float32
    other = play(opened(benchmark), actions[:20] * np.float32(0.5))
    assert not np.array_equal(other.observations[5], one.observations[5])


def test_the_cheetah_runs_as_envpools_own():
    assert (CHEETAH.observation_space, CHEETAH.action_space) == (Box((17,)), Box((6,), low=-1, high=1))
    actions = boxes(40, 4, 6)
    steps = play(opened(CHEETAH), actions)
    for at, (observations, rewards, *_) in enumerate(raw("HalfCheetah-v4", actions.astype(float))):
        np.testing.assert_array_equal(steps.observations[at], observations.astype(np.float32))
        np.testing.assert_array_equal(steps.rewards[at], rewards)


def test_three_tasks_of_one_body():
    tasks = EnvPool(ids=("WalkerStand-v1", "WalkerWalk-v1", "WalkerRun-v1"))
    assert (tasks.observation_space, tasks.action_space, tasks.num_actions) == (Box((24,)), Box((6,), low=-1, high=1), ())
    actions = boxes(20, 4, 6)
    stand, walk, run = (play(opened(tasks, visit), actions) for visit in range(3))
    np.testing.assert_array_equal(stand.observations, walk.observations)  # one body, moved alike
    np.testing.assert_array_equal(walk.observations, run.observations)
    assert (stand.rewards[1:] > walk.rewards[1:]).any() and (walk.rewards[1:] > run.rewards[1:]).any()  # rewarded otherwise
    first, *_ = raw("WalkerWalk-v1", np.zeros((0, 4, 6)))[0]
    parts = np.hstack([first["orientations"], first["height"][:, None], first["velocity"]])
    np.testing.assert_array_equal(walk.observations[0], parts.astype(np.float32))


def test_bounds_that_differ_between_components():
    """Ranges of the quadruped's motors are 1, 1.1 on one side, and 0.8: so zero for all of ours is not zero for all of its own."""
    tasks = EnvPool(ids=("QuadrupedWalk-v1",), observe=("egocentric_state",))
    actions = boxes(10, 4, 12)
    actions[:2] = np.float32([1, -1])[:, None, None]
    low, high = np.tile([-1, -1, -0.8], 4), np.tile([1, 1.1, 0.8], 4)
    steps = play(opened(tasks), actions)
    for at, (observations, *_) in enumerate(raw("QuadrupedWalk-v1", low + (actions.astype(float) + 1) / 2 * (high - low))):
        np.testing.assert_array_equal(steps.observations[at], observations["egocentric_state"].astype(np.float32))


@pytest.mark.parametrize("torque", [0.0, 0.5, 1.0])
def test_envpools_pendulum_obeys_gymnasiums_equation(torque):
    """Gymnasium repeats every step from the state before it; EnvPool computes in another precision."""
    steps = play(opened(EnvPool(ids=("Pendulum-v1",))), np.full((60, 4, 1), torque, np.float32))
    theirs: Any = gymnasium.make("Pendulum-v1").unwrapped
    theirs.reset(seed=0)
    for at, env in np.ndindex(60, 4):
        cosine, sine, speed = steps.observations[at, env].astype(float)
        theirs.state = np.array([math.atan2(sine, cosine), speed])
        observation, reward, *_ = theirs.step(np.array([2 * torque]))
        np.testing.assert_allclose(steps.observations[at + 1, env], observation, atol=2e-5)
        assert steps.rewards[at + 1, env] == pytest.approx(reward, abs=2e-5)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.full((4, 6), np.nan), "actions must be finite and lie in [-1, 1], not in [nan, nan]"),
        (np.full((4, 6), 1.01), "actions must be finite and lie in [-1, 1], not in [1.01, 1.01]"),
        (np.zeros((4, 5)), "actions must be float32 of shape (4, 6), not float64 of shape (4, 5)"),
        (np.zeros(4, int), "actions must be float32 of shape (4, 6), not int64 of shape (4,)"),
    ],
    ids=str,
)
def test_bad_actions_never_reach_the_simulator(actions, message):
    pool = opened(CHEETAH)
    pool.reset()
    with pytest.raises(ValueError) as raised:
        pool.send(actions)
    assert str(raised.value) == message
    pool.send(np.zeros((4, 6)))
    assert np.isfinite(pool.recv().observations).all()


def test_shifts_of_continuous_actions():
    tasks = EnvPool(ids=("HalfCheetah-v4",), shifts=("relabel", "offset"), tasks=3)
    actions = boxes(15, 4, 6)
    own = [tasks.drawn(7, member, 3, 17, 6)[1] for member in (0, 0, 1, 1)]
    meant = np.zeros_like(actions)
    for env, shift in enumerate(own):
        for ours, theirs in enumerate(shift.actions):
            meant[:, env, theirs] = actions[:, env, ours]
    shifted, plain = play(opened(tasks, 1), actions), play(opened(CHEETAH), meant)
    for env, shift in enumerate(own):
        np.testing.assert_array_equal(shifted.observations[:, env], plain.observations[:, env] + shift.offset)
    np.testing.assert_array_equal(shifted.rewards, plain.rewards)
    assert sorted(own[0].actions) == list(range(6)) and not np.array_equal(own[0].actions, own[2].actions)
    assert EnvPool(ids=("HalfCheetah-v4",), shifts=("relabel",), tasks=720).tasks_alike  # 6! orders


@pytest.mark.process
def test_a_process_of_its_own_plays_the_same():
    actions = boxes(20, 4, 6)
    pool = IsolatedPool(functools.partial(opened, CHEETAH))
    try:
        assert_same(play(pool, actions), play(opened(CHEETAH), actions))
        with pytest.raises(ValueError, match=r"lie in \[-1, 1\]"):
            pool.send(np.full((4, 6), 2.0))
    finally:
        pool.close()
