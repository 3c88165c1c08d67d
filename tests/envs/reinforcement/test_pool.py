"""Both emulators, held to the same rules, and EnvPool's control problems. Procgen is in test_procgen.py."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from envs.reinforcement.ale import ale_atari, ale_name, game_choices
from envs.reinforcement.atari_rules import AtariRules
from envs.reinforcement.envpool import envpool_atari, envpool_control
from envs.reinforcement.pool import Pool, RawStep, Step, in_environment_order
from envs.reinforcement.spaces import Box, Discrete, Space
from plasticity_rl.checks import UsageError

RULES = {"sticky": 0.25, "full_actions": True, "noops": 30, "episode_frames": 108_000}
FIRE = 1


@pytest.fixture(params=[envpool_atari, ale_atari])
def atari(request):
    """A function that makes a pool: of each backend in turn."""
    return lambda game, seeds, threads=1, **rules: request.param(game, seeds, threads, AtariRules(**RULES | rules))


@pytest.fixture
def cartpole():
    return envpool_control("CartPole-v1", [3, 5, 9], 1)


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
    assert (pool.num_envs, pool.action_space, pool.observation_space) == (3, Discrete(18), Box((84, 84), "uint8"))
    opening = pool.reset()
    assert opening.first.all() and not opening.rewards.any()
    pool.send(np.zeros(3, dtype=np.int64))
    for step in (opening, pool.recv()):
        assert step.observations.shape == (3, 84, 84) and step.observations.dtype == np.uint8
        assert step.rewards.shape == (3,) and step.rewards.dtype == step.clipped_rewards.dtype == np.float32
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
        assert not (steps.terminated | steps.truncated | steps.life_lost)[dummy].any()

    actions[10] = (actions[10] + 1) % 18  # the action that leads to row 11
    assert_same(play(atari("Breakout", [3, 5], **rules), actions), steps)
    actions[:10] = (actions[:10] + 1) % 18
    assert not np.array_equal(play(atari("Breakout", [3, 5], **rules), actions).observations, steps.observations)


def test_a_lost_life_ends_nothing(atari):
    steps = play(atari("Breakout", [3, 5, 9, 14]), np.full((200, 4), FIRE))
    for env in range(4):
        (over,) = np.flatnonzero(steps.terminated[:, env])[:1]
        assert steps.life_lost[:over, env].sum() == 4  # of five lives; the fifth is the end
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
    for ordered in in_environment_order(RawStep(values, values, values, values, values), np.array([2, 0, 1])):
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
    one, other = (play(make("Qbert", seeds, 2, AtariRules(**rules)), actions) for make in (envpool_atari, ale_atari))
    for env in range(6):
        (end,) = np.flatnonzero((one.terminated | one.truncated)[:, env])[:1]
        np.testing.assert_array_equal(one.observations[:end, env], other.observations[:end, env])
        for name in ("rewards", "terminated", "truncated", "life_lost", "first"):
            np.testing.assert_array_equal(getattr(one, name)[: end + 2, env], getattr(other, name)[: end + 2, env], err_msg=name)
    for seen in (one.rewards, one.terminated, one.truncated, one.life_lost):
        assert seen.any()


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


def test_ale_names():
    assert [ale_name(game) for game in ("Pong", "MsPacman", "UpNDown", "YarsRevenge")] == ["pong", "ms_pacman", "up_n_down", "yars_revenge"]


def test_colour(atari):
    """As bright as the grey frames: ALE's grey is the luma, and shrinking keeps the mean. Trajectories are compared in test_games.py."""
    grey, colour = (play(atari("Breakout", [3, 5], colour=colour), at_random(60, 2)).observations for colour in (False, True))
    assert colour.shape == (61, 2, 210, 160, 3) and colour.dtype == np.uint8
    assert (colour[..., 0] != colour[..., 2]).any()
    np.testing.assert_allclose(grey.mean(axis=(2, 3)), colour.mean(axis=(2, 3)) @ [0.2989, 0.5870, 0.1140], atol=0.6)


@pytest.mark.parametrize(
    ("game", "switches"),
    [("Freeway", {"mode": 1}), ("Freeway", {"mode": 1, "difficulty": 1}), ("Pong", {"difficulty": 1}), ("Pong", {"mode": 1})],
    ids=str,
)
def test_modes_and_difficulties(game, switches):
    """The defaults are 0 in both games. What is chosen is seen before fifty steps have passed, and after a reset again."""
    rules = {"episode_frames": 200, "sticky": 0.0, "noops": 1}

    def seen(**switches: int) -> Step:
        return play(envpool_atari(game, [3], 1, AtariRules(**RULES | rules | switches)), np.full((101, 1), 2))

    default, other = seen(), seen(**switches)
    assert_same(seen(mode=0, difficulty=0), default)
    for opening in (0, 51):
        assert default.first[opening] and other.first[opening]
        assert not np.array_equal(other.observations[opening : opening + 50], default.observations[opening : opening + 50])


def test_choices_of_a_game():
    assert game_choices("Freeway") == {"mode": tuple(range(8)), "difficulty": (0, 1)}
    assert game_choices("MsPacman") == {"mode": (0, 1, 2, 3), "difficulty": (0,)}


# Control


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
    """Every step is done again by Gymnasium, from the state before it."""
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
    """Pumped in the direction in which it swings, the tip arrives; let go, it does not."""
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
    """By Gymnasium's proportional-derivative controller: above 200, which counts as solved."""
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
    assert counts[-1] <= counts[0]  # threads may take their time to end; the first pool of a process also starts threads that stay


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


@pytest.mark.process
def test_importing_is_cheap():
    code = "import sys; from envs.reinforcement import atari, control, procgen; "
    code += "print({'torch', 'envpool', 'ale_py', 'gymnasium'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
