"""Playing a pool in tests."""

import numpy as np

from envs.reinforcement.backends.pool import Pool, Step


def play(pool: Pool, actions: np.ndarray) -> Step:
    """The steps of a pool after `actions`, (T, N, ...): one Step of arrays with T + 1 rows."""
    steps = [pool.reset()]
    for row in actions:
        pool.send(row)
        steps.append(pool.recv())
    return Step(*(np.stack(values) for values in zip(*steps, strict=True)))


def at_random(steps: int, num_envs: int, actions: int = 18) -> np.ndarray:
    return np.random.default_rng(0).integers(actions, size=(steps, num_envs))


def boxes(steps: int, num_envs: int, size: int) -> np.ndarray:
    """Random continuous actions, (steps, num_envs, size) float32 in [-1, 1)."""
    return np.random.default_rng(0).uniform(-1, 1, (steps, num_envs, size)).astype(np.float32)


def assert_same(one: Step, other: Step) -> None:
    for name, values, others in zip(Step._fields, one, other, strict=True):
        np.testing.assert_array_equal(values, others, err_msg=name)
