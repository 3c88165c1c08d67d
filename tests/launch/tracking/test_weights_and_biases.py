"""Calls to Weights & Biases, recorded by a stand-in."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from launch.__main__ import main
from launch.tracking.weights_and_biases import WeightsAndBiases
from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Media, Metric, Score
from plasticity_rl.records.folder import RunFolder
from plasticity_rl.records.tables import read_rows
from tests.fake_runs import spec, write_run
from tests.run_folders import run_paths

SMALL = ["--benchmark", "random-labels:images=60,tasks=3,updates=40", "--network", "mlp:width=12,depth=2", "--members", "2", "--eager"]
SMALL += ["--agent", "supervised:batch_size=8,record_every=15"]


class StandIn:
    """The part of the package in use."""

    class Error(Exception): ...

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.logged: list[list[tuple[int, dict[str, Any]]]] = []
        self.codes: list[int] = []

    def init(self, **settings: Any) -> Any:
        self.begun.append(settings)
        self.logged.append([])
        mine = self.logged[-1]
        return SimpleNamespace(
            log=lambda values, step: mine.append((step, values)),
            finish=lambda exit_code: self.codes.append(exit_code),
        )

    def Histogram(self, values: np.ndarray) -> tuple[str, float]:
        return "histogram", float(values.sum())

    def Image(self, pixels: np.ndarray) -> tuple[str, tuple[int, ...]]:
        return "image", pixels.shape


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", made)
    return made


def where(updates: int) -> tuple[int, str, int, int, int, int]:
    return 0, "a", 0, 0, updates, updates


def test_curves_and_pictures_by_hand_in_the_order_of_updates(tmp_path: Path, wandb: StandIn) -> None:
    run = write_run(tmp_path, spec("nap", 3), [])
    with WeightsAndBiases(RunFolder(run), spec("nap", 3), "mine") as seen:
        seen.add(Score(0, *where(50), "online", 0.5))
        seen.add(Metric(0, *where(100), "loss", 1.0))
        seen.add(Metric(1, *where(100), "loss", 2.0))
        seen.show(Media(*where(150), "preactivations/hidden0", "histogram", np.arange(4.0)))
        seen.show(Media(*where(150), "observations", "image", np.zeros((8, 4))))
        seen.add(Metric(0, *where(200), "dead_fraction/hidden0", 0.25))
    assert wandb.logged == [
        [
            (50, {"Score/online/member0": 0.5}),
            (100, {"training/loss": 1.5}),
            (150, {"preactivations/hidden0": ("histogram", 6.0)}),
            (150, {"observations": ("image", (192, 512, 3))}),
            (200, {"dead_fraction/hidden0": 0.25}),
        ]
    ]
    (begun,) = wandb.begun
    assert (begun["project"], begun["id"], begun["name"]) == ("mine", f"{tmp_path.name}-nap-3", "nap, seed 3")
    assert begun["dir"] == str(run) and begun["resume"] == "allow" and wandb.codes == [0]


def test_a_run_is_logged_as_its_tables_have_it(tmp_path: Path, wandb: StandIn) -> None:
    words = ["run", "--name", "first", "--runs", str(tmp_path), *SMALL, "--diagnose-every", "20", "--wandb", "mine"]
    assert main(words) == 0
    (folder,) = run_paths(tmp_path)
    (logged,) = wandb.logged
    rows = [row for row in read_rows(folder / "scores.csv", Score)[0] if row.member == 1]
    curve = [(step, values["Score/online/member1"]) for step, values in logged if "Score/online/member1" in values]
    assert curve == [(row.updates, row.score) for row in rows] and len(rows) == 9
    lengths = [row for row in read_rows(folder / "metrics.csv", Metric)[0] if row.name == "weight_norm/hidden0"]
    means = [(one.updates, pytest.approx((one.value + two.value) / 2)) for one, two in zip(lengths[::2], lengths[1::2], strict=True)]
    assert [(step, values["weight_norm/hidden0"]) for step, values in logged if "weight_norm/hidden0" in values] == means
    assert [step for step, _ in logged] == sorted(step for step, _ in logged)  # the only order allowed
    assert {"observations", "preactivations/hidden0", "spectrum/hidden1"} <= {name for _, values in logged for name in values}
    assert wandb.begun[0]["id"] == f"first-{RunFolder(folder).read_spec().key}" and wandb.codes == [0]
    assert main(words) == 0 and len(wandb.begun) == 1  # skipped


def test_every_run_of_a_sweep_is_one_there_and_a_failed_one_says_so(tmp_path: Path, wandb: StandIn) -> None:
    file = tmp_path / "sweep.toml"
    table = '[[experiments]]\nbenchmark = "{}"\nnetwork = "{}"\nmembers = 1\noptimizer = "sgd"\nschedule = "constant:rate={}"\n'
    file.write_text("".join(table.format(SMALL[1], SMALL[3], rate) for rate in ("1e-3", "1e30")))
    assert main(["sweep", str(file), "--runs", str(tmp_path / "runs"), "--eager", "--wandb", "mine"]) == 6
    assert len(wandb.begun) == 2 and sorted(wandb.codes) == [0, 1]
    assert sorted(begun["id"] for begun in wandb.begun) == sorted(f"sweep-{folder.name}" for folder in run_paths(tmp_path / "runs"))


@pytest.mark.parametrize("found", [None, SimpleNamespace()])  # absent; a folder that only has its name
def test_without_the_package_it_is_a_line_and_nothing_is_written(
    found: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", found)
    assert main(["run", "--name", "first", "--runs", str(tmp_path), *SMALL, "--wandb", "mine"]) == 2
    assert capsys.readouterr().err == "error: --wandb needs the package wandb: pip install 'plasticity-rl[wandb]'\n"
    assert not list(tmp_path.iterdir())


def test_a_server_that_refuses_is_a_persons_mistake(tmp_path: Path, wandb: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise StandIn.Error("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(UsageError, match="Weights & Biases: No API key configured"):
        WeightsAndBiases(RunFolder(write_run(tmp_path, spec(), [])), spec(), "mine")
