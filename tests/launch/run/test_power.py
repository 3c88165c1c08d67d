"""Power, told before anything is trained."""

from pathlib import Path

import numpy as np
import pytest

from analysis.data.load import load
from analysis.scores.setting import score
from analysis.scores.spread import paired_spread
from analysis.statistics.power import visible
from launch.__main__ import main
from launch.run import estimate
from launch.run.power import SPREADS
from tests.fake_runs import online

RUN = ["run", "--name", "x", "--network", "mlp:width=4,depth=1", "--device", "cpu", "--eager", "--dry-run"]


@pytest.fixture(autouse=True)
def uncalibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "calibrate", lambda *_: None)


def test_the_spread_of_paired_differences_by_hand(tmp_path: Path) -> None:
    none, nap = np.array([[0.3, 0.1], [0.5, 0.3], [0.4, 0.2]]), np.array([[0.3, 0.2], [0.5, 0.3], [0.4, 0.3]])
    online(tmp_path, "none", none)
    online(tmp_path, "nap", nap)
    loaded = load([tmp_path])
    # differences over the last visit: 0.1, 0, 0.1
    assert paired_spread(score(loaded, loaded.runs[0].spec.setting)) == pytest.approx(np.std([0.1, 0, 0.1], ddof=1))
    online(tmp_path, "redo", none + 0.1)  # alike beside none: variances 1 / 300, 0, 1 / 300
    loaded = load([tmp_path])
    assert paired_spread(score(loaded, loaded.runs[0].spec.setting)) == pytest.approx(np.sqrt(2 / 3 / 300))


def test_a_dry_run_says_what_its_members_see_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*RUN, "--runs", str(tmp_path / "runs"), "--benchmark", "random-labels:images=40,tasks=4,updates=10"]
    assert main([*words, "--members", "5"]) == 0
    told = f"{visible(5) * SPREADS['random-labels'][0]:.3f} of online accuracy (at the demo's spread)"
    line = f"Paired differences that are seen with 80% chance: random-labels, 5 members: 1.68 standard deviations, {told}"
    assert f"{line}, half of that takes 14 members\n" in capsys.readouterr().out and told.startswith("0.059")
    assert main([*words, "--members", "1"]) == 0
    assert ": random-labels, 1 member: none, as an interval needs two and a mark five\n" in capsys.readouterr().out
    assert (
        main([*RUN, "--runs", str(tmp_path / "runs"), "--benchmark", "permuted-inputs:images=40,tasks=2,updates=10", "--members", "7"]) == 0
    )
    assert (
        ", 7 members: 1.27 standard deviations (a pilot in this folder tells how much that is), half of that takes 22 members\n"
        in capsys.readouterr().out
    )
    assert not (tmp_path / "runs").exists()


def test_each_benchmark_counts_with_its_fewest_members(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = '[[experiments]]\nbenchmark = "{}:images=40,tasks=2,updates=10"\nnetwork = "mlp:width=4,depth=1"\nmembers = {}\nseed = {}\n'
    rows = (("random-labels", 4, 0), ("random-labels", 3, 1), ("permuted-inputs", 3, 0), ("permuted-inputs", 2, 1))
    (tmp_path / "two.toml").write_text("".join(table.format(*row) for row in rows))
    assert main(["sweep", str(tmp_path / "two.toml"), "--runs", str(tmp_path / "runs"), "--device", "cpu", "--eager", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert f"random-labels, 7 members: {visible(7):.2f} " in printed and f"; permuted-inputs, 5 members: {visible(5):.2f} " in printed


def test_earlier_runs_of_the_setting_give_the_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = tmp_path / "pair.toml"
    table = '[[experiments]]\nbenchmark = "random-labels:images=40,tasks=2,updates=10"\nnetwork = "mlp:width=4,depth=1"\nmembers = 3\n'
    sweep.write_text(f'{table}{table}chain = ["l2-init"]\n')
    words = ["sweep", str(sweep), "--name", "x", "--runs", str(tmp_path / "runs"), "--device", "cpu", "--eager"]
    assert main(words) == 0
    loaded = load([tmp_path / "runs"])
    spread = paired_spread(score(loaded, loaded.runs[0].spec.setting))
    capsys.readouterr()
    assert main([*words, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert ": random-labels, 3 members: 3.26 standard deviations, " in printed
    assert f"{visible(3) * spread:.3f} of online accuracy (by earlier runs in this folder)" in printed
