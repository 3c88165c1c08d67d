"""The wheel: the library alone, and enough to work."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

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


def test_the_wheel_holds_the_library_alone_and_works_by_itself(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as held:
        names = held.namelist()
        assert {name.split("/")[0].split("-")[0] for name in names} == {"plasticity_rl"}
        assert {f"plasticity_rl/{path.relative_to(ROOT / 'plasticity_rl')}" for path in (ROOT / "plasticity_rl").rglob("*.py")} <= set(
            names
        )
        assert any(name.endswith("licenses/LICENSE") for name in names)
        held.extractall(tmp_path / "installed")
    # Without site's hooks the checkout is not on the path, as on another machine.
    command = [sys.executable, "-I", "-S", "-c", USE, str(tmp_path / "installed"), sysconfig.get_paths()["purelib"]]
    used = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert used.returncode == 0, used.stderr
    assert used.stdout.strip() == "torch.Size([2])"
