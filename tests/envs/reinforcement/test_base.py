"""The interface of a reinforcement-learning benchmark, tested on each of them."""

import typing

import numpy as np
import pytest

from envs.reinforcement.atari import Atari
from envs.reinforcement.backends.pool import Pool, Step
from envs.reinforcement.backends.spaces import Discrete, Dtype
from envs.reinforcement.bandit import Bandit
from envs.reinforcement.base import Heads, ReinforcementBenchmark, num_actions
from envs.reinforcement.continual_world import CW20
from envs.reinforcement.control import Acrobot, CartPole, Catch, ContinualMountainCar, Control, LunarLander
from envs.reinforcement.envpool import EnvPool
from envs.reinforcement.gymnasium import Gymnasium
from envs.reinforcement.minatar.benchmark import MinAtar
from envs.reinforcement.mujoco import MuJoCo, SlipperyAnt
from envs.reinforcement.procgen import Procgen
from launch.config import defaults, parse
from plasticity_rl.checks import UsageError
from tests.envs.reinforcement import my_envs  # noqa: F401  # registers an id
from tests.envs.reinforcement.playing import play

BENCHMARKS: dict[str, ReinforcementBenchmark] = {
    "atari": Atari(games=("Breakout", "Freeway"), frames=400, cycles=2, episode_frames=800),
    "atari of ale-py": Atari(games=("Breakout", "Freeway"), frames=400, cycles=2, episode_frames=800, backend="ale"),
    "atari's ram": Atari(games=("Breakout", "Freeway"), frames=400, episode_frames=800, observe="ram"),
    "atari's ram of ale-py": Atari(games=("Breakout", "Freeway"), frames=400, episode_frames=800, backend="ale", observe="ram"),
    "atari in modes": Atari(games=("Breakout", "Freeway"), modes=(0, 4), difficulties=(1,), heads="per-task", episode_frames=800),
    "minatar": MinAtar(games=("Breakout", "Asterix"), cycles=2, permute=True),
    "procgen": Procgen(game="Bigfish", levels=3, cycles=2),
    "procgen in blocks": Procgen(game="Leaper", levels=2, levels_per_task=3, heads="per-task"),
    "cartpole": CartPole(tasks=3, cycles=2),
    "acrobot": Acrobot(tasks=3, heads="per-task"),
    "lunarlander": LunarLander(tasks=3),
    "catch": Catch(tasks=3),
    "continual-mountaincar": ContinualMountainCar(tasks=3),
    "gymnasium": Gymnasium(ids=("CartPole-v1", "Acrobot-v1"), pad=True, shifts=("offset",), tasks=4),
    "gymnasium's pictures": Gymnasium(ids=("Shown-v0",), kwargs=("length=3",), set=("pay=1..2",), tasks=2, cycles=2),
    "envpool": EnvPool(ids=("MiniGrid-Empty-5x5-v0", "MiniGrid-DoorKey-5x5-v0"), observe=("image",)),
    "envpool's bodies": EnvPool(ids=("WalkerWalk-v1", "WalkerRun-v1"), heads="per-task"),
    "mujoco": MuJoCo(vary=("mass=0.5..2", "fault"), tasks=2, cycles=2),
    "slippery-ant": SlipperyAnt(tasks=2),
    "cw20": CW20(frames=400),
    "bandit": Bandit(tasks=3, cycles=2, heads="per-task"),
}
SEEDS = np.array([[3], [5]])


@pytest.fixture(params=BENCHMARKS)
def benchmark(request, tmp_path, monkeypatch) -> ReinforcementBenchmark:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # of bodies with other physics
    return BENCHMARKS[request.param]


def made(make: typing.Callable[..., Pool | None], benchmark: ReinforcementBenchmark) -> Pool | None:
    """A pool of the second task, if the system supports it."""
    try:
        return make(benchmark.visits()[1], SEEDS, 1, 7)
    except UsageError as error:
        assert "Qt 5" in str(error) or "pygame" in str(error)
        pytest.skip(str(error))


def test_fields_agree(benchmark):
    frame = benchmark.observation_space.shape
    assert benchmark.supervision == "rewards" and benchmark.unit == "frames"
    assert benchmark.observation_space.dtype in typing.get_args(Dtype) and benchmark.heads in typing.get_args(Heads)
    assert benchmark.inputs == (frame if benchmark.stack == 1 else (benchmark.stack, *frame))
    assert benchmark.action_space.size >= 2 and benchmark.frame_skip >= 1 and benchmark.life_loss is False


def test_names_are_the_tasks_in_order(benchmark):
    assert tuple(dict.fromkeys(visit.task for visit in benchmark.visits())) == benchmark.names
    assert [visit.index for visit in benchmark.visits()] == list(range(len(benchmark.visits())))
    assert set(benchmark.references()) <= set(benchmark.names)
    for visit in benchmark.visits():
        assert visit.cycle == visit.index // len(benchmark.names) and visit.budget % benchmark.frame_skip == 0


def test_pools_answer_as_announced(benchmark):
    pool = made(benchmark.pool, benchmark)
    assert pool is not None and pool.num_envs == 2
    second = num_actions(benchmark)[1:2]
    assert (pool.action_space, pool.observation_space) == (
        Discrete(*second) if second else benchmark.action_space,
        benchmark.observation_space,
    )
    observations, space = pool.reset().observations, benchmark.observation_space
    assert (observations.shape, observations.dtype) == ((2, *space.shape), space.dtype)


def test_rendered_pools_go_through_the_same_trajectory(benchmark):
    rendered = made(benchmark.render_pool, benchmark)
    if rendered is None:
        assert isinstance(benchmark, Control | Bandit | EnvPool | Gymnasium)
        return
    pool = made(benchmark.pool, benchmark)
    assert pool is not None and rendered.action_space == pool.action_space
    actions = np.random.default_rng(0).integers(pool.action_space.n, size=(330, 2))
    seen, steps = play(rendered, actions), play(pool, actions)
    for name in Step._fields[1:]:
        np.testing.assert_array_equal(getattr(seen, name), getattr(steps, name), err_msg=name)
    assert (steps.terminated | steps.truncated).sum() >= 2
    assert seen.observations.dtype == np.uint8 and seen.observations.shape[-1] == 3 and seen.observations.ndim == 5
    if isinstance(benchmark, Procgen):  # observations are already pictures
        np.testing.assert_array_equal(np.moveaxis(seen.observations, -1, 2), steps.observations)


@pytest.mark.parametrize(
    "word", [word for word in defaults.PARTS["benchmark"] if parse.part_class("benchmark", word).supervision == "rewards"]
)
def test_every_word_makes_an_experiment_of_games(word):
    experiment = parse.experiment({"benchmark": word})
    benchmark: ReinforcementBenchmark = experiment.benchmark
    assert benchmark.supervision == "rewards" and type(experiment).from_json(experiment.to_json()) == experiment
    assert experiment.agent.num_envs >= 1 and experiment.checkpoint_every * benchmark.frame_skip <= benchmark.visits()[0].budget * 3
