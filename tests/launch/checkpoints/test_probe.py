"""`python -m launch probe`: equal values from checkpoint and run, and an unchanged run."""

import csv
import hashlib
from pathlib import Path

import pytest

from launch.__main__ import main
from launch.config.parse import experiment
from launch.execution import Execution
from launch.run.store import Store
from plasticity_rl.records.events import Metric
from plasticity_rl.records.folder import RunFolder, write_json
from plasticity_rl.records.spec import Spec
from plasticity_rl.records.tables import read_rows
from tests.training import CARTPOLE, LABELS


def train(root: Path, said: dict) -> Path:
    """A finished run."""
    from launch.run import runner

    return runner.run(experiment(said), Store(root, "probed"), Execution("cpu", eager=True))[0].path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    probed = {"probe_every": 50, "probe_updates": 4, "checkpoint_every": 50, "chain": ["nap", "l2-init"]}
    return train(tmp_path_factory.mktemp("runs"), LABELS | probed)


def hashes(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_checkpoint_says_what_the_run_said_there(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashes(run)
    assert main(["probe", str(run), "--checkpoint", "50", "--updates", "4", "--functions", "1", "--eager", "--device", "cpu"]) == 0
    table = run / "probes" / "000000000050.csv"
    told = capsys.readouterr().out
    assert "checkpoint 50, in visit 1 (labels-1)" in told and str(table) in told and "not probed" not in told
    rows = {(row["target"], int(row["member"])): row for row in csv.DictReader(table.read_text().splitlines())}
    assert {target for target, _ in rows} == {"random", "teacher", "offset", "next", "first"} and len(rows) == 10
    said = {(row.name, row.member): row.value for row in read_rows(run / "metrics.csv", Metric)[0] if row.updates == 50}
    for (target, member), row in rows.items():
        assert (row["checkpoint"], row["updates"], row["functions"]) == ("50", "4", "1")
        for loss in ("final", "mean"):
            assert float(row[loss]) == said[f"probe_{loss}/{target}", member]
            assert float(row[f"fresh_{loss}"]) == said[f"probe_{loss}_fresh/{target}", member]
    table.unlink()
    table.parent.rmdir()
    assert hashes(run) == before


def test_the_table_holds_means_and_ratios(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", str(run), "--targets", "first", "next", "--updates", "4", "--eager", "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    rows = list(csv.DictReader((run / "probes" / "000000000120.csv").read_text().splitlines()))
    assert [row["target"] for row in rows] == ["first"] * 2 and "not probed: next task (it is the last visit)" in told
    own, fresh = (sum(float(row[name]) for row in rows) / 2 for name in ("final", "fresh_final"))
    (line,) = (line for line in told.splitlines() if line.startswith("first"))
    assert line.split()[:5] == ["first", "final", f"{own:.3f}", f"{fresh:.3f}", f"{own / fresh:.3f}"]


def test_a_games_checkpoint_is_probed_on_its_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(tmp_path, CARTPOLE)
    assert main(["probe", str(folder), "--updates", "2", "--functions", "2", "--eager", "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "not probed: next and first task (a game's data must be played for)" in told
    assert [line.split()[0] for line in told.splitlines() if " final " in line] == ["random", "teacher", "offset", "scaled"]


def test_a_rollouts_checkpoint_is_probed_on_the_rollout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = "ppo:num_envs=4,rollout_length=10,minibatches=2,epochs=1"
    path = train(tmp_path, CARTPOLE | {"agent": agent, "probe_every": 10, "probe_updates": 4, "checkpoint_every": 200})
    words = ["--checkpoint", "200", "--updates", "4", "--functions", "1", "--eager", "--device", "cpu"]
    assert main(["probe", str(path), *words]) == 0
    assert "teacher/policy" in capsys.readouterr().out
    table = csv.DictReader((path / "probes" / "000000000200.csv").read_text().splitlines())
    found = {(row["target"], int(row["member"])): float(row["final"]) for row in table}
    said = {(row.name, row.member): row.value for row in read_rows(path / "metrics.csv", Metric)[0] if row.updates == 10}
    for member in range(2):
        assert found["random", member] == said["probe_final/random", member]
        assert found["teacher/value", member] == said["probe_value/teacher", member]


def test_mistakes_are_one_line_each(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def complaint(*words: str, folder: Path = run) -> str:
        before = hashes(run)
        assert main(["probe", str(folder), *words, "--eager", "--device", "cpu"]) == 2
        assert hashes(run) == before
        return capsys.readouterr().err

    assert "unknown target 'randm'; did you mean random?" in complaint("--targets", "randm")
    assert "no checkpoint 60" in complaint("--checkpoint", "60")
    assert f"did you mean {run}?" in complaint(folder=run.parent)
    assert "updates must lie in [1, 10000000], not 0" in complaint("--updates", "0")
    assert "has no next task to probe" in complaint("--targets", "next")
    assert "there is no such folder" in complaint(folder=run.parents[1] / "nowhere")


def test_another_networks_checkpoint_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = RunFolder(run).read_spec()
    network, fields = spec.experiment["network"]
    other: Spec = spec._replace(experiment=spec.experiment | {"network": [network, fields | {"width": 13}]})
    write_json(run / "spec.json", other._asdict())
    assert main(["probe", str(run), "--eager", "--device", "cpu"]) == 2
    write_json(run / "spec.json", spec._asdict())
    assert "the checkpoint was written by other code: its network differs" in capsys.readouterr().err
