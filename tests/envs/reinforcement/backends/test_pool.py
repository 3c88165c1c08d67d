"""The checked interface of a pool, over scripted backends and CartPole. test_spaces.py tests spaces."""

import subprocess
import sys

import numpy as np
import pytest

from envs.reinforcement.backends.envpool import envpool_control
from envs.reinforcement.backends.pool import Pool, RawStep, in_environment_order
from envs.reinforcement.backends.spaces import Box, Discrete, Space
from tests.envs.reinforcement.playing import play


@pytest.fixture
def cartpole():
    return envpool_control("CartPole-v1", [3, 5, 9], 1)


class Scripted:
    """A backend of one environment that answers from a list of (terminated, truncated, lives)."""

    num_envs, observation_space, autoreset = 1, Box((1,)), "NextStep"
    action_space: Space = Discrete(2)

    def __init__(self, script: list[tuple[bool, bool, int]]) -> None:
        self.script = iter(script)
        self.received = []

    def reset(self) -> RawStep:
        return self.recv()

    def send(self, actions: np.ndarray) -> None:
        self.received.append(actions)

    def recv(self) -> RawStep:
        terminated, truncated, lives = next(self.script)
        ends = np.array([terminated]), np.array([truncated])
        return RawStep(np.zeros((1, 1), np.float32), np.zeros(1, np.float32), *ends, np.array([lives]))


def test_the_reward_of_a_reset_is_zero():
    """EnvPool leaves what was in memory in its place for DeepMind Control, finite or not."""

    class Unset(Scripted):
        def recv(self) -> RawStep:
            return super().recv()._replace(rewards=np.float32([np.nan if self.resets else 2.0]))

        def reset(self) -> RawStep:
            self.resets = True
            return self.recv()

        def send(self, actions: np.ndarray) -> None:
            self.resets = next(self.ends)

    backend = Unset([(False, False, 0), (True, False, 0), (False, False, 0), (False, False, 0)])
    backend.ends = iter([False, True, False])
    assert play(Pool(backend), np.zeros((3, 1), int)).rewards[:, 0].tolist() == [0, 2, 0, 2]


def test_lives_ends_and_masks_exclude_one_another():
    script = [
        ((False, False, 3), "first"),
        ((False, False, 4), ""),  # an extra life
        ((False, False, 3), "life_lost"),
        ((False, False, 3), ""),
        ((True, True, 2), "terminated"),  # over at the limit, with the last life
        ((False, False, 1), "first"),  # a new game, with fewer lives than the old one had
        ((False, True, 0), "truncated"),
        ((False, False, 3), "first"),
        ((False, False, 0), "life_lost"),  # no life left, but the game goes on
    ]
    steps = play(Pool(Scripted([answer for answer, _ in script])), np.zeros((len(script) - 1, 1), dtype=int))
    for row, (_, expected) in enumerate(script):
        held = [name for name in ("terminated", "truncated", "life_lost", "first") if getattr(steps, name)[row, 0]]
        assert held == [expected] * bool(expected), row


def test_answers_come_in_environment_order():
    values = np.array([10, 11, 12])
    for ordered in in_environment_order(RawStep(values, values, values, values, values, values), np.array([2, 0, 1])):
        assert ordered.tolist() == [11, 12, 10]


def test_actions_may_be_overwritten_after_send():
    backend, actions = Scripted([(False, False, 0)]), np.array([1], dtype=np.int32)
    pool = Pool(backend)
    pool.reset()
    pool.send(actions)
    actions[0] = 0
    assert backend.received[0].tolist() == [1]


@pytest.mark.parametrize(
    "actions",
    [
        np.zeros(2, dtype=int),
        np.zeros(4, dtype=int),
        np.zeros((3, 1), dtype=int),
        np.array(0),
        np.zeros(3),
        np.array([0, np.nan, 0]),
        np.zeros(3, dtype=bool),
        np.array([0, -1, 0]),
        np.array([0, 2, 0]),
        np.array([0, 2**32, 0]),
    ],
    ids=str,
)
def test_bad_actions_are_refused_and_the_pool_goes_on(cartpole, actions):
    cartpole.reset()
    with pytest.raises(ValueError, match=r"^actions must"):
        cartpole.send(actions)
    cartpole.send(np.zeros(3, dtype=np.uint8))
    assert not cartpole.recv().first.any()


@pytest.mark.parametrize(
    ("before", "call"),
    [
        ([], "send"),
        ([], "recv"),
        (["reset"], "reset"),
        (["reset"], "recv"),
        (["reset", "send"], "send"),
        (["reset", "send"], "reset"),
        (["reset", "send", "recv"], "recv"),
        (["close"], "reset"),
        (["reset", "close"], "send"),
        (["reset", "send", "close"], "recv"),
        (["reset", "send", "close", "close"], "send"),
    ],
)
def test_calls_out_of_turn(cartpole, before, call):
    zeros = np.zeros(3, dtype=int)
    calls = {"reset": cartpole.reset, "send": lambda: cartpole.send(zeros), "recv": cartpole.recv, "close": cartpole.close}
    for name in before:
        calls[name]()
    with pytest.raises(RuntimeError, match=rf"^{call}\(\)"):
        calls[call]()


@pytest.mark.process
def test_importing_is_cheap():
    code = "import sys; from envs.reinforcement import atari, control, procgen; "
    code += "print({'torch', 'envpool', 'ale_py', 'gymnasium'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
