"""User-defined parts from CONTRIBUTING.md, run by the commands that it shows, at small budgets."""

import dataclasses
import importlib
import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import gymnasium
import numpy as np
import pytest

from agents.acting.ray_actors import RayWorker
from envs.reinforcement.isolation import containment
from launch.__main__ import main
from launch.config.parse import experiment
from launch.run.code import code_hash
from launch.run.runner import describe
from plasticity_rl import plugins
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.events import Metric, Score
from plasticity_rl.records.folder import RunFolder
from tests.run_folders import run_paths
from tests.training import LABELS

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
SHOWN = {
    module: (code, line)
    for code, module, line in re.findall(r'^```python\n("""(my_\w+)\.py""".*?)^```\n+```\n(.*?)^```', PAGE, re.DOTALL | re.MULTILINE)
}
SIZES = {"tasks": 2, "updates": 30, "frames": 1024}
SMALL = ["--eager", "--members", "2", "--diagnose-every", "20"]

Load = Callable[..., ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Write a module, the page's by default, into the current folder, and allow it."""
    monkeypatch.setattr(plugins, "_allowed", [])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def put(name: str, text: str = "") -> ModuleType:
        Path(f"{name}.py").write_text(text or SHOWN[name][0])
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # so that the test leaves no trace
        del sys.modules[name]
        plugins.allow([name])
        return importlib.import_module(name)

    return put


def rows(words: dict) -> tuple[list[Score], list[Metric]]:
    """Scores and metrics of a run."""
    made = experiment(words)
    events = list(made.agent.train(made, "cpu", False, None))
    return [each for each in events if isinstance(each, Score)], [each for each in events if isinstance(each, Metric)]


def test_each_kind_is_on_the_page() -> None:
    named = {option for module, (_, line) in SHOWN.items() for option in re.findall(rf"--(\w+)[^-]*[ =]{module}\.", line)}
    assert "my_data" in SHOWN and named == {"chain", "benchmark", "agent", "network", "metrics"}


@pytest.mark.parametrize("module", SHOWN)
def test_the_command_of_the_page_trains(module: str, load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    load(module)
    words = shlex.split(re.sub(r"(tasks|updates|frames)=\d+", lambda found: f"{found[1]}={SIZES[found[1]]}", SHOWN[module][1]))
    assert main([*words[3:], *SMALL]) == 0
    (path,) = run_paths(Path("runs"))
    folder = RunFolder(path)
    mark = "" if module == "my_data" else "plugin:"  # a data set is a field of a benchmark
    assert folder.is_done and f'"{mark}{module}.' in folder.spec.read_text()
    assert main(["show", "--plugin", module] if mark else ["data", "my_data.rings", "--plugin", module]) == 0
    assert f"{module}." in capsys.readouterr().out
    described = folder.read_spec().experiment
    assert "plugin:" not in folder.read_spec().benchmark + folder.read_spec().label
    assert Experiment.from_json(json.loads(json.dumps(described))).to_json() == described


def test_the_environment_of_its_page_trains(load: Load) -> None:
    page = (Path(__file__).parents[1] / "docs/environments.md").read_text()
    found = re.search(r'^```python\n("""my_envs.py""".*?)^```\n+```\n(.*?)^```', page, re.DOTALL | re.MULTILINE)
    assert found
    load("my_envs", found[1])
    try:
        assert main([*shlex.split(re.sub(r"frames=\d+", "frames=1024", found[2]))[3:], *SMALL]) == 0
    finally:
        del gymnasium.registry["Corridor-v0"]
    (path,) = run_paths(Path("runs"))
    described = RunFolder(path).read_spec()
    assert [visit["task"] for visit in described.visits] == ["Corridor-v0-0", "Corridor-v0-1"]


def test_the_streams_tasks_are_what_the_page_says(load: Load) -> None:
    stream = load("my_streams").Reversed(images=60, tasks=2, updates=5).open(((0, 0), (0, 1)), 60, "cpu")
    first, second = (stream.batch(visit, 0)["inputs"] for visit in (0, 1))
    plain = experiment({"benchmark": "permuted-labels:images=60"}).benchmark.load()[0]
    assert {tuple(image) for image in first[0].tolist()} <= {tuple(image) for image in plain.tolist()}
    assert {tuple(image) for image in second[0].flip(-1).tolist()} <= {tuple(image) for image in plain.tolist()}


def test_the_games_tasks_are_what_the_page_says(load: Load) -> None:
    made = experiment({"benchmark": "my_games.MountainCar:tasks=12"}) if load("my_games") else None
    assert made and made.benchmark.references()["MountainCar-0"] == {"random": -200.0}
    seeds = np.arange(24).reshape(12, 2)
    observations = made.benchmark.pool(made.benchmark.visits()[0], seeds, 1, 0).reset().observations
    still = observations == 0  # the velocity, whose place depends on the member's task
    assert (still.sum(1) == 1).all() and still[:, 0].any() and still[:, 1].any()
    assert ((observations[~still] >= -0.6) & (observations[~still] <= -0.4)).all()


def test_the_worlds_play_is_what_the_page_says(load: Load) -> None:
    """A thousand environments by chance; the score above is of 21,345 episodes, with a standard error of 0.2."""
    wind = load("my_worlds").Wind(tasks=2)
    pool, random = wind.pool(wind.visits()[1], np.arange(1000)[None], 1, 0), np.random.default_rng(1)
    returns, going = pool.reset().rewards, np.ones(1000, bool)
    for _ in range(100):
        pool.send(random.integers(3, size=1000))
        step = pool.recv()
        returns, going = returns + step.rewards * going, going & ~(step.terminated | step.truncated)
    assert not going.any() and float(returns.mean()) == pytest.approx(wind.random_score, abs=4 * float(returns.std()) / 1000**0.5)


def test_a_derived_agent_without_its_change_is_the_one_it_derives_from(load: Load) -> None:
    load("my_agents")
    ours, _ = rows(LABELS)
    theirs, _ = rows(LABELS | {"agent": "my_agents.Smoothed:batch_size=8,record_every=15,smoothing=0"})
    other, _ = rows(LABELS | {"agent": "my_agents.Smoothed:batch_size=8,record_every=15,smoothing=0.5"})
    assert ours == theirs != other


def test_a_remote_actor_imports_the_plugins(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    load("my_games")
    made = experiment({"benchmark": "my_games.MountainCar:tasks=2,frames=4096", "agent": "pqn", "actors": 1, "members": 1})
    monkeypatch.setattr(plugins, "_allowed", [])
    RayWorker((("my_games",), containment(), made, False, False), 0, 0)
    assert plugins.allowed() == ("my_games",)


def test_a_data_sets_function_is_code_that_a_run_depends_on(load: Load) -> None:
    load("my_data")
    words = {"benchmark": "permuted-labels:dataset=my_data.rings,tasks=2,updates=5"}
    before, other = (code_hash(describe(experiment(each))) for each in (words, {"benchmark": "permuted-labels:tasks=2,updates=5"}))
    Path("my_data.py").write_text(SHOWN["my_data"][0] + "\nMORE = 1\n")
    assert code_hash(describe(experiment(words))) != before
    assert code_hash(describe(experiment({"benchmark": "permuted-labels:tasks=2,updates=5"}))) == other


def test_a_metric_changes_nothing_and_is_what_it_says(load: Load) -> None:
    load("my_metrics")
    plain, with_it = experiment(LABELS), experiment(LABELS | {"metrics": ["my_metrics.Above"]})
    assert plain.setting == with_it.setting and plain.key != with_it.key and "metrics" not in plain.to_json()
    (scores, _), (again, found) = rows(LABELS), rows(LABELS | {"metrics": ["my_metrics.Above"]})
    assert scores == again
    for suffix in ("", "_fresh"):  # a ReLU's outputs are zero or positive
        zeros = {(row.member, row.updates): row.value for row in found if row.name == f"zero_fraction{suffix}/hidden1"}
        above = {(row.member, row.updates): row.value for row in found if row.name == f"my_metrics.Above{suffix}/hidden1"}
        assert len(above) == 12 and above == {where: pytest.approx(1 - value, abs=1e-6) for where, value in zeros.items()}
    with pytest.raises(UsageError, match="Above is twice in metrics"):
        experiment({"metrics": ["my_metrics.Above", "my_metrics.Above:threshold=1"]})


def test_a_metric_that_is_no_scalar_is_refused(load: Load) -> None:
    load("my_metrics", SHOWN["my_metrics"][0].replace(".float().mean()", ".float().mean(0)"))
    with pytest.raises(UsageError, match=r"my_metrics.Above: hidden0 must be a scalar, not of shape \(12,\)"):
        rows(LABELS | {"metrics": ["my_metrics.Above"]})


DERIVED = '''
from dataclasses import dataclass
from typing import ClassVar

from agents.base import Agent, RolloutAgent
from agents.dqn import DQN
from agents.ppo import PPO
from envs.reinforcement.base import ReinforcementBenchmark
from envs.reinforcement.control import CartPole
from envs.supervised.base import ImageTasks, Tasks
from envs.supervised.labels import RandomLabels
from plasticity_rl.interventions import Refresh
from plasticity_rl.metrics.base import NetworkMetric
from plasticity_rl.networks.layers import Dense
from plasticity_rl.networks.specs import NetworkSpec


@dataclass(frozen=True)
class Mine(DQN):
    """A DQN."""

    replay: int = 30_000
    train_every: int = 3


@dataclass(frozen=True)
class Narrow(NetworkSpec):
    """Layers that grow narrower."""

    def stages(self):
        return Dense(32), Dense(8)


@dataclass(frozen=True)
class Pole(CartPole):
    """A CartPole."""


@dataclass(frozen=True)
class Half(ReinforcementBenchmark):
    stack: ClassVar[int] = 1
    heads: str = "shared"


@dataclass(frozen=True)
class Unlike:
    supervision: ClassVar[str] = "rewards"


@dataclass(frozen=True)
class Unable(RolloutAgent):
    batch_size: int = 3


@dataclass(frozen=True)
class Taskless(ImageTasks):
    pass


@dataclass(frozen=True)
class Idle(Refresh):
    every: int | None = 3


@dataclass(frozen=True)
class Blind(NetworkMetric):
    pass
'''


def test_a_derived_part_has_the_defaults_of_the_projects(load: Load) -> None:
    load("derived", DERIVED)
    ours = experiment({"benchmark": "cartpole"})
    theirs = experiment({"benchmark": "derived.Pole", "agent": "derived.Mine", "network": "derived.Narrow"})
    assert (theirs.optimizer, theirs.schedule, theirs.diagnose_every) == (ours.optimizer, ours.schedule, ours.diagnose_every)
    assert (theirs.agent.replay, theirs.agent.train_every) == (30_000, 3)  # its own defaults
    assert theirs.agent == dataclasses.replace(theirs.agent, **dataclasses.asdict(ours.agent) | {"replay": 30_000, "train_every": 3})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            {"benchmark": "faulty.Half"},
            "faulty.Half is not a valid benchmark: it lacks action_space, fingerprint, frame_skip, inputs, life_loss, names",
        ),
        ({"benchmark": "faulty.Taskless"}, "faulty.Taskless is not a valid benchmark: it lacks task of envs.supervised.base.Tasks"),
        (
            {"agent": "faulty.Unlike"},
            "faulty.Unlike is not a valid agent: it lacks batch_size, decode_outputs, fit, has_replay, loss, measure_constants, separable,",
        ),
        ({"agent": "faulty.Unable"}, "faulty.Unable is not a valid agent: it lacks act, decode_outputs,"),
        ({"agent": "faulty.Pole"}, "faulty.Pole is not a valid agent: it lacks batch_size, decode_outputs"),
        ({"network": "faulty.Pole"}, "faulty.Pole is not a valid network: it must derive from plasticity_rl.networks.specs.NetworkSpec"),
        ({"chain": ["faulty.Idle"]}, "faulty.Idle is not a valid method: it lacks refresh of plasticity_rl.interventions.Intervention"),
        (
            {"metrics": ["faulty.Blind"]},
            "faulty.Blind is not a valid metric: it lacks measure of plasticity_rl.metrics.base.NetworkMetric",
        ),
        ({"metrics": ["loss"]}, "unknown metric 'loss'; there is none"),
        ({"metrics": "faulty.Blind"}, "metrics must be a list of metrics, not 'faulty.Blind'"),
        ({"benchmark": "faulty.Poll"}, "unknown benchmark 'faulty.Poll'; did you mean faulty.Pole?"),
        ({"agent": "os.PathLike"}, "module 'os' is not allowed to be imported; --plugin os allows it"),
    ],
)
def test_what_is_missing_is_named_in_one_line(load: Load, words: dict, said: str) -> None:
    load("faulty", DERIVED)
    with pytest.raises(UsageError) as error:
        experiment(words)
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


def test_the_lists_leave_out_what_is_not_whole(load: Load) -> None:
    load("listed", DERIVED)
    found = {kind: plugins.known(kind) for kind in plugins.BASES}
    assert found == {"method": [], "benchmark": ["listed.Pole"], "agent": ["listed.Mine"], "network": ["listed.Narrow"], "metric": []}
