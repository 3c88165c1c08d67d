"""The command: its columns, its files, and its mistakes in a line."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from agents.sac import SAC
from launch.__main__ import main
from launch.check.readers.run_folder import _used
from plasticity_rl.networks.layers import HeadSpec
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from tests.agents.plain import built
from tests.launch.checkpoints.test_probe import train
from tests.training import CARTPOLE, LABELS, PENDULUM

SMALL = ["--updates", "60", "--learning-rate", "0.01", "--pairs", "4", "--twins", "2", "--samples", "64"]
NETS = """
from torch import nn


def make():
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor, self.critic = make(), make()


def fails():
    raise RuntimeError("no network today")


number = 3
"""


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Weights of a healthy and a ruined network, the module that makes them, and observations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "check_nets.py").write_text(NETS)
    good, bad = network(), network()
    with torch.no_grad():
        bad[0].bias -= 20
    torch.save(good.state_dict(), "good.pt")
    torch.save({"epoch": 3, "model_state_dict": {f"module.{name}": each for name, each in bad.state_dict().items()}}, "bad.pth")
    save_file(good.state_dict(), "good.safetensors")
    agent = {f"{part}.{name}": each for part in ("actor", "critic") for name, each in good.state_dict().items()}
    torch.save(agent, "agent.pt")
    np.savez("obs.npz", x=np.random.default_rng(0).normal(size=(200, 4)))
    yield tmp_path
    sys.modules.pop("check_nets", None)


MADE = ["--module", "check_nets.make", "--inputs", "obs.npz", *SMALL]


def test_two_checkpoints_stand_side_by_side(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["check", "good.pt", "bad.pth", *MADE]) == 0
    told = capsys.readouterr().out
    assert max(len(line) for line in told.splitlines() if not line.startswith("    ")) <= 60
    (dead,) = (line.split() for line in told.splitlines() if "dead units" in line and "!" in line)
    assert dead[2] != "1" and dead[3:5] == ["1", "!"]
    assert "bad.pth: cannot fit" in told and "ReDo" in told and "64 of 200 rows of obs.npz" in " ".join(told.split())


def test_json_and_the_exit_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "good.pt", "bad.pth", *MADE, "--json", "--logits", "2"]) == 0
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["checkpoint"], bad["checkpoint"]) == ("good.pt", "bad.pth")
    assert good["trainability"]["random functions"]["ratio"]["value"] > 0.8 > bad["trainability"]["random functions"]["ratio"]["value"]
    assert {each["name"] for each in good["measures"]} >= {"dead_fraction", "policy_entropy", "ntk_rank", "readiness"}
    assert main(["check", "good.safetensors", *MADE, "--fail-under", "0.8"]) == 0
    assert main(["check", "good.pt", "bad.pth", *MADE, "--fail-under", "0.8"]) == 1


def test_own_targets_stand_in_the_same_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).normal(size=(200, 4))
    np.savez("both.npz", x=x, y=(x[:, 0] > 0).astype(int))
    assert main(["check", "good.pt", "--module", "check_nets.make", "--inputs", "both.npz", *SMALL, "--json"]) == 0
    assert "own targets" in json.loads(capsys.readouterr().out)[0]["trainability"]


def test_a_folder_is_a_line_each_in_the_order_of_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "many").mkdir()
    for steps in (1000, 900, 100):
        torch.save(network().state_dict(), f"many/net_{steps}_steps.pt")
    assert main(["check", "many", *MADE, "--html", "page.html"]) == 0
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("net_")]
    assert lines[:3] == ["net_100_steps.pt", "net_900_steps.pt", "net_1000_steps.pt"]
    page = (folder / "page.html").read_text()
    assert "Did my agent lose plasticity?" in page and page.count("data:image/svg+xml") == 1 and "net_1000_steps.pt" in page


def test_the_page_of_two_shows_both_verdicts(folder: Path) -> None:
    assert main(["check", "good.pt", "bad.pth", *MADE, "--html", "page.html"]) == 0
    page = (folder / "page.html").read_text()
    (dead,) = (row for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL) if "dead units" in row and 'class="out"' in row)
    assert re.findall(r"<td(?: class=.(out).)?>([^<]*)</td>", dead)[2] == ("out", "1")  # bad.pth's; the good one's is not coloured
    assert re.findall(r"<td(?: class=.(out).)?>([^<]*)</td>", dead)[1][0] == ""
    assert page.count("data:image/svg+xml") == 2 and "cannot fit" in page and "ReDo" in page and "dead units" in page


def test_a_part_of_an_agent_without_forward(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--module", "check_nets.Agent", "--inputs", "obs.npz", *SMALL]
    assert main(["check", "agent.pt", *given, "--network", "actor"]) == 0
    assert capsys.readouterr().out.startswith("actor\n")
    assert main(["check", "agent.pt", *given]) == 2
    assert "makes a module without forward(): --network chooses one of actor, critic" in capsys.readouterr().err


def test_observations_of_an_environment(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--module", "check_nets.make", *SMALL]
    assert main(["check", "good.pt", *given, "--env", "CartPole-v1"]) == 0
    assert "64 observations of CartPole-v1, by random actions" in " ".join(capsys.readouterr().out.split())
    assert main(["check", "good.pt", *given, "--env", "CartPole-v1", "--play", "own"]) == 2
    assert "has no policy that could play" in capsys.readouterr().err
    assert main(["check", "good.pt", *given, "--env", "Catch-v0"]) == 2  # of EnvPool, with images of 10 x 5
    assert "fails on inputs of shape" in capsys.readouterr().err


def test_a_runs_layers_are_those_that_it_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = train(tmp_path, LABELS | {"chain": ["nap"]})  # effective weights are computed, and could not be traced
    assert main(["check", str(path), *SMALL, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert {(each["name"], each["layer"]) for each in found["measures"]} >= {("dead_fraction", "hidden0"), ("effective_rank", "hidden0")}
    assert [note for note in found["notes"] if "units are not measured" in note] == []


def test_a_run_brings_its_own_observations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = "ppo:num_envs=4,rollout_length=20,minibatches=2,epochs=1"
    path = train(tmp_path, CARTPOLE | {"agent": agent, "probe_every": 10, "probe_updates": 4, "checkpoint_every": 400})
    assert main(["check", str(path), *SMALL]) == 0
    told = capsys.readouterr().out
    assert "\npolicy\n" in told and "\nvalue\n" in told and "entropy, nats" in told and "hidden0" in told
    assert "observations that the run saw last" in " ".join(told.split())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere.zip"], "no such file or folder: nowhere.zip"),
        (["obs.npz"], "unknown kind of checkpoint '.npz'; one of: .bin, .ckpt"),
        (["good.pt"], "good.pt holds weights alone: --module MODULE.FUNCTION names a function that makes their network"),
        (["good.pt", "--module", "make"], "--module must be MODULE.FUNCTION"),
        (["good.pt", "--module", "check_nets.mak"], "no function 'mak' in check_nets; did you mean make?"),
        (["good.pt", "--module", "check_nets.number"], "no function 'number' in check_nets"),
        (["good.pt", "--module", "no_such_nets.make"], "cannot import no_such_nets: ModuleNotFoundError"),
        (["good.pt", "--module", "check_nets.fails"], "--module: check_nets.fails fails: RuntimeError: no network today"),
        (["agent.pt", "--module", "check_nets.make"], "agent.pt has no 0.weight, which check_nets.make makes"),
        (
            ["good.pt", "--module", "check_nets.make"],
            "good.pt does not say what its network sees: --inputs FILE.npz with an array x, or --env ID",
        ),
        (["good.pt", *MADE, "--env", "CartPole-v1"], "--inputs and --env both say what the network sees: give one"),
        (["good.pt", "--module", "check_nets.make", "--env", "CartPol-v1"], "unknown environment 'CartPol-v1'; did you mean CartPole-v1?"),
        (["good.pt", "--module", "check_nets.make", "--inputs", "good.pt"], "good.pt has no array x: np.savez(path, x=observations)"),
        (["good.pt", *MADE, "--html", "no/page.html"], "--html must name a file in a folder that exists, not no/page.html"),
        (["good.pt", *MADE, "--logits", "5"], "actions=(5,) have 5 logits, and the network 2 outputs"),
        (["good.pt", *MADE, "--network", "actor"], "unknown part of the module for --network 'actor'"),
        (["good.pt", "good.pt", *MADE], "the same checkpoint is given twice"),
        (["pickled.pt", *MADE], "pickled.pt holds more than tensors, and nothing else is unpickled"),
        (["empty", *MADE], "empty holds no checkpoint"),
    ],
    ids=lambda words: " ".join(words)[:40] if isinstance(words, list) else "",
)
def test_mistakes_are_told_in_a_line(words: list[str], told: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "empty").mkdir()
    torch.save(network(), "pickled.pt")
    before = sorted(folder.rglob("*"))
    assert main(["check", *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert [path for path in sorted(folder.rglob("*")) if "__pycache__" not in str(path)] == before


def test_a_head_has_the_layers_that_it_depends_on_alone() -> None:
    """Heads of one torso share its layers; networks of their own share none, although their outputs are concatenated."""

    def layers(network: Network) -> dict[str, list[str]]:
        params, x, found, start = network.init(torch.Generator().manual_seed(0)), torch.randn(2, *network.inputs), {}, 0
        for name, width in network.heads.heads:
            used = _used(network, params, slice(start, start + width), x)
            assert {f"{each}.{kind}" for each in {name.rpartition(".")[0] for name in used} for kind in ("weight", "bias")} == used
            found[name], start = sorted({each.rpartition(".")[0] for each in used}), start + width
        return found

    heads = (("policy", 2), ("value", 1))
    together, apart = (Network(MLP(width=4, depth=1), (3,), HeadSpec(heads, separate=each)) for each in (False, True))
    assert layers(together) == {"policy": ["hidden0", "policy"], "value": ["hidden0", "value"]}
    assert layers(apart) == {"policy": ["policy", "policy.hidden0"], "value": ["value", "value.hidden0"]}
    assert layers(built(SAC())) == {name: [name, f"{name}.hidden0", f"{name}.hidden1"] for name in ("actor", "critic0", "critic1")}


@pytest.mark.long
def test_the_networks_of_sac(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = train(tmp_path, PENDULUM | {"benchmark": "envpool:ids=Pendulum-v1,frames=80", "checkpoint_every": 80, "members": 1})
    words = ["--updates", "10", "--pairs", "2", "--twins", "2", "--samples", "64"]
    assert main(["check", str(path), *words, "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out.partition("\n")[2])}
    assert found.keys() == {"actor", "critic0", "critic1"}
    for name, each in found.items():
        assert {row["layer"] for row in each["measures"]} == {"", name, f"{name}.hidden0", f"{name}.hidden1"}
        assert not any("entropy" in row["name"] for row in each["measures"])
