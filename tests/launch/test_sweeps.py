"""Sweeps on the command line: what is done is skipped, what is wrong leaves nothing, and the project's own files are valid."""

from pathlib import Path

import numpy as np
import pytest

from envs.supervised import wheels
from launch.__main__ import main
from launch.run.sweep import read_sweep
from plasticity_rl.records.folder import RunFolder
from tests.run_folders import run_paths

ROOT = Path(__file__).parents[2]
SWEEP = """
BASE = {"benchmark": "random-labels:images=60,tasks=3,updates=40", "network": "mlp:width=12,depth=2", "members": 2}
EXPERIMENTS = [BASE | {"agent": "supervised:batch_size=8,record_every=15", "chain": chain} for chain in ([], ["nap"], ["reset"])]
"""


def test_a_sweep_skips_what_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.run.estimate.calibrate", lambda *_: None)
    file, root = tmp_path / "three.py", tmp_path / "runs"
    file.write_text(SWEEP)
    assert main(["sweep", str(file), "--dry-run", "--runs", str(root)]) == 0
    assert capsys.readouterr().out.count("new") == 3 and not root.exists()
    assert main(["sweep", str(file), "--runs", str(root), "--eager"]) == 0
    out = capsys.readouterr().out
    assert out.count(": done in") == 3 and out.splitlines()[-1] == f"python -m launch report {root / 'three'}"
    assert len(run_paths(root / "three")) == 3
    assert len({RunFolder(folder).read_spec().fingerprint for folder in run_paths(root)}) == 1  # all had the same data
    assert main(["sweep", str(file), "--runs", str(root), "--eager"]) == 0
    assert capsys.readouterr().out.count(": skipped") == 3


def test_a_sweep_of_the_project_has_a_name() -> None:
    from launch.sweeps.demo import EXPERIMENTS

    assert read_sweep(Path("demo")) == read_sweep(ROOT / "launch/sweeps/demo.py") == list(EXPERIMENTS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("EXPERIMENTS = []", "holds no experiments"),
        ("x = 1", "holds no experiments"),
        ("EXPERIMENTS = [{}, {'members': 5}]", "experiment 2 of 2 appears twice: none on random-labels"),
        ("EXPERIMENTS = [{}, {'members': 0}]", "experiment 2 of 2: Experiment: members must lie in"),
        ("EXPERIMENTS = [{}, {'chain': ['nap:norm=given']}]", "NormalizeAndProject needs a norm"),
        ("EXPERIMENTS = [", "cannot be read: SyntaxError"),
        ("import nothing_of_that_name", "cannot be read: ModuleNotFoundError"),
        ("raise SystemExit(4)", "cannot be read: SystemExit: 4"),
        ("raise BaseException(5)", "cannot be read: BaseException: 5"),
        ("EXPERIMENTS = [{1: 2}]", "unknown field 1"),
    ],
)
def test_a_wrong_sweep_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    assert main(["sweep", str(tmp_path / "bad.py"), "--runs", str(tmp_path / "runs")]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "runs").exists()


def test_every_registered_sweep_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    from launch.run.runner import describe
    from launch.run.sweep import build, read_sweep

    # MNIST is fetched by a command of its own, and may not be on this machine
    monkeypatch.setattr(wheels, "load", lambda name: (np.arange(5000 * 784, dtype=np.uint8).reshape(5000, 784), np.arange(5000) % 10))
    files = [path for path in (ROOT / "launch" / "sweeps").glob("*.py") if path.name != "__init__.py"]
    assert files
    for file in files:
        for experiment in {each.benchmark: each for each in build(read_sweep(file))}.values():  # a large one's data takes a second
            assert describe(experiment).visits
