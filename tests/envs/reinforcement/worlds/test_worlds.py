"""Worlds beside Gymnasium and EnvPool: the same rules from the same states; shifts beside the ones of numpy; pools and whole runs."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from envs.reinforcement.backends.envpool import envpool_control
from envs.reinforcement.backends.pool import Opening, Pool
from envs.reinforcement.bandit import Bandit
from envs.reinforcement.control import Acrobot, CartPole, Catch, ContinualMountainCar, LunarLander
from envs.reinforcement.minatar.benchmark import MinAtar
from envs.reinforcement.shifts import Shifted
from envs.reinforcement.worlds import acrobot, cart_pole, catch, mountain_car
from envs.reinforcement.worlds.base import World
from envs.reinforcement.worlds.pool import DeviceBackend
from envs.reinforcement.worlds.streams import keys, normal, uniform
from plasticity_rl.checks import UsageError
from tests.envs.reinforcement.playing import assert_same, at_random, play
from tests.training import resumed_is_never_stopped

SEEDS = np.array([[3, 5], [9, 14]])
TASKS = {"CartPole-v1": (CartPole, cart_pole.CartPole()), "Acrobot-v1": (Acrobot, acrobot.Acrobot())}
TASKS |= {"MountainCar-v0": (ContinualMountainCar, mountain_car.MountainCar())}


@pytest.mark.parametrize("env_id", TASKS)
def test_the_rules_are_gymnasiums(env_id: str) -> None:
    """Ten episodes of up to 400 steps from its own first states, in double precision."""
    benchmark, world = TASKS[env_id]
    env: Any = gymnasium.make(env_id).unwrapped
    random, ends = np.random.default_rng(0), 0
    for seed in range(10):
        env.reset(seed=seed)
        state, over = torch.from_numpy(np.array(env.state, dtype=np.float64))[None], False
        for _ in range(400):
            action = int(random.integers(benchmark.action_space.n))
            seen, reward, over, _, _ = env.step(action)
            state, rewards, ended = world.step(state, torch.tensor([action]), torch.zeros(1, world.draws))
            np.testing.assert_allclose(state[0].numpy(), np.array(env.state, dtype=np.float64), rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(world.observe(state)[0].numpy(), seen, rtol=1e-6, atol=1e-7)
            assert (float(rewards), bool(ended)) == (reward, over)
            if over:
                break
        ends += over
    assert ends == 10 if env_id == "CartPole-v1" else ends < 10


def test_a_car_pushed_along_reaches_the_flag_as_gymnasiums_does() -> None:
    env: Any = gymnasium.make("MountainCar-v0").unwrapped
    world = mountain_car.MountainCar()
    env.reset(seed=0)
    state, ended, steps = torch.from_numpy(np.array(env.state))[None], torch.tensor([False]), 0
    while not ended:
        action = 2 if env.state[1] >= 0 else 0
        over = env.step(action)[2]
        state, _, ended = world.step(state, torch.tensor([action]), torch.zeros(1, 1))
        assert bool(ended) == over
        steps += 1
    assert 80 < steps < 200 and float(state[0, 0]) >= 0.5


def test_catch_is_envpools() -> None:
    """From the columns of its balls: the same boards, rewards and ends."""
    theirs = envpool_control("Catch-v0", np.arange(20), 1)
    step, world = theirs.reset(), catch.Catch()
    column = torch.from_numpy(step.observations[:, :5].argmax(1))
    state, rewards, ended = world.begin((column[:, None] + 0.5) / 5), torch.zeros(20), torch.zeros(20)
    np.testing.assert_array_equal(world.observe(state).numpy(), step.observations)
    for actions in np.random.default_rng(0).integers(3, size=(9, 20)):
        theirs.send(actions)
        step = theirs.recv()
        state, rewards, ended = world.step(state, torch.from_numpy(actions), torch.zeros(20, 1))
        np.testing.assert_array_equal(world.observe(state).numpy(), step.observations)
        np.testing.assert_array_equal(rewards.numpy(), step.rewards)
        np.testing.assert_array_equal(ended.numpy(), step.terminated)
    assert ended.all() and set(rewards.tolist()) == {1, -1}


@pytest.mark.parametrize("problem", [CartPole, Acrobot, Catch, ContinualMountainCar])
def test_random_play_scores_as_in_envpool(problem: Any) -> None:
    """Four standard errors, of first episodes and of a thousand environments."""
    benchmark = problem(simulator="torch")
    pool, random = benchmark.pool(benchmark.visits()[0], np.arange(1000)[None], 1, 0), np.random.default_rng(1)
    returns, going = pool.reset().rewards, np.ones(1000, bool)
    while going.any():
        pool.send(random.integers(benchmark.action_space.n, size=1000))
        step = pool.recv()
        returns, going = returns + step.rewards * going, going & ~(step.terminated | step.truncated)
    limit = max(4 * float(returns.std()) / 1000**0.5, 1e-9)
    assert float(returns.mean()) == pytest.approx(problem.random_score, abs=limit)


WORDS: Any = [("permute", "relabel"), ("offset",), ("rescale", "offset", "permute")]


@pytest.mark.parametrize("shifts", WORDS, ids="+".join)
@pytest.mark.parametrize("gradual", [0.0, 0.5])
def test_shifts_are_those_of_numpy(shifts: Any, gradual: float) -> None:
    if gradual and "relabel" in shifts:
        shifts = ("permute",)  # which of an action's meanings is taken is drawn otherwise
    tasks = CartPole(shifts=shifts, gradual=gradual, tasks=3, simulator="torch", frames=200)
    plain = CartPole(shifts=(), tasks=1, simulator="torch")
    visit, opening, actions = tasks.visits()[2], Opening(410, 2), at_random(80, 4, 2)
    mine = play(tasks.pool(visit, SEEDS, 1, 7, opening), actions)
    unchanged = plain.device_pool(plain.visits()[0], SEEDS, 7, None, "cpu")
    assert unchanged is not None
    backend = tasks.shifted(DeviceBackend(unchanged, plain.observation_space, plain.action_space), visit, SEEDS, 7, opening)
    assert isinstance(backend, Shifted)
    theirs = play(Pool(backend), actions)
    np.testing.assert_allclose(mine.observations, theirs.observations, rtol=1e-5, atol=1e-6)
    for name in ("rewards", "terminated", "truncated", "first"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))


def test_a_gradual_label_is_new_with_the_share_of_the_visit() -> None:
    """The cart's first push tells which meaning an action had: half of 4,000 environments have the new one in the middle of the ramp."""
    tasks = CartPole(shifts=("relabel",), gradual=1.0, tasks=2, frames=200_000, simulator="torch")
    seeds = np.arange(4000)[None]
    orders = [shift.actions for shift in tasks.drawn(0, 0, 2, 4, 2)]
    assert orders[0] is not None and orders[1] is not None and orders[0][0] != orders[1][0]
    pool = tasks.pool(tasks.visits()[1], seeds, 1, 0, Opening(300_000, 4000))
    pool.reset()
    pool.send(np.zeros(4000, int))
    right = pool.recv().observations[:, 1] > 0  # a push to the right is action 1 of the original
    assert np.mean(right == (orders[1][0] == 1)) == pytest.approx(0.5, abs=4 * 0.5 / 4000**0.5)


def test_noise_has_the_size_of_its_feature() -> None:
    noisy, plain = CartPole(shifts=("noise",), tasks=2, simulator="torch"), CartPole(shifts=(), tasks=1, simulator="torch")
    seeds = np.arange(5000)[None]
    sizes = noisy.drawn(0, 0, 2, 4, 2)[1].noise
    seen, still = (each.pool(each.visits()[-1], seeds, 1, 0).reset().observations for each in (noisy, plain))
    assert sizes is not None
    spread = 0.05 / 3**0.5  # of the start itself: other numbers are drawn beside the noise
    np.testing.assert_allclose(seen.std(0), np.sqrt(sizes**2 + spread**2), rtol=0.05)
    assert still.std(0) == pytest.approx([spread] * 4, rel=0.05)


def test_equal_seeds_play_equally_and_neighbours_make_no_difference() -> None:
    tasks, actions = Catch(simulator="torch", shifts=("permute", "noise")), at_random(40, 4, 3)
    visit = tasks.visits()[1]
    one, same, others = (play(tasks.pool(visit, seeds, 1, 0), actions) for seeds in (SEEDS, SEEDS, SEEDS + 100))
    assert_same(one, same)
    assert not np.array_equal(one.observations, others.observations)
    alone = play(tasks.pool(visit, SEEDS[:1, 1:], 1, 0), actions[:, 1:2])
    np.testing.assert_allclose(one.observations[:, 1:2], alone.observations, rtol=1e-6, atol=1e-7)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # by torch itself
def test_a_compiled_step_is_the_same() -> None:
    tasks = CartPole(simulator="torch", shifts=("offset", "permute", "relabel"), episode_steps=12)
    both = [tasks.device_pool(tasks.visits()[1], SEEDS, 0, None, "cpu", compile) for compile in (False, True)]
    seen = []
    for pool in both:
        assert pool is not None
        steps = [pool.reset()]
        steps += [pool.step(torch.from_numpy(row)) for row in at_random(60, 4, 2)]
        seen.append([torch.stack(part) for part in zip(*steps, strict=True)])
    for eager, compiled in zip(*seen, strict=True):
        torch.testing.assert_close(eager, compiled, rtol=1e-5, atol=1e-5)


POOLS: Any = [CartPole(simulator="torch"), Catch(simulator="torch"), Bandit(simulator="torch"), MinAtar(games=("Seaquest",))]


@pytest.mark.parametrize("tasks", POOLS, ids=lambda each: type(each).__name__)
def test_no_two_inputs_of_a_step_are_one_tensor(tasks: Any) -> None:
    """Compilers would take them for one input, in later steps too."""
    pool = tasks.device_pool(tasks.visits()[0], SEEDS, 0, None, "cpu")
    pool.reset()
    for _ in range(2):
        places = [each.data_ptr() for each in (*pool.tensors().values(), *pool._given.values(), pool._keys)]
        assert len(set(places)) == len(places) > 4
        once = torch.zeros(4, dtype=torch.int64)
        pool.load(dict.fromkeys(pool.tensors(), once))


@pytest.mark.parametrize("world", [each for _, each in TASKS.values()] + [catch.Catch()], ids=lambda each: type(each).__name__)
def test_nothing_reads_the_device(world: World) -> None:
    """On a device without values, whatever asks for one fails."""
    draws = torch.empty(3, world.draws, device="meta")
    state = world.begin(draws)
    state, rewards, ended = world.step(state, torch.empty(3, dtype=torch.int64, device="meta"), draws)
    assert {each.device.type for each in (world.observe(state), rewards, ended)} == {"meta"}


def test_a_problem_without_rules_is_refused() -> None:
    with pytest.raises(UsageError, match="LunarLander: there is no simulator=torch of LunarLander-v3; use simulator=envpool"):
        LunarLander(simulator="torch")


def test_the_default_keeps_the_hash_of_its_tasks() -> None:
    assert CartPole().fingerprint(0, 2) == "58b941110247e2d3"  # of the commit before the field
    assert CartPole(simulator="torch").fingerprint(0, 2) != CartPole().fingerprint(0, 2)


@pytest.mark.parametrize(
    "agent", ["ppo:num_envs=2,rollout_length=16,minibatches=2,epochs=1", "pqn:num_envs=2,rollout_length=16,minibatches=2,epochs=1"]
)
def test_a_resumed_run_is_one_that_was_never_stopped(agent: str) -> None:
    words = {"benchmark": "cartpole:tasks=2,frames=320,simulator=torch", "agent": agent, "network": "mlp:width=16,norm=layer"}
    resumed_is_never_stopped(words | {"members": 2, "checkpoint_every": 100, "diagnose_every": 20})


def test_the_random_numbers() -> None:
    """SplitMix64 of a counter, against Python's whole numbers; they are uniform, and differ between environments and calls."""

    def mixed(value: int) -> int:
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
        return value ^ value >> 31

    def drawn(seeds: np.ndarray, calls: int, count: int) -> torch.Tensor:
        own = keys(seeds, "cpu")
        return torch.cat([uniform(own, torch.tensor(call * count), count) for call in range(calls)], 1)

    weyl, seeds = 0x9E3779B97F4A7C15, [0, 3, 2**31 - 2]
    expected = [[mixed((mixed(seed * weyl % 2**64) + place * weyl) % 2**64) >> 40 for place in range(1, 21)] for seed in seeds]
    assert (drawn(np.array(seeds), 5, 4) * 2**24).tolist() == expected
    many = drawn(np.arange(1000), 10, 10).numpy()
    assert len(np.unique(many)) > 0.99 * many.size
    counts = np.histogram(many, 100, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 148.2  # chi-square of 99 degrees of freedom, p = 0.001
    correlations = [np.corrcoef(many[:-1].ravel(), many[1:].ravel())[0, 1], np.corrcoef(many[:, :-1].ravel(), many[:, 1:].ravel())[0, 1]]
    assert np.abs(correlations).max() < 0.015  # between neighbouring seeds, and calls: five standard errors
    numbers = normal(torch.from_numpy(many)).numpy()
    assert abs(numbers.mean()) < 4 / numbers.size**0.5 and numbers.std() == pytest.approx(1, abs=4 / (2 * numbers.size) ** 0.5)
