"""Simulators in numpy: the order of calls, ends of episodes and first observations."""

import numpy as np

from envs.reinforcement.backends.pool import Pool
from envs.reinforcement.backends.spaces import Box, Discrete
from envs.reinforcement.backends.synchronous import Synchronous
from tests.envs.reinforcement.playing import play


class Counter(Synchronous):
    """Shows the sum of an episode's actions, pays the last one, and counts episodes in hundreds."""

    episodes = 0

    def begin(self) -> None:
        self.episodes += 1
        self.sums = np.full(self.num_envs, 100.0 * self.episodes)

    def step(self, actions: np.ndarray) -> np.ndarray:
        self.sums = self.sums + actions
        return actions

    def observe(self) -> np.ndarray:
        return self.sums.astype(np.float32)[:, None]


def test_episodes_are_truncated_after_their_length_and_begin_in_the_step_after() -> None:
    pool = Pool(Counter(Box((1,)), Discrete(4), length=2, seeds=np.array([5, 6])))
    played = play(pool, np.array([[1, 2], [3, 0], [3, 3], [2, 1]]))
    np.testing.assert_array_equal(played.observations[:, :, 0], [[100, 100], [101, 102], [104, 102], [200, 200], [202, 201]])
    np.testing.assert_array_equal(played.rewards, [[0, 0], [1, 2], [3, 0], [0, 0], [2, 1]])
    assert played.rewards.dtype == np.float32
    np.testing.assert_array_equal(played.truncated[:, 0], [False, False, True, False, False])
    np.testing.assert_array_equal(played.first[:, 0], [True, False, False, True, False])
    assert not played.terminated.any() and not played.life_lost.any()
