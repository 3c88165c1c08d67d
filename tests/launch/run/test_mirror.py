"""A second place for runs: resuming on a machine that never saw the run."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.__main__ import main
from launch.config.parse import experiment
from launch.execution import Execution
from launch.run import runner
from launch.run.mirror import Mirror
from launch.run.store import Store
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.checkpoint import checkpoints
from plasticity_rl.records.events import Event, Snapshot
from plasticity_rl.records.folder import RunFolder
from tests.run_folders import run_paths
from tests.training import LABELS

EXPERIMENT = experiment(LABELS)
SWEEP = "EXPERIMENTS = [{'benchmark': 'random-labels:images=60,tasks=2,updates=20', 'network': 'mlp:width=12', 'chain': ['nap']}]"


class Cut(Exception):
    """Loss of the machine."""


def train(cut_after: int | None, resumed: list[int]) -> runner.Train:
    """Train as here, up to so many checkpoints; record the initial number."""

    def begun(made: Experiment, how: Execution, resume: Snapshot | None) -> tuple[dict[str, Any], Iterator[Event]]:
        resumed.append(resume.counters["number"] if resume else 0)
        where, events = runner.train_here(made, how, resume)

        def until() -> Iterator[Event]:
            seen = 0
            for event in events:
                if seen == cut_after:
                    raise Cut
                yield event
                seen += isinstance(event, Snapshot)

        return where, until()

    return begun


def run(runs: Path, mirror: Mirror | None, cut_after: int | None = None) -> tuple[Path, int]:
    """Fetch and carry out; return the folder and the initial checkpoint's number."""
    began: list[int] = []
    if mirror:
        mirror.meet(RunFolder(runs / "s" / EXPERIMENT.key))
    carried_out, _ = runner.run(EXPERIMENT, Store(runs, "s", mirror=mirror), Execution("cpu", eager=True), train=train(cut_after, began))
    return carried_out.path, began[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without interruptions."""
    return run(tmp_path_factory.mktemp("whole"), None)[0]


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_another_machine_goes_on_from_the_last_checkpoint(whole: Path, tmp_path: Path, form: str) -> None:
    mirror = Mirror(form.format(tmp_path / "bucket"))
    with pytest.raises(Cut):
        run(tmp_path / "one", mirror, cut_after=2)
    folder, began = run(tmp_path / "two", mirror)
    assert began == int(checkpoints(tmp_path / "one" / "s" / EXPERIMENT.key / "checkpoints")[-1].name) > 0
    there = tmp_path / "bucket" / "s" / EXPERIMENT.key
    for each in (folder, there):
        assert (each / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes() and RunFolder(each).is_done
        assert [path.name for path in checkpoints(each / "checkpoints")] == [path.name for path in checkpoints(whole / "checkpoints")]


def test_a_checkpoint_that_did_not_arrive_whole_is_none(tmp_path: Path) -> None:
    mirror = Mirror(str(tmp_path / "bucket"))
    with pytest.raises(Cut):
        run(tmp_path / "one", mirror, cut_after=2)
    first, last = checkpoints(tmp_path / "bucket" / "s" / EXPERIMENT.key / "checkpoints")
    (last / "manifest.json").unlink()
    assert run(tmp_path / "two", mirror)[1] == int(first.name)


def test_a_mirror_that_is_away_stops_no_run_and_is_caught_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mirror = Mirror(str(tmp_path / "bucket"))
    (tmp_path / "bucket").write_text("no folder")
    folder, _ = run(tmp_path / "runs", mirror)
    assert (
        RunFolder(folder).is_done
        and f"{folder} was not copied; its next checkpoint, or the same command, tries again: " in capsys.readouterr().err
    )
    (tmp_path / "bucket").unlink()
    mirror.meet(RunFolder(folder))
    assert RunFolder(tmp_path / "bucket" / "s" / EXPERIMENT.key).is_done


def test_a_copy_that_ended_early_is_removed(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror, one = Mirror(str(tmp_path / "bucket")), tmp_path / "one" / "s" / EXPERIMENT.key
    shutil.copytree(whole, one)
    oldest, *others = checkpoints(one / "checkpoints")
    with monkeypatch.context() as full, pytest.raises(OSError, match="gone"):
        full.setattr("pyarrow.fs.copy_files", _fails_at("manifest.json"))
        mirror.copy(RunFolder(one))
    there = tmp_path / "bucket" / "s" / EXPERIMENT.key / "checkpoints"
    assert [path.name for path in there.iterdir()] == [oldest.name]
    shutil.rmtree(oldest)  # as the run goes on
    mirror.copy(RunFolder(one))
    assert sorted(path.name for path in there.iterdir()) == [path.name for path in others]


def test_half_of_a_fetched_run_is_no_run(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = Mirror(str(tmp_path / "bucket"))
    shutil.copytree(whole, tmp_path / "runs" / "s" / EXPERIMENT.key)
    mirror.copy(RunFolder(tmp_path / "runs" / "s" / EXPERIMENT.key))
    monkeypatch.setattr("pyarrow.fs.copy_files", _fails_at("scores.csv"))
    with pytest.raises(OSError, match="gone"):
        mirror.meet(RunFolder(tmp_path / "two" / "s" / EXPERIMENT.key))
    assert run_paths(tmp_path / "two") == []


def _fails_at(name: str) -> Any:
    from pyarrow.fs import copy_files

    def copy(source: str, target: str, **systems: Any) -> None:
        if source.endswith(name):
            raise OSError("gone")
        copy_files(source, target, **systems)

    return copy


def test_a_sweep_with_a_mirror_is_done_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.py").write_text(SWEEP)
    command = ["sweep", str(tmp_path / "one.py"), "--eager", "--mirror", str(tmp_path / "bucket"), "--runs"]
    assert main([*command, str(tmp_path / "here")]) == 0 and "done in" in capsys.readouterr().out
    assert main([*command, str(tmp_path / "elsewhere")]) == 0 and ": skipped" in capsys.readouterr().out
    assert len(run_paths(tmp_path / "elsewhere")) == 1


@pytest.mark.parametrize("place", ["runs", "nowhere://runs", ""])
def test_what_is_no_place_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    (tmp_path / "one.py").write_text(SWEEP)
    assert main(["sweep", str(tmp_path / "one.py"), "--mirror", place or " ", "--runs", str(tmp_path / "runs")]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: --mirror is a URI such as s3://BUCKET/runs") and complaint.count("\n") == 1
    assert not (tmp_path / "runs").exists()
