"""Plugins through the real command, and modules that are never imported."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.__main__ import main
from launch.config import parse
from launch.run import estimate
from launch.run.code import code_hash
from launch.run.runner import describe
from plasticity_rl import plugins, words
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.records import checkpoint
from plasticity_rl.records.folder import RunFolder
from tests.run_folders import run_paths

ROOT = Path(__file__).parents[2]
SHRINK = '''
"""Methods of somebody."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions import ReDo
from plasticity_rl.interventions.base import Intervention, Refresh, RefreshContext, State
from plasticity_rl.networks.layers import Layers, Params, select
from plasticity_rl.optim.optimizers import Net


@dataclass(frozen=True)
class Shrink(Intervention):
    """Multiply every hidden weight by `factor` after every update (Nobody 2020, arXiv 2001.00001)."""

    factor: Annotated[float, Interval("(0, 1]")] = 0.999

    def __post_init__(self) -> None:
        check(self)

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        return params | {layer.weight: self.factor * params[layer.weight] for layer in select(layers, "hidden")}, state


@dataclass(frozen=True)
class Often(Refresh):
    """The oldest units are left out; it has no default clock."""

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        return net, state


class Thawed(Shrink):
    """No dataclass of its own."""

    colour: str = "red"


@dataclass(frozen=True)
class Needy(Intervention):
    """It wants to be told."""

    strength: float
'''
SMALL = ["--benchmark", "random-labels:images=60,tasks=2,updates=30", "--network", "mlp:width=12,depth=2", "--members", "2", "--eager"]
SMALL += ["--agent", "supervised:batch_size=8,record_every=15", "--diagnose-every", "20", "--checkpoint-every", "25"]

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write an importable module, removed after the test; returns its name."""
    monkeypatch.setattr(plugins, "_allowed", [])
    monkeypatch.syspath_prepend(tmp_path)

    def put(name: str, text: str = SHRINK) -> str:
        file = tmp_path / f"{name.replace('.', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        for module in (name, name.partition(".")[0]):
            monkeypatch.setitem(sys.modules, module, None)  # so that the former entry, an absence, comes back
            del sys.modules[module]
        return name

    return put


def command(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the command line from `folder`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "launch", "run", "--name", "mine", *SMALL, "--chain", "nap", "my_methods.Shrink:factor=0.9", *more]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.process
def test_a_method_of_ones_own_is_run_resumed_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my_methods.py").write_text(SHRINK)
    refused = command(tmp_path)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "--plugin my_methods allows it" in refused.stderr
    assert not (tmp_path / "runs").exists()
    done = command(tmp_path, "--plugin", "my_methods")
    assert done.returncode == 0, done.stderr
    (folder,) = run_paths(tmp_path / "runs")
    spec = RunFolder(folder).read_spec()
    assert RunFolder(folder).is_done and spec.label == "nap + my_methods.Shrink:factor=0.9"
    assert spec.experiment["chain"][1] == ["plugin:my_methods.Shrink", {"factor": 0.9}]
    last, _ = checkpoint.load_latest(folder / "checkpoints")
    assert last is not None

    scores = (folder / "scores.csv").read_bytes()
    (folder / "DONE").unlink()
    (checkpoint.checkpoints(folder / "checkpoints")[-1] / "manifest.json").unlink()
    assert command(tmp_path, "--plugin", "my_methods").returncode == 0
    assert RunFolder(folder).is_done and (folder / "scores.csv").read_bytes() == scores
    again, _ = checkpoint.load_latest(folder / "checkpoints")
    assert again is not None and all((again.tensors[name] == tensor).all() for name, tensor in last.tensors.items())

    assert main(["report", str(tmp_path / "runs")]) == 0  # in a process unaware of the plugin
    assert "my_methods.Shrink" in (tmp_path / "runs" / "report" / "report.html").read_text()
    capsys.readouterr()
    assert main(["play", str(folder)]) == 2 and "--plugin my_methods allows it" in capsys.readouterr().err
    assert "my_methods" not in sys.modules


def test_what_a_plugin_computes_is_what_is_trained(write: Write) -> None:
    from tests.learners import batches, learn

    plugins.allow([write("scaled_methods")])
    ours, theirs = (learn(parse.experiment({"chain": chain}).chain, "mlp", 2) for chain in ([], ["scaled_methods.Shrink:factor=0.5"]))
    (batch,) = batches("mlp", 2, 1)
    for learner in (ours, theirs):
        learner.update(1e-2, batch)
    for name, param in theirs.net.params.items():
        factor = 0.5 if name.startswith("hidden") and name.endswith("weight") else 1.0
        assert param.sub(factor * ours.net.params[name]).abs().max() < 1e-7, name


def test_json_there_and_back_is_the_same_experiment(write: Write) -> None:
    plugins.allow([write("my_package.inner")])
    made = parse.experiment({"chain": ["redo", "my_package.inner.Shrink:factor=0.5"]})
    again = Experiment.from_json(json.loads(json.dumps(made.to_json())))
    assert again == made and again.key == made.key
    assert made.to_json()["chain"][0][0] == "redo"  # ours are not marked
    assert made.label == "redo + my_package.inner.Shrink:factor=0.5"
    assert plugins.known("method") == [
        "my_package.inner.Needy",
        "my_package.inner.Often",
        "my_package.inner.Shrink",
        "my_package.inner.Thawed",
    ]


@pytest.mark.parametrize("path", ["plugin:trap_methods.Shrink", "trap_methods.Shrink", "plugin:os.system", "plugin:", "plugin:Shrink"])
def test_a_description_imports_nothing_that_was_not_allowed(write: Write, tmp_path: Path, path: str) -> None:
    write("trap_methods", f"open({str(tmp_path / 'sprung')!r}, 'w')\n{SHRINK}")
    described = parse.experiment({}).to_json()
    with pytest.raises(UsageError, match=r"is not allowed to be imported; --plugin|unknown method"):
        Experiment.from_json(described | {"chain": [[path, {}]]})
    with pytest.raises(UsageError):
        parse.experiment({"chain": [path.removeprefix("plugin:")]})
    assert not (tmp_path / "sprung").exists() and "trap_methods" not in sys.modules


def test_a_method_of_ones_own_is_limited_to_one_network(write: Write) -> None:
    plugins.allow([write("limited_methods"), write("policy.inner")])
    made = parse.experiment({"chain": ["value.limited_methods.Shrink:factor=0.5", "policy.policy.inner.Shrink"]})
    assert [each.only for each in made.chain] == ["value", "policy"]
    assert made.label == "value.limited_methods.Shrink:factor=0.5 + policy.policy.inner.Shrink"
    assert parse.experiment({"chain": ["policy.inner.Shrink"]}).chain[0].only == ""  # a module's own name comes first
    assert Experiment.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert words.part("method", "value.limited_methods.Shrink:factor=0.5") == made.chain[0]


def test_a_module_that_is_allowed_brings_those_below_it_and_no_others(write: Write) -> None:
    write("whole.part")
    write("wholesale")
    plugins.allow(["whole"])
    plugins.allow(plugins.allowed())
    assert plugins.allowed() == ("whole",)
    assert parse.experiment({"chain": ["whole.part.Shrink"]}).label == "whole.part.Shrink"
    with pytest.raises(UsageError, match="--plugin wholesale allows it"):
        parse.experiment({"chain": ["wholesale.Shrink"]})
    with pytest.raises(UsageError, match=r"plugin whole\.other cannot be imported: ModuleNotFoundError"):
        parse.experiment({"chain": ["whole.other.Shrink"]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wrong_methods.Shrnk", "unknown method 'wrong_methods.Shrnk'; did you mean wrong_methods.Shrink?"),
        ("wrong_methods.ReDo", "unknown method 'wrong_methods.ReDo'"),  # ours has its own word
        ("wrong_methods.Thawed", "wrong_methods.Thawed must be a frozen dataclass"),
        ("wrong_methods.Needy", "wrong_methods.Needy: strength must have a default"),
        ("wrong_methods.Often", "wrong_methods.Often does not accept its own defaults: Often: clock=update needs every"),
        ("wrong_methods.Shrink:factr=1", "wrong_methods.Shrink has no field 'factr'; did you mean factor?"),
        ("wrong_methods.Shrink:factor=2", "Shrink: factor must lie in (0, 1], not 2.0"),
        ("../x", "unknown method '../x'"),
        (".Shrink", "unknown method '.Shrink'"),
    ],
)
def test_mistakes_are_named_in_one_line(write: Write, text: str, said: str) -> None:
    plugins.allow([write("wrong_methods")])
    with pytest.raises(UsageError) as error:
        parse.experiment({"chain": [text]})
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("absent_methods", None, "No module named 'absent_methods'; modules are looked for in this folder"),
        ("broken_methods", "1 / 0", "broken_methods cannot be imported: ZeroDivisionError: division by zero"),
        ("poor_methods", "import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("my_methods.py/", None, "a plugin is a module name, such as my_methods or my_package.methods, not 'my_methods.py/'"),
        ("leaving_methods", "raise SystemExit(0)", "leaving_methods cannot be imported: SystemExit"),
    ],
)
def test_a_module_that_cannot_be_had_is_one_line(
    write: Write, capsys: pytest.CaptureFixture[str], name: str, text: str | None, said: str
) -> None:
    if text is not None:
        write(name, text)
    assert main(["interventions", "--plugin", name]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1 and not captured.out


def test_the_option_is_repeatable_and_every_listing_knows_it(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "calibrate", lambda *_: None)
    good = SHRINK.partition("@dataclass(frozen=True)\nclass Often")[0]
    both = ["--plugin", write("first_methods", good), "--plugin", write("second_methods", good)]
    (tmp_path / "two.py").write_text('EXPERIMENTS = [{"chain": ["first_methods.Shrink"]}, {"chain": ["second_methods.Shrink"]}]')
    assert main(["sweep", str(tmp_path / "two.py"), "--dry-run", *both, "--runs", str(tmp_path / "runs")]) == 0
    assert capsys.readouterr().out.count("new") == 2
    assert main(["show", "second_methods.Shrink", *both]) == 0 and "factor" in capsys.readouterr().out
    assert main(["show", *both]) == 0 and "first_methods.Shrink" in capsys.readouterr().out
    assert main(["interventions", *both]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("first_methods.Shrink"))
    assert line.split()[1:3] == ["project", "2001.00001"]
    assert line.endswith("Multiply every hidden weight by `factor` after every update.")
    assert main(["interventions", "first_methods.Shrink", *both]) == 0
    assert "--chain first_methods.Shrink:factor=0.999" in capsys.readouterr().out


def test_an_installed_package_needs_no_option(write: Write, tmp_path: Path) -> None:
    def declare(package: str, value: str) -> None:
        folder = tmp_path / f"{package}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[plasticity_rl.plugins]\nx = {value}\n")

    declare("installed-methods", f"{write('installed_methods')}:Shrink")
    assert parse.experiment({"chain": ["installed_methods.Shrink"]}).label == "installed_methods.Shrink"
    described = parse.experiment({}).to_json() | {"chain": [["plugin:installed_methods.Shrink", {"factor": 0.5}]]}
    assert Experiment.from_json(described).label == "installed_methods.Shrink:factor=0.5"
    declare("wrecked", "wrecked_methods")
    with pytest.warns(UserWarning, match="plugin wrecked_methods cannot be imported"):
        assert "installed_methods.Shrink" in plugins.known("method")


def test_a_plugins_files_are_code_that_a_run_depends_on(write: Write, tmp_path: Path) -> None:
    plugins.allow([write("counted_methods"), write("other_methods")])
    none, theirs = (describe(parse.experiment({"chain": chain})) for chain in ([], ["counted_methods.Shrink"]))
    before = code_hash(none), code_hash(theirs)
    assert before[0] != before[1]
    (tmp_path / "other_methods.py").write_text(f"{SHRINK}\n")
    assert (code_hash(none), code_hash(theirs)) == before
    (tmp_path / "counted_methods.py").write_text(f"{SHRINK}\n# a comment\n")
    assert code_hash(theirs) == before[1]
    (tmp_path / "counted_methods.py").write_text(f"{SHRINK}\nPRIME = 7\n")
    assert code_hash(none) == before[0] and code_hash(theirs) != before[1]


def test_of_a_package_all_files_count(write: Write, tmp_path: Path) -> None:
    plugins.allow([write("large.methods") and write("large.__init__", "") and "large"])
    theirs = describe(parse.experiment({"chain": ["large.methods.Shrink"]}))
    before = code_hash(theirs)
    (tmp_path / "large" / "formulas.py").write_text("")
    assert code_hash(theirs) != before
