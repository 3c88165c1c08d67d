import importlib.util
from typing import Any

import gymnasium
import numpy as np
import pytest

from envs.reinforcement.backends.envpool import envpool_control
from envs.reinforcement.backends.pool import Opening, Pool, Step
from envs.reinforcement.backends.spaces import Box, Discrete
from envs.reinforcement.gymnasium import Gymnasium
from plasticity_rl import plugins
from plasticity_rl.checks import UsageError
from plasticity_rl.seeds import derive
from tests.envs.reinforcement import my_envs
from tests.envs.reinforcement.my_envs import IMAGE
from tests.envs.reinforcement.playing import assert_same, at_random, boxes, play

SEEDS = np.array([[3, 5], [9, 14]])


def shown(**fields: Any) -> Gymnasium:
    return Gymnasium(**{"ids": ("Shown-v0",)} | fields)


def opened(benchmark: Gymnasium, visit: int = 0, opening: Opening | None = None) -> Pool:
    return benchmark.pool(benchmark.visits()[visit], SEEDS, 1, 7, opening)


def inside(pool: Pool) -> list[Any]:
    """The environments of a pool, unwrapped."""
    backend: Any = pool._backend
    while hasattr(backend, "_backend"):
        backend = backend._backend
    return [env.unwrapped for env in backend._envs.envs]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ids": ()}, "gymnasium: ids must name at least one environment"),
        ({"ids": ("CartPole-v7",)}, "gymnasium: unknown id 'CartPole-v7'; did you mean CartPole-v"),
        ({"ids": ("Zzz-v0",)}, "gymnasium: unknown id 'Zzz-v0'; --plugin MODULE imports a module that registers ids of your own"),
        ({"ids": ("os:Zzz-v0",)}, "gymnasium: the id 'os:Zzz-v0' must not name a module; --plugin imports the module that registers it"),
        ({"kwargs": ("length=3;x",)}, "gymnasium: 'x' in kwargs is not of the form name=value"),
        ({"kwargs": ("x=3",)}, "gymnasium: Shown-v0 cannot be made: TypeError: Shown.__init__() got an unexpected keyword argument 'x'"),
        ({"kwargs": ("length=3", "length=4")}, "gymnasium: kwargs must have one entry, or one for each of 1 ids, not 2"),
        ({"ids": ("Shown-v0",) * 2}, "gymnasium: Shown-v0 stands twice in ids with the same kwargs; use cycles"),
        (
            {"ids": ("Shown-v0", "CartPole-v1")},
            "gymnasium: CartPole-v1 has observations of 4 (float32) and 2 actions, Shown-v0",
        ),
        ({"ids": ("Shown-v0", "CartPole-v1"), "pad": True}, "gymnasium: CartPole-v1 has observations of 4"),
        ({"random_scores": (1.0, 2.0)}, "gymnasium: random_scores must be one for each of 1 ids, not 2"),
        ({"tasks": 2}, "gymnasium: 2 tasks of 1 ids need shifts, such as shifts=offset; cycles"),
        ({"gradual": 0.5}, "gymnasium: gradual=0.5 needs shifts, such as shifts=offset"),
        ({"told": False, "heads": "per-task"}, "gymnasium: heads=per-task tells the learner its task"),
        ({"shifts": ("offset",), "tasks": 2}, "gymnasium: observations of 3 x 4 x 5 (uint8) do not shift, float32 vectors do; relabel"),
        ({"set": ("pay",)}, "gymnasium: set takes name=low..high or name=value;value, not 'pay'"),
        ({"set": ("pay=3..1",)}, "gymnasium: the range in 'pay=3..1' must go upwards"),
        ({"set": ("pay=1;2", "pay=3")}, "gymnasium: set names an attribute twice"),
        ({"set": ("play=1..2",)}, "gymnasium: Shown-v0 has no attribute 'play' to set; did you mean pay?"),
        ({"set": ("name=1..2",)}, "gymnasium: the attribute name of Shown-v0 is no number, but str"),
        (
            {"kwargs": ("takes=endless",)},
            "Shown-v0 takes Box(-inf, [ 1. inf], (2,), float32), and agents here choose actions within bounds: wrap it in gymnasium",
        ),
        (
            {"kwargs": ("takes=steps",)},
            "Shown-v0 takes Box(0, 9, (2,), int64), and agents here choose one of n actions or a vector of floats: wrap it in gymn",
        ),
        (
            {"kwargs": ("takes=many",)},
            "Shown-v0 takes MultiDiscrete([17 17 17]), 4,913 combinations of actions, and 4,096 are the most",
        ),
        ({"kwargs": ("shows=text",)}, "Shown-v0 observes Text(1, 5, charset="),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        shown(**fields)
    assert str(raised.value).startswith(message) and "\n" not in str(raised.value)


FLAT = [0.5] * 4


@pytest.mark.parametrize(
    ("shows", "expected", "dtype"),
    [
        ("last", np.moveaxis(IMAGE, -1, 0), "uint8"),
        ("first", np.moveaxis(IMAGE, -1, 0), "uint8"),
        ("grey", IMAGE[None, ..., 0], "uint8"),
        ("float", np.moveaxis(np.float32(IMAGE / 60), -1, 0), "float32"),
        ("dict", np.array([*FLAT, 0, 1, 0]), "float32"),  # a discrete part is a one-hot code
        ("tuple", np.array([0, 1, 0.25]), "float32"),
    ],
)
@pytest.mark.parametrize("stacked", [1, 3])
def test_observations_of_all_kinds(shows, expected, dtype, stacked):
    benchmark = shown(kwargs=(f"shows={shows}",), stacked=stacked)
    whole = np.concatenate([expected] * stacked)
    assert benchmark.observation_space == Box(whole.shape, dtype) and benchmark.inputs == whole.shape
    steps = play(opened(benchmark), np.zeros((6, 4), int))
    np.testing.assert_array_equal(steps.observations, np.broadcast_to(whole, (7, 4, *whole.shape)))


@pytest.mark.parametrize(
    ("takes", "expected"), [("two", [0, 1]), ("offset", [-1, 0, 1]), ("several", [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]])]
)
def test_discrete_actions_of_all_kinds(takes, expected):
    benchmark = shown(kwargs=(f"shows=grey;takes={takes}",))
    assert benchmark.action_space == Discrete(len(expected))
    for action, meant in enumerate(expected):
        pool = opened(benchmark)
        play(pool, np.full((1, 4), action))
        assert [env.taken for env in inside(pool)] == [[meant]] * 4


def test_continuous_actions_are_scaled_to_the_bounds_of_each_component():
    benchmark = shown(kwargs=("shows=grey;takes=box",))
    assert benchmark.action_space == Box((4,), low=-1, high=1)
    pool = opened(benchmark)
    rows = np.float32([[[-1, -1, -1, -1]] * 4, [[1, 1, 1, 1]] * 4, [[0, 0.5, -0.5, 0.25]] * 4])
    play(pool, rows)
    for env in inside(pool):  # by hand: low + (a + 1) / 2 * (high - low), of bounds (-1, 1), (0, 10), (-0.8, 1.1) and (-2, 6)
        first, second, third = (np.array(each) for each in env.taken)
        np.testing.assert_array_equal(first, np.float32([[-1, 0], [-0.8, -2]]))
        np.testing.assert_array_equal(second, np.float32([[1, 10], [1.1, 6]]))
        np.testing.assert_allclose(third, [[0, 7.5], [-0.325, 3]], rtol=1e-6, atol=1e-7)


def test_pendulum_swings_as_gymnasiums_own():
    theirs, actions = gymnasium.make("Pendulum-v1"), boxes(201, 4, 1)
    steps = play(opened(Gymnasium(ids=("Pendulum-v1",))), actions)
    np.testing.assert_array_equal(steps.observations[0, 0], theirs.reset(seed=3)[0])
    for at, action in enumerate(actions[:200, 0], start=1):
        observation, reward, *ends, _ = theirs.step(2 * action)  # torques reach 2
        np.testing.assert_array_equal(steps.observations[at, 0], observation)
        assert (steps.rewards[at, 0], [steps.terminated[at, 0], steps.truncated[at, 0]]) == (np.float32(reward), ends)
    assert steps.truncated[200].all() and steps.first[201].all()
    assert_same(play(opened(Gymnasium(ids=("Pendulum-v1",))), actions), steps)


@pytest.mark.skipif(importlib.util.find_spec("mujoco") is not None, reason="Gymnasium's MuJoCo environments can be made")
def test_a_missing_simulator_is_named():
    with pytest.raises(UsageError, match=r"^gymnasium: HalfCheetah-v5 cannot be made: DependencyNotInstalled: .*mujoco.*") as raised:
        Gymnasium(ids=("HalfCheetah-v5",))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("processes", [False, True])
def test_the_next_step_resets_and_a_time_limit_truncates(processes, monkeypatch):
    monkeypatch.setattr(plugins, "_allowed", [my_envs.__name__])  # which other processes import, too
    for length, ends, name in ((10**6, [4, 9], "truncated"), (3, [3, 7], "terminated")):
        steps = play(opened(shown(kwargs=(f"length={length}",), processes=processes)), np.zeros((9, 4), int))
        for env in range(4):
            assert np.flatnonzero(getattr(steps, name)[:, env]).tolist() == ends
            assert np.flatnonzero(steps.first[:, env]).tolist() == [0, *(end + 1 for end in ends if end < 9)]
        assert steps.rewards[steps.first].sum() == 0 and (steps.rewards[~steps.first] == 1).all()
        assert (steps.terminated | steps.truncated).sum() == 8  # neither ends otherwise


def test_processes_play_what_one_thread_plays():
    plain, apart = (Gymnasium(ids=("Acrobot-v1",), processes=processes) for processes in (False, True))
    actions = at_random(40, 4, 3)
    assert_same(play(opened(plain), actions), play(opened(apart), actions))


def test_every_environment_has_its_seed():
    first = opened(Gymnasium()).reset().observations
    for seed, row in zip(SEEDS.reshape(-1), first, strict=True):
        np.testing.assert_array_equal(row, gymnasium.make("CartPole-v1").reset(seed=int(seed))[0])


def test_numbers_that_are_none_are_refused():
    with pytest.raises(FloatingPointError, match=r"^environment 0 of 4 returned an observation that is not finite"):
        opened(shown(kwargs=("shows=broken",))).reset()


def test_unlike_environments_are_padded():
    both = Gymnasium(ids=("CartPole-v1", "Acrobot-v1"), pad=True)
    assert (both.observation_space, both.action_space) == (Box((6,)), Discrete(3)) and both.names == ("CartPole-v1", "Acrobot-v1")
    actions = at_random(40, 4, 2)
    steps = [play(opened(both, visit), actions) for visit in range(2)]
    alone = [play(opened(Gymnasium(ids=(each,))), actions) for each in ("CartPole-v1", "Acrobot-v1")]
    np.testing.assert_array_equal(steps[0].observations[..., :4], alone[0].observations)
    assert not steps[0].observations[..., 4:].any()
    assert_same(steps[1], alone[1])


def test_a_padded_task_takes_its_own_actions_alone():
    both = Gymnasium(ids=("CartPole-v1", "Acrobot-v1"), pad=True)
    assert [opened(both, visit).action_space for visit in range(2)] == [Discrete(2), Discrete(3)] and both.num_actions == (2, 3)
    with pytest.raises(ValueError, match=r"actions must lie in \[0, 2\)"):
        play(opened(both, 0), np.full((1, 4), 2))


def test_random_scores_are_those_of_the_ids():
    two = Gymnasium(ids=("CartPole-v1", "Acrobot-v1"), pad=True, shifts=("offset",), tasks=3, random_scores=(22.0, -499.0))
    assert two.references() == dict(zip(two.names, ({"random": 22.0}, {"random": -499.0}, {"random": 22.0}), strict=True))
    assert Gymnasium(ids=("CartPole-v1", "Acrobot-v1"), pad=True).references() == {}
    assert Gymnasium(shifts=("offset",), tasks=2).references() == {"CartPole-v1-0": {}, "CartPole-v1-1": {}}


def test_an_attribute_from_a_list_or_a_range():
    benchmark = shown(set=("pay=2;5", "length=3..8"), tasks=3, kwargs=("shows=grey",))
    assert benchmark.names == ("Shown-v0-0", "Shown-v0-1", "Shown-v0-2")
    for task, pay in enumerate((2, 5, 2)):
        pool = opened(benchmark, task)
        assert (play(pool, np.zeros((1, 4), int)).rewards[1] == pay).all()
        own = [np.random.default_rng(derive(7, member, "set", "length", task)).uniform(3, 8) for member in (0, 0, 1, 1)]
        assert [env.length for env in inside(pool)] == own


def test_an_attribute_changes_gradually():
    benchmark = shown(set=("pay=2;5",), tasks=2, frames=100, gradual=0.4, kwargs=("shows=grey",))
    # 40 steps of change, of which 8 are done; each step of the pool is 4. In step 5 the environment only resets.
    paid = play(opened(benchmark, 1, Opening(108, 4)), np.zeros((10, 4), int)).rewards[:, 0]
    shares = [min((8 + 4 * step) / 40, 1) for step in range(11)]
    expected = [0 if step in (0, 5, 10) else 2 + 3 * share for step, share in enumerate(shares)]
    np.testing.assert_allclose(paid, expected, rtol=1e-6)
    assert (play(opened(benchmark, 1), np.zeros((1, 4), int)).rewards[1] == 5).all()


def test_shifts_apply():
    tasks = Gymnasium(shifts=("offset", "permute", "relabel"), tasks=2)
    actions = at_random(40, 4, 2)
    own = [tasks.drawn(7, member, 2, 4, 2)[1] for member in (0, 0, 1, 1)]
    meant = np.stack([shift.actions[actions[:, env]] for env, shift in enumerate(own)], axis=1)
    shifted, plain = play(opened(tasks, 1), actions), play(opened(Gymnasium()), meant)
    for env, shift in enumerate(own):
        np.testing.assert_array_equal(shifted.observations[:, env], plain.observations[:, env][:, shift.features] + shift.offset)
    np.testing.assert_array_equal(shifted.terminated, plain.terminated)


def test_pictures_of_the_same_trajectory():
    benchmark = shown(shifts=("relabel",), tasks=2, kwargs=("shows=grey",))
    pool = benchmark.render_pool(benchmark.visits()[1], SEEDS, 1, 7)
    assert pool is not None and pool.observation_space == Box((6, 7, 3), "uint8")
    steps = play(pool, np.ones((6, 4), int))
    assert [picture[0, 0, 0] for picture in steps.observations[:, 0]] == [0, 1, 2, 3, 4, 0, 1]
    meant = [int(benchmark.drawn(7, member, 2, 1, 2)[1].actions[1]) for member in (0, 0, 1, 1)]
    assert [env.taken for env in inside(pool)] == [[action] * 5 for action in meant]


def test_pictures_of_continuous_actions_whose_components_change_places():
    benchmark = shown(shifts=("relabel",), tasks=2, kwargs=("shows=grey;takes=box",))
    pool = benchmark.render_pool(benchmark.visits()[1], SEEDS, 1, 7)
    assert pool is not None and pool.observation_space == Box((6, 7, 3), "uint8")
    rows, low, high = boxes(1, 4, 4), np.array([-1, 0, -0.8, -2]), np.array([1, 10, 1.1, 6])
    play(pool, rows)
    for number, (member, env) in enumerate(zip((0, 0, 1, 1), inside(pool), strict=True)):
        moved = np.zeros(4)
        moved[benchmark.drawn(7, member, 2, 1, 4)[1].actions] = rows[0, number]
        np.testing.assert_allclose(np.ravel(env.taken), low + (moved + 1) / 2 * (high - low), rtol=1e-5)


def test_fingerprints(monkeypatch):
    plain = shown(kwargs=("shows=grey",))
    changed = [shown(kwargs=("shows=grey;length=5",)), shown(kwargs=("shows=grey",), frames=5), Gymnasium()]
    changed += [shown(kwargs=("shows=grey",), set=("pay=1..2",)), shown(kwargs=("shows=grey",), shifts=("relabel",), tasks=2)]
    prints = [benchmark.fingerprint(0, 2) for benchmark in [plain, *changed]] + [plain.fingerprint(1, 2), plain.fingerprint(0, 3)]
    monkeypatch.setattr(plugins, "_allowed", [my_envs.__name__])
    prints.append(plain.fingerprint(0, 2))  # a plugin's code is part of it
    assert len(set(prints)) == len(prints) and plain.fingerprint(0, 2) == prints[-1]


def aligned(ours: Step, pool: Pool, rows: np.ndarray) -> None:
    """Give Gymnasium's CartPole the states that EnvPool's shows."""
    for env, row, chosen in zip(inside(pool), ours.observations, rows, strict=True):
        if chosen:
            env.state = tuple(map(float, row))


def test_cartpole_pays_the_same_returns_as_envpools():
    """Both draw first states by their own generators, so Gymnasium's gets EnvPool's. From there on they agree to float32 rounding,
    which hundreds of balanced steps multiply, so those are compared step by step."""
    for balanced in (False, True):
        seeds = np.arange(40)
        ours, theirs = envpool_control("CartPole-v1", seeds, 1), Gymnasium().pool(Gymnasium().visits()[0], seeds[None], 1, 0)
        step, other, random, returns = ours.reset(), theirs.reset(), np.random.default_rng(0), [np.zeros(40), np.zeros(40)]
        ends = np.zeros(2, int)
        for _ in range(1010 if balanced else 400):
            aligned(step, theirs, np.full(40, balanced) | step.first)
            angle, speed = step.observations[:, 2], step.observations[:, 3]
            actions = (angle + 0.5 * speed > 0).astype(int) if balanced else random.integers(2, size=40)
            for pool in (ours, theirs):
                pool.send(actions)
            step, other = ours.recv(), theirs.recv()
            for name in ("rewards", "terminated", "truncated", "first"):
                np.testing.assert_array_equal(getattr(step, name), getattr(other, name))
            going = ~step.first
            np.testing.assert_allclose(step.observations[going], other.observations[going], atol=1e-6 if balanced else 1e-3)
            returns = [total + each.rewards for total, each in zip(returns, (step, other), strict=True)]
            ends += [step.terminated.sum(), step.truncated.sum()]
        np.testing.assert_array_equal(*returns)
        assert (ends[1] >= 40) if balanced else ends[0] > 400
