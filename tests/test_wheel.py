"""The wheel: a library that needs torch alone, and the testbed behind one command, under one import name."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import plasticity_rl
from launch.run.code import module_hashes
from plasticity_rl.records.folder import RunFolder
from tests.run_folders import run_paths

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]

USE = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import plasticity_rl
assert plasticity_rl.__file__.startswith(sys.argv[1]), plasticity_rl.__file__
import torch
from plasticity_rl.interventions import NormalizeAndProject, ReDo, assemble
from plasticity_rl.training.learner import Learner
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam
chain = (NormalizeAndProject(), ReDo(every=1))
network, optimizer = assemble(MLP(width=8, depth=2), Adam(), chain, inputs=(4,), heads=3)
def loss(params, batch):
    return network.apply(params, batch["inputs"])[0].square().mean(), {}
learner = Learner(network, loss, optimizer, chain, members=2, seed=0, compile=False)
print(learner.update(1e-3, {"inputs": torch.randn(2, 5, 4)})["loss"].shape)
assert not {"ray", "envpool", "tyro", "envs", "agents"} & set(sys.modules)
"""


PLUGIN = """
from dataclasses import dataclass
from plasticity_rl.interventions import Intervention

@dataclass(frozen=True)
class Halve(Intervention):
    def project(self, params, state, layers):
        return {name: param / 2 for name, param in params.items()}, state
"""
RUN = "run --benchmark random-labels:images=60,tasks=2,updates=20 --network mlp:width=8,depth=1 --members 2 --eager --name one"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_one_import_name_and_all_files_of_the_checkout(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as held:
        names = set(held.namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"plasticity_rl"}
    assert {f"plasticity_rl/{path.relative_to(ROOT / 'plasticity_rl')}" for path in (ROOT / "plasticity_rl").rglob("*.py")} <= names
    files = {path for each in ("agents", "analysis", "envs", "launch") for path in (ROOT / each).rglob("*.*") if path.suffix != ".pyc"}
    assert {f"plasticity_rl/testbed/{path.relative_to(ROOT)}" for path in files} <= names
    assert "plasticity_rl/py.typed" in names and any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.endswith(".pyc") for name in names)


def test_an_editable_installation_copies_no_file(tmp_path: Path) -> None:
    code = f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as held:
        assert {name for name in held.namelist() if ".dist-info/" not in name} == {"_plasticity_rl.pth"}


def test_the_library_of_the_wheel_works_by_itself(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as held:
        held.extractall(tmp_path / "installed")
    # Without site's hooks the checkout is not on the path, as on another machine.
    command = [sys.executable, "-I", "-S", "-c", USE, str(tmp_path / "installed"), sysconfig.get_paths()["purelib"]]
    used = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert used.returncode == 0, used.stderr
    assert used.stdout.strip() == "torch.Size([2])"


@pytest.mark.long
def test_the_installed_command_trains_and_reports_as_the_checkout_does(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(tmp_path / "venv/bin/python"),
        "--disable-pip-version-check",
        "install",
        "--no-deps",
    ]
    subprocess.run([*pip, "--quiet", "--disable-pip-version-check", str(wheel)], check=True)
    (tmp_path / "my_methods.py").write_text(PLUGIN)
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    # The dependencies as pip would install them. Its .pth files, and with them the checkout, do not count on PYTHONPATH.
    whole = alone | {"PYTHONPATH": sysconfig.get_paths()["purelib"]}

    def command(words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run([tmp_path / "venv/bin/plasticity-rl", *words.split()], cwd=tmp_path, env=env, capture_output=True, text=True)

    version = command("--version", alone)
    assert (version.returncode, version.stdout) == (0, f"plasticity-rl {plasticity_rl.__version__}\n")
    without = command("show", alone)
    assert (without.returncode, without.stdout, without.stderr.count("\n")) == (2, "", 1)
    assert "pip install 'plasticity-rl[testbed]'" in without.stderr
    trained = command(f"{RUN} --plugin my_methods --chain my_methods.Halve", whole)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.splitlines()[-1].startswith("plasticity-rl report ")
    (run,) = run_paths(tmp_path / "runs" / "one")
    context = json.loads((run / "context.json").read_text())
    assert context["commit"] is None
    spec = RunFolder(run).read_spec()
    same = module_hashes(spec._replace(experiment=spec.experiment | {"chain": []}))  # of the checkout, which lacks the plugin
    assert {name: digest for name, digest in context["modules"].items() if name != "my_methods"} == same
    reported = command("report runs/one", whole)
    assert reported.returncode == 0 and (tmp_path / "runs/one/report/report.html").is_file(), reported.stderr
