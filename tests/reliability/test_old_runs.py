"""Promise: runs of earlier versions are read, or refused by the version of their format. A new format adds a fixture and keeps the old."""

import json
import tarfile
from pathlib import Path

import pytest
import torch

from analysis.data.load import load
from plasticity_rl.experiment import Experiment
from plasticity_rl.records import checkpoint
from plasticity_rl.records.events import Score
from plasticity_rl.records.folder import RunFolder, find_runs

FIXTURES = Path(__file__).parents[1] / "fixtures"


def unpacked(number: int, folder: Path) -> RunFolder:
    """The run of one format: two members, random labels, ReDo; killed after the first of two tasks."""
    with tarfile.open(FIXTURES / f"run-format-{number}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    (run,) = find_runs(folder)
    return run


def test_every_format_up_to_this_one_has_a_fixture() -> None:
    assert {path.name for path in FIXTURES.iterdir()} == {f"run-format-{number}.tar.gz" for number in range(1, checkpoint.FORMAT + 1)}


def test_a_run_of_format_1_is_read_and_goes_on(tmp_path: Path) -> None:
    run = unpacked(1, tmp_path)
    made = Experiment.from_json(run.read_spec().experiment)
    assert made.members == 2 and made.label == "redo:every=10" and not run.altered()
    rows, problems = run.read_rows(Score)
    assert [(row.member, row.updates) for row in rows] == [(0, 20), (1, 20), (0, 40), (1, 40)] and not problems
    assert len(load([tmp_path]).scores) == 4
    resume, problems = checkpoint.load_latest(run.checkpoints)
    assert resume and not problems and resume.counters["number"] == 40
    assert resume.tensors["params/hidden0.weight"].shape == (2, 4, 64) and resume.tensors["params/hidden0.weight"].dtype == torch.float32
    later = [event for event in made.agent.train(made, "cpu", False, resume) if isinstance(event, Score)]
    assert [(row.member, row.updates) for row in later] == [(0, 60), (1, 60), (0, 80), (1, 80)]


def test_a_checkpoint_of_another_format_is_refused_by_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = unpacked(1, tmp_path)
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    said = ["checkpoint 000000000040: it was written in format 1, and this version reads format 2"]
    assert checkpoint.load_latest(run.checkpoints) == (None, said)
    (place,) = checkpoint.checkpoints(run.checkpoints)
    manifest = json.loads((place / "manifest.json").read_text())
    assert manifest["format"] == 1
