"""Several backends as one, over CartPole, whose pools end their episodes at different steps."""

from itertools import chain

import numpy as np

from envs.reinforcement.backends.envpool import control_backend
from envs.reinforcement.backends.joined import Joined
from envs.reinforcement.backends.pool import Pool
from tests.envs.reinforcement.playing import assert_same, at_random, play


def test_backends_side_by_side_play_as_one():
    parts = [[3, 5], [9], [14, 15, 2]]
    actions = at_random(120, 6, 2)
    joined = play(Pool(Joined([control_backend("CartPole-v1", seeds, 1) for seeds in parts])), actions)
    assert_same(joined, play(Pool(control_backend("CartPole-v1", list(chain(*parts)), 1)), actions))
    assert joined.terminated.any() and len({tuple(row) for row in np.argwhere(joined.terminated)[:, 1:]}) == 6
