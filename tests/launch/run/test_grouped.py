"""Sweeps whose runs are trained as one: every folder is as from a run alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from agents.diagnostics.rows import COSTS
from agents.supervised import Supervised
from launch.execution import Execution
from launch.run import estimate
from launch.run.grouped import groups, run_together
from launch.run.store import Store
from launch.run.sweep import build, print_sweep, run_sweep
from launch.signals import Stopped
from plasticity_rl.records.checkpoint import load_latest
from plasticity_rl.records.events import Metric, Score, Snapshot
from plasticity_rl.records.folder import FolderTaken, RunFolder
from plasticity_rl.records.tables import read_rows
from tests.training import CARTPOLE, LABELS

SAID: list[dict[str, Any]] = [
    LABELS | {"chain": ["l2-init"], "schedule": "constant:rate=1e-2"},
    LABELS | {"chain": ["nap"]},
    LABELS | {"chain": ["l2-init:strength=0.01"], "seed": 1, "members": 1},
    LABELS | {"chain": ["l2-init"], "seed": 2},
]
TOGETHER = [SAID[0], SAID[2], SAID[3]]


def sweep(said: list[dict[str, Any]], runs: Path, at_once: int = 256) -> int:
    return run_sweep(said, Store(runs, "s"), Execution("cpu", eager=True, at_once=at_once))


def assert_as_alone(folder: Path, alone: Path) -> None:
    """The same files, rows equal to rounding; context.json names its group, and TensorBoard's file name holds a time."""
    assert RunFolder(folder).is_done
    assert (folder / "spec.json").read_bytes() == (alone / "spec.json").read_bytes()
    found, expected = ({str(path.relative_to(each)) for path in each.rglob("*") if "events." not in path.name} for each in (folder, alone))
    assert found == expected and len(list((folder / "tb").iterdir())) == 1
    for name, kind in (("scores.csv", Score), ("metrics.csv", Metric)):
        mine, theirs = read_rows(folder / name, kind)[0], read_rows(alone / name, kind)[0]
        assert [row[:-1] for row in mine] == [row[:-1] for row in theirs] and len(mine) > 5
        for one, other in zip(mine, theirs, strict=True):
            assert one[-1] == pytest.approx(other[-1], rel=1e-3, abs=1e-4) or one[-2] in COSTS
    ours, other = load_latest(folder / "checkpoints")[0], load_latest(alone / "checkpoints")[0]
    assert ours is not None and other is not None and ours.counters["ticks"] == other.counters["ticks"]
    shapes = [{name: tensor.shape for name, tensor in each.tensors.items()} for each in (ours, other)]
    assert shapes[0] == shapes[1]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every run by itself."""
    runs = tmp_path_factory.mktemp("alone")
    assert sweep(SAID, runs, at_once=1) == 0
    assert all("together" not in json.loads(path.read_text()) for path in runs.rglob("context.json"))
    return runs / "s"


def test_folders_are_as_if_each_run_were_alone(alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(SAID, tmp_path) == 0
    said = capsys.readouterr().out
    assert said.count("done with 2 more") == 3 and "l2-init and 2 more runs as one: random-labels, 5 members" in said
    keys = [each.key for each in build(SAID)]
    assert {path.name for path in (tmp_path / "s").iterdir()} == set(keys)
    for key in keys:
        assert_as_alone(tmp_path / "s" / key, alone / key)
    context = json.loads((tmp_path / "s" / keys[0] / "context.json").read_text())
    assert context["together"] == {"runs": 3, "members": 5}
    assert sweep(SAID, tmp_path) == 0
    assert capsys.readouterr().out.count(": skipped") == 4


def interrupted(after: int):
    """The supervised agent's training, stopped by a signal right after so many snapshots."""
    train_group, count = Supervised.train_group, 0

    def train(self, *given):
        nonlocal count
        for event in train_group(self, *given):
            yield event
            count += isinstance(event[1], Snapshot)
            if count == after:
                raise Stopped(15, "stopped")

    return train


@pytest.mark.parametrize("after", [3, 4])
def test_an_interrupted_population_is_gone_on_with(alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "train_group", interrupted(after))
        with pytest.raises(Stopped):
            sweep(TOGETHER, tmp_path)
    made = build(TOGETHER)
    found = groups(made, Store(tmp_path, "s"), 256)  # after 4, one of them is a checkpoint further than the others
    assert [len(group) for group in found] == ([3] if after == 3 else [1, 2])
    assert sweep(TOGETHER, tmp_path) == 0
    for each in made:
        assert_as_alone(tmp_path / "s" / each.key, alone / each.key)


def test_a_run_whose_numbers_fail_ends_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = [LABELS | {"optimizer": "sgd", "schedule": f"constant:rate={rate}"} for rate in ("1e-2", "1e30")]
    assert sweep(said, tmp_path) == 6
    fine, failed = (tmp_path / "s" / each.key for each in build(said))
    assert RunFolder(fine).is_done and not RunFolder(failed).is_done
    assert capsys.readouterr().err == "error: none: the loss of member 0 is nan after 15 updates\n"
    assert read_rows(failed / "scores.csv", Score) == ([], [])
    assert RunFolder(failed).failure == "the loss of member 0 is nan after 15 updates" and RunFolder(fine).failure is None
    assert sweep(said, tmp_path) == 6


def test_a_folder_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    made = build(TOGETHER)
    taken = tmp_path / "s" / made[1].key
    taken.mkdir(parents=True)
    with FileLock(taken / ".lock"), pytest.raises(FolderTaken, match="is being written by another process"):
        run_together(made, Store(tmp_path, "s"), Execution("cpu", eager=True))
    assert not list((tmp_path / "s").rglob("spec.json"))


def test_groups_share_members_equally(tmp_path: Path) -> None:
    made = build([LABELS | {"seed": seed, "members": 10} for seed in range(27)] + [CARTPOLE, CARTPOLE | {"seed": 1}])
    store = Store(tmp_path, "s")
    assert [len(group) for group in groups(made, store, 256)] == [14, 13, 1, 1]
    assert [len(group) for group in groups(made, store, 270)] == [27, 1, 1]
    assert [len(group) for group in groups(made, store, 1)] == [1] * 29
    assert groups([], store, 256) == []


def test_a_dry_run_shows_what_is_trained_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "calibrate", lambda *_: None)
    print_sweep(SAID, Store(tmp_path, "s"), Execution("cpu"))
    rows = [line.split() for line in capsys.readouterr().out.partition("\n\n")[0].splitlines()[1:]]
    assert [row[-3] for row in rows] == ["1", "updates", "1", "1"] and not list(tmp_path.iterdir())
