from typing import Any

import envpool
import numpy as np
import pytest

from envs.reinforcement.backends.spaces import Box, Discrete
from envs.reinforcement.envpool import EnvPool
from plasticity_rl.checks import UsageError
from tests.envs.reinforcement.playing import at_random, play

SEEDS = np.array([[3, 5], [9, 14]])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"ids": ("Jumanji/Tetris-v0",)},
            "envpool: Jumanji/Tetris-v0 takes Box(0, [3 9], (2,), int32), and agents here choose one of n actions or a vector of floats",
        ),
        (
            {"ids": ("TakeCover-v1",)},
            "envpool: TakeCover-v1 takes Box(2.2250738585072014e-308, 1.7976931348623157e+308, (2,), float64)",
        ),
        (
            {"ids": ("HalfCheetah-v4", "Ant-v4"), "pad": True},
            "envpool: Ant-v4 has observations of 27 (float32) and 8 continuous actions, HalfCheetah-v4 observations of 17 (float32)",
        ),
        (
            {"ids": ("CartPole-v1", "InvertedPendulum-v4"), "pad": True},
            "envpool: InvertedPendulum-v4 has observations of 4 (float32) and 1 continuous actions, CartPole-v1 observations of 4",
        ),
        ({"ids": ("MiniGrid-Empty-5x5",)}, "envpool: unknown id 'MiniGrid-Empty-5x5'; did you mean MiniGrid-Empty-5x5-v0?"),
        ({"kwargs": ("sizes=4",)}, "envpool: MiniGrid-Empty-5x5-v0 cannot be made: Config.__new__() got an unexpected keyword argument"),
        ({"observe": ("images",)}, "unknown part of the observations of MiniGrid-Empty-5x5-v0 'images'; did you mean image?"),
        ({"ids": ("Blackjack-v1",), "observe": ("image",)}, "envpool: observe names parts of a Dict, and Blackjack-v1 observes Box("),
        (
            {"ids": ("Jumanji/Snake-v1",)},
            "Jumanji/Snake-v1: step_count observes Discrete(4000), too many values for a one-hot code; obs",
        ),
        (
            {"ids": ("Blackjack-v1", "Taxi-v3")},
            "envpool: Taxi-v3 has observations of 500 (float32) and 6 actions, Blackjack-v1 obs",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        EnvPool(**fields)
    assert str(raised.value).startswith(message) and "\n" not in str(raised.value)


def raw(env_id: str, actions: np.ndarray, **options: Any) -> list[Any]:
    """EnvPool's own steps."""
    envs: Any = envpool.make(
        env_id, env_type="gymnasium", num_envs=4, batch_size=4, num_threads=1, seed=SEEDS.reshape(-1).tolist(), **options
    )
    envs.async_reset()
    steps = [envs.recv()]
    for row in actions:
        envs.send(row.astype(np.int32))
        steps.append(envs.recv())
    return steps


def test_parts_of_a_dict_become_one_vector():
    tasks = EnvPool(
        ids=("MiniGrid-Empty-5x5-v0", "MiniGrid-DoorKey-5x5-v0"), observe=("image", "direction"), kwargs=("max_episode_steps=9",)
    )
    assert (tasks.observation_space, tasks.action_space) == (Box((7 * 7 * 3 + 4,)), Discrete(7)) and tasks.names == tasks.ids
    actions = at_random(30, 4, 7)
    for visit in tasks.visits():
        steps = play(tasks.pool(visit, SEEDS, 1, 0), actions)
        for at, (observations, rewards, terminated, truncated, _) in enumerate(raw(visit.task, actions, max_episode_steps=9)):
            codes = [[float(value == direction) for value in range(4)] for direction in observations["direction"]]
            np.testing.assert_array_equal(steps.observations[at], np.hstack([observations["image"].reshape(4, -1), codes]))
            np.testing.assert_array_equal(steps.rewards[at], rewards)
            np.testing.assert_array_equal(steps.terminated[at] | steps.truncated[at], terminated | truncated)
        assert steps.truncated.any() and np.argmax(steps.truncated[:, 0]) == 9


def test_discrete_observations_and_boxes():
    tasks = EnvPool(ids=("Blackjack-v1", "Taxi-v3"), pad=True)
    assert (tasks.observation_space, tasks.action_space) == (Box((500,)), Discrete(6))
    actions = at_random(20, 4, 6)
    cards, cab = (
        play(tasks.pool(visit, SEEDS, 1, 0), actions % own).observations for visit, own in zip(tasks.visits(), (2, 6), strict=True)
    )
    for at, (observations, *_) in enumerate(raw("Blackjack-v1", actions % 2)):
        np.testing.assert_array_equal(cards[at], np.pad(observations.astype(np.float32), ((0, 0), (0, 497))))
    for at, (observations, *_) in enumerate(raw("Taxi-v3", actions)):
        np.testing.assert_array_equal(cab[at].argmax(1), observations)
    assert (cab.sum(-1) == 1).all()


def test_shifts_apply():
    tasks = EnvPool(ids=("Jumanji/Snake-v1",), observe=("grid",), shifts=("permute", "relabel"), tasks=2)
    assert tasks.names == ("Jumanji/Snake-v1-0", "Jumanji/Snake-v1-1") and tasks.inputs == (12 * 12 * 5,)
    own = [tasks.drawn(7, member, 2, 720, 4)[1] for member in (0, 0, 1, 1)]
    first = tasks.pool(tasks.visits()[1], SEEDS, 1, 7).reset().observations
    ((observations, *_),) = raw("Jumanji/Snake-v1", np.zeros((0, 4)))
    for env, shift in enumerate(own):
        np.testing.assert_array_equal(first[env], observations["grid"][env].reshape(-1)[shift.features])


def test_each_environment_shows_the_parts_that_it_has():
    tasks = EnvPool(ids=("Jumanji/Game2048-v1", "Jumanji/Maze-v0"), observe=("board", "walls", "agent_position"), pad=True)
    assert tasks.inputs == (100 + 10 + 10,)
    board, maze = (tasks.pool(visit, SEEDS, 1, 0).reset().observations for visit in tasks.visits())
    ((there, *_),), ((own, *_),) = raw("Jumanji/Game2048-v1", np.zeros((0, 4))), raw("Jumanji/Maze-v0", np.zeros((0, 4)))
    np.testing.assert_array_equal(board, np.pad(there["board"].reshape(4, -1), ((0, 0), (0, 104))))
    codes = np.hstack([np.eye(10)[own["agent_position"][axis]] for axis in ("row", "col")])
    np.testing.assert_array_equal(maze, np.hstack([own["walls"].reshape(4, -1), codes]))
    with pytest.raises(UsageError, match="unknown part of the observations 'wall'; did you mean walls"):
        EnvPool(ids=("Jumanji/Game2048-v1", "Jumanji/Maze-v0"), observe=("board", "walls", "wall"), pad=True)


def test_options_as_an_object_are_those_in_words():
    words, table = (EnvPool(kwargs=(text,)) for text in ("max_episode_steps=9", '{"max_episode_steps": 9}'))
    assert words.arguments(0) == table.arguments(0) == {"max_episode_steps": 9}
    with pytest.raises(UsageError, match="neither of the form name=value nor an object"):
        EnvPool(kwargs=("{max_episode_steps=9",))
