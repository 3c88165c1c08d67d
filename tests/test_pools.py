"""Both emulators, held to the same rules."""

import os
import subprocess
import sys

import numpy as np
import pytest

from envs.pools import Answer, Pool, Step, _in_order, ale_atari, ale_name, envpool_atari, envpool_cartpole
from plasticity_rl.checks import UsageError

RULES = {"sticky": 0.25, "full_actions": True, "noops": 30, "episode_frames": 108_000}
FIRE = 1


@pytest.fixture(params=[envpool_atari, ale_atari])
def atari(request):
    """A function that makes a pool: of each backend in turn."""
    return lambda game, seeds, threads=1, **rules: request.param(game, seeds, threads, **RULES | rules)


@pytest.fixture
def cartpole():
    return envpool_cartpole([3, 5, 9], 1)


def play(pool: Pool, actions: np.ndarray) -> Step:
    """What a pool answers to `actions`, (T, N): a Step of arrays with T + 1 rows."""
    steps = [pool.reset()]
    for row in actions:
        pool.send(row)
        steps.append(pool.recv())
    return Step(*(np.stack(values) for values in zip(*steps, strict=True)))


def at_random(steps: int, num_envs: int, actions: int = 18) -> np.ndarray:
    return np.random.default_rng(0).integers(actions, size=(steps, num_envs))


def assert_same(one: Step, other: Step) -> None:
    for name, values, others in zip(Step._fields, one, other, strict=True):
        np.testing.assert_array_equal(values, others, err_msg=name)


# What a step means


def test_shapes_and_types(atari):
    pool = atari("Breakout", [3, 5, 9])
    assert (pool.num_envs, pool.actions, pool.observation_shape) == (3, 18, (84, 84))
    opening = pool.reset()
    assert opening.first.all() and not opening.rewards.any()
    pool.send(np.zeros(3, dtype=np.int64))
    for step in (opening, pool.recv()):
        assert step.observations.shape == (3, 84, 84) and step.observations.dtype == np.uint8
        assert step.rewards.shape == (3,) and step.rewards.dtype == step.clipped.dtype == np.float32
        for flags in step[2:]:
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
        assert not (steps.terminated | steps.truncated | steps.lost_life)[dummy].any()

    actions[10] = (actions[10] + 1) % 18  # the action that leads to row 11
    assert_same(play(atari("Breakout", [3, 5], **rules), actions), steps)
    actions[:10] = (actions[:10] + 1) % 18
    assert not np.array_equal(play(atari("Breakout", [3, 5], **rules), actions).observations, steps.observations)


def test_a_lost_life_ends_nothing(atari):
    steps = play(atari("Breakout", [3, 5, 9, 14]), np.full((200, 4), FIRE))
    for env in range(4):
        (over,) = np.flatnonzero(steps.terminated[:, env])[:1]
        assert steps.lost_life[:over, env].sum() == 4  # of five lives; the fifth is the end
        assert not steps.first[1 : over + 1, env].any() and steps.first[over + 1, env]
    assert not (steps.lost_life & (steps.terminated | steps.first)).any()


def test_rewards_are_raw(atari):
    steps = play(atari("SpaceInvaders", [3, 5]), at_random(250, 2))
    paid = set(steps.rewards[steps.rewards != 0])
    assert paid and paid <= {5, 10, 15, 20, 25, 30, 200}
    assert set(steps.clipped[steps.rewards != 0]) == {1}


def test_resets_press_no_fire(atari):
    assert not play(atari("Breakout", [3, 5]), np.zeros((60, 2), dtype=int)).lost_life.any()  # the ball waits for FIRE


def test_no_ops(atari):
    def opening_frames(noops: int) -> int:
        return len(np.unique(atari("Qbert", range(12), noops=noops).reset().observations, axis=0))

    assert opening_frames(1) <= 2 < opening_frames(30)


def test_sticky_actions(atari):
    one, other = np.full((30, 2), 2), np.full((30, 2), 3)
    for sticky, alike in ((0.0, False), (1.0, True)):  # at 1.0, the action before the first is repeated for ever
        observations = [play(atari("Breakout", [3, 5], sticky=sticky), actions).observations for actions in (one, other)]
        assert np.array_equal(*observations) == alike


def test_a_game_that_is_over_at_the_limit_has_terminated(atari):
    actions = np.full((200, 1), FIRE)
    (length,) = np.flatnonzero(play(atari("Breakout", [3]), actions).terminated)[:1]
    at_limit = play(atari("Breakout", [3], episode_frames=4 * int(length)), actions[:length])
    assert at_limit.terminated[-1] and not at_limit.truncated.any()
    before = play(atari("Breakout", [3], episode_frames=4 * int(length) - 4), actions[: length - 1])
    assert before.truncated[-1] and not before.terminated.any()


class Scripted:
    """A backend of one environment that answers from a list of (terminated, truncated, lives)."""

    num_envs, actions, observation_shape = 1, 2, (1,)

    def __init__(self, script: list[tuple[bool, bool, int]]) -> None:
        self.script = iter(script)
        self.received = []

    def reset(self) -> Answer:
        return self.recv()

    def send(self, actions: np.ndarray) -> None:
        self.received.append(actions)

    def recv(self) -> Answer:
        terminated, truncated, lives = next(self.script)
        return Answer(np.zeros((1, 1)), np.zeros(1, np.float32), np.array([terminated]), np.array([truncated]), np.array([lives]))


def test_lives_ends_and_masks_exclude_one_another():
    script = [
        ((False, False, 3), "first"),
        ((False, False, 4), ""),  # an extra life
        ((False, False, 3), "lost_life"),
        ((False, False, 3), ""),
        ((True, True, 2), "terminated"),  # over at the limit, with the last life
        ((False, False, 1), "first"),  # a new game, with fewer lives than the old one had
        ((False, True, 0), "truncated"),
        ((False, False, 3), "first"),
        ((False, False, 0), "lost_life"),  # no life left, but the game goes on
    ]
    steps = play(Pool(Scripted([answer for answer, _ in script])), np.zeros((len(script) - 1, 1), dtype=int))
    for row, (_, expected) in enumerate(script):
        held = [name for name in ("terminated", "truncated", "lost_life", "first") if getattr(steps, name)[row, 0]]
        assert held == [expected] * bool(expected), row


# Seeds, threads, order


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


def test_answers_come_in_environment_order():
    values = np.array([10, 11, 12])
    for ordered in _in_order(Answer(values, values, values, values, values), np.array([2, 0, 1])):
        assert ordered.tolist() == [11, 12, 10]


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


def test_actions_may_be_overwritten_after_send():
    backend, actions = Scripted([(False, False, 0)]), np.array([1], dtype=np.int32)
    pool = Pool(backend)
    pool.reset()
    pool.send(actions)
    actions[0] = 0
    assert backend.received[0].tolist() == [1]


# The two backends beside each other


@pytest.mark.parametrize("sticky", [0.0, 0.25])
def test_backends_play_the_same_game(sticky):
    """With these seeds ale-py also starts with one no-op. Then everything agrees until the first episode ends, and so do the resets."""
    seeds, actions = [100, 101, 102, 109, 111, 113], at_random(332, 6)
    rules = RULES | {"sticky": sticky, "noops": 1, "episode_frames": 4 * 330}
    one, other = (play(make("Qbert", seeds, 2, **rules), actions) for make in (envpool_atari, ale_atari))
    for env in range(6):
        (end,) = np.flatnonzero((one.terminated | one.truncated)[:, env])[:1]
        np.testing.assert_array_equal(one.observations[:end, env], other.observations[:end, env])
        for name in ("rewards", "terminated", "truncated", "lost_life", "first"):
            np.testing.assert_array_equal(getattr(one, name)[: end + 2, env], getattr(other, name)[: end + 2, env], err_msg=name)
    for seen in (one.rewards, one.terminated, one.truncated, one.lost_life):
        assert seen.any()


@pytest.mark.parametrize(("game", "minimal"), [("Pong", 6), ("Breakout", 4), ("Skiing", 3)])
def test_action_sets(atari, game, minimal):
    assert atari(game, [3]).actions == 18
    assert atari(game, [3], full_actions=False).actions == minimal


def test_skiing_takes_all_actions_though_it_knows_no_fire(atari):
    joystick = np.tile(np.arange(2, 10).repeat(4)[:, None], (1, 2))
    rules = {"sticky": 0.0, "noops": 1}
    steps = play(atari("Skiing", [3, 5], **rules), joystick)
    assert_same(play(atari("Skiing", [3, 5], **rules), joystick + 8), steps)  # UP ... DOWNLEFT, then each with FIRE
    assert_same(
        play(atari("Skiing", [3, 5], **rules), np.full((32, 2), FIRE)), play(atari("Skiing", [3, 5], **rules), np.zeros((32, 2), int))
    )
    assert not np.array_equal(play(atari("Skiing", [3, 5], **rules), np.roll(joystick, 8, axis=0)).observations, steps.observations)


def test_ale_names():
    assert [ale_name(game) for game in ("Pong", "MsPacman", "UpNDown", "YarsRevenge")] == ["pong", "ms_pacman", "up_n_down", "yars_revenge"]


# CartPole


def test_cartpole():
    pool = envpool_cartpole([3, 5, 9], 2)
    assert (pool.num_envs, pool.actions, pool.observation_shape) == (3, 2, (4,))
    pushed = play(pool, np.zeros((60, 3), dtype=int))
    assert pushed.observations.dtype == pushed.rewards.dtype == np.float32
    assert pushed.terminated.any() and not (pushed.truncated | pushed.lost_life).any()
    np.testing.assert_array_equal(pushed.first[1:], pushed.terminated[:-1])
    np.testing.assert_array_equal(pushed.rewards, ~pushed.first)


def test_cartpole_is_truncated_after_500_steps():
    pool = envpool_cartpole(np.arange(20), 1)
    step = pool.reset()
    for _ in range(500):
        assert not (step.terminated | step.truncated).any()
        pool.send((step.observations @ [0.1, 0.3, 1, 0.5] > 0).astype(int))  # push towards where the pole falls
        step = pool.recv()
    assert step.truncated.all() and not step.terminated.any()


# What is refused


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


def test_close_ends_the_threads(atari):
    counts = []
    for _ in range(4):
        pool = atari("Breakout", [3, 5, 9], threads=3)
        pool.reset()
        pool.send(np.zeros(3, dtype=int))
        pool.close()
        counts.append(len(os.listdir("/proc/self/task")))
    assert counts[-1] == counts[0]  # the first pool of a process also starts threads that stay


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"noops": 0}, "noops must be at least 1"),
        ({"noops": -3}, "noops must be at least 1"),
        ({"sticky": 1.5}, r"sticky must lie in \[0, 1\]"),
        ({"sticky": -0.1}, r"sticky must lie in \[0, 1\]"),
        ({"sticky": float("nan")}, r"sticky must lie in \[0, 1\]"),
        ({"episode_frames": 0}, "episode_frames must be a multiple of 4"),
        ({"episode_frames": 30}, "episode_frames must be a multiple of 4"),
        ({"episode_frames": -4}, "episode_frames must be a multiple of 4"),
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


def test_importing_is_cheap():
    code = "import sys, envs.pools, envs.atari, envs.control; print({'torch', 'envpool', 'ale_py', 'gymnasium'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
