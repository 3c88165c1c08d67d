"""Spaces check a batch of actions: shape, dtype and range. Discrete actions are tested through a pool in test_pool.py."""

import numpy as np
import pytest

from envs.reinforcement.backends.pool import EnvironmentFailed, Pool, RawStep
from envs.reinforcement.backends.spaces import Box, Discrete, Space


class Vectors:
    """A backend of three environments with continuous actions that keeps its actions."""

    num_envs, observation_space, autoreset = 3, Box((1,)), "NextStep"
    action_space: Space = Box((2,), low=-1, high=2)

    def __init__(self) -> None:
        self.received: list[np.ndarray] = []

    def reset(self) -> RawStep:
        return self.recv()

    def send(self, actions: np.ndarray) -> None:
        self.received.append(actions)

    def recv(self) -> RawStep:
        none = np.zeros(3, bool)
        return RawStep(np.zeros((3, 1), np.float32), np.zeros(3, np.float32), none, none, np.zeros(3, np.int32))


def test_spaces_are_values() -> None:
    assert Discrete(4) == Discrete(4) != Discrete(5)
    assert Box((2,)) == Box((2,), "float32", -np.inf, np.inf) != Box((2,), "uint8")
    assert len({Discrete(4), Discrete(4), Box((2,)), Box((2,))}) == 2


def test_a_pool_sends_a_copy_of_continuous_actions_in_the_dtype_of_their_space() -> None:
    pool, actions = Pool(backend := Vectors()), np.array([[-1.0, 2.0], [0.5, 0.0], [0.25, 1.5]])
    pool.reset()
    pool.send(actions)
    actions[:] = 0
    assert backend.received[0].dtype == np.float32
    assert backend.received[0].tolist() == [[-1, 2], [0.5, 0], [0.25, 1.5]]


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros((3, 3)), "must be float32 of shape (3, 2), not float64 of shape (3, 3)"),
        (np.zeros((2, 2)), "must be float32 of shape (3, 2), not float64 of shape (2, 2)"),
        (np.zeros(3), "must be float32 of shape (3, 2), not float64 of shape (3,)"),
        (np.zeros((3, 2), complex), "must be float32 of shape (3, 2), not complex128 of shape (3, 2)"),
        (np.full((3, 2), 2.5), "must be finite and lie in [-1, 2], not in [2.5, 2.5]"),
        (np.full((3, 2), -1.5), "must be finite and lie in [-1, 2], not in [-1.5, -1.5]"),
        (np.full((3, 2), np.nan), "must be finite and lie in [-1, 2], not in [nan, nan]"),
    ],
    ids=str,
)
def test_bad_continuous_actions_are_refused_and_the_pool_goes_on(actions: np.ndarray, message: str) -> None:
    pool = Pool(backend := Vectors())
    pool.reset()
    with pytest.raises(ValueError) as raised:
        pool.send(actions)
    assert str(raised.value) == f"actions {message}" and not backend.received
    pool.send(np.zeros((3, 2)))


def test_infinite_actions_are_refused_where_a_space_has_no_bounds() -> None:
    with pytest.raises(ValueError, match="finite"):
        Box((1,)).checked(np.array([[np.inf]]), 1)


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_other_modes_of_autoreset_are_refused(mode: str) -> None:
    backend = Vectors()
    backend.autoreset = mode
    with pytest.raises(ValueError, match=f"^a pool needs a backend with autoreset NextStep, not {mode}$"):
        Pool(backend)


@pytest.mark.parametrize(("shape", "dtype"), [((3, 2), "float32"), ((3, 1), "float64")], ids=str)
def test_observations_that_are_not_in_their_space_are_refused(shape: tuple[int, ...], dtype: str) -> None:
    backend = Vectors()
    backend.recv = lambda: Vectors().recv()._replace(observations=np.zeros(shape, dtype))
    with pytest.raises(EnvironmentFailed, match="returned observations of"):
        Pool(backend).reset()
