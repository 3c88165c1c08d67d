"""Reward per step of runs whose learner is not told of task changes: by hand, and step by step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.data.load import load
from analysis.report.page import write_report
from analysis.scores.rewards import POINTS, half_life, rewards, weighted_mean
from analysis.scores.setting import score, settings
from plasticity_rl.records.spec import Spec
from tests.fake_runs import episode_rows, spec, write_run

LEVELS = np.array([[20.0, 40.0], [10.0, 50.0], [30.0, 30.0]])


def described(told: bool, label: str = "none") -> Spec:
    made = spec(label, 0, "ab", 1000, unit="frames", members=3, benchmark="catch")
    return made._replace(experiment=made.experiment | {"benchmark": ["catch", {"told": told}]})


def written(root: Path, told: bool = False, **more: Any) -> tuple[Any, Any]:
    run = described(told)
    write_run(root, run, episode_rows(run, LEVELS), **more)
    loaded = load([root])
    return loaded, score(loaded, settings(loaded)[0])


def test_by_hand() -> None:
    # A half-life of 1 step: weights 1, 1/2, 1/4 from the last step backwards.
    found = weighted_mean(np.array([1, 3]), np.array([7.0, 4.0]), np.array([1.0, 2.0, 3.0]), 1.0)
    np.testing.assert_allclose(found, [7, (7 / 2) / (1 + 1 / 2), (7 / 4 + 4) / (1 + 1 / 2 + 1 / 4)])


def test_step_by_step() -> None:
    random = np.random.default_rng(0)
    at, paid, life = np.sort(random.integers(1, 301, 40)), random.normal(size=40), 23.0
    of_steps, top, below, expected = np.bincount(at, paid, minlength=301), 0.0, 0.0, []
    for step in range(1, 301):
        top, below = top * 0.5 ** (1 / life) + of_steps[step], below * 0.5 ** (1 / life) + 1
        expected.append(top / below)
    steps = np.linspace(0, 300, 61)[1:]
    np.testing.assert_allclose(weighted_mean(at, paid, steps, life), np.array(expected)[4::5])


def test_a_steady_reward_is_its_own_mean(tmp_path: Path) -> None:
    loaded, setting = written(tmp_path)
    (row,) = rewards(loaded, setting)
    assert half_life(setting) == 100 and row.weighted.shape == (3, POINTS) and row.label == "none"
    # Episodes of 100 steps, of which each visit's end cuts another worth 0.5.
    np.testing.assert_allclose(row.total, (10 * LEVELS.sum(1) + 2 * 0.5) / 2000)
    assert row.whole.value == pytest.approx((10 * 60 + 1) / 2000) and row.whole.members == 3
    weights = 0.5 ** np.arange(10)  # one half-life between episodes; the last is joined by the cut one
    expected = (20.0 * weights.sum() + 0.5) * (1 - 0.5**0.01) / (1 - 0.5**10)
    assert row.weighted[0, POINTS // 2 - 1] == pytest.approx(expected)
    assert row.at(1000).value == pytest.approx(row.weighted[:, POINTS // 2 - 1].mean())
    assert row.at(2000).value == pytest.approx(row.weighted[:, -1].mean())


def test_an_unfinished_run_has_the_steps_that_it_made(tmp_path: Path) -> None:
    run = described(False)
    write_run(tmp_path, run, [row for row in episode_rows(run, LEVELS) if row.frames <= 1500], done=False)
    loaded = load([tmp_path])
    (row,) = rewards(loaded, score(loaded, settings(loaded)[0]))
    assert np.isfinite(row.weighted[:, : POINTS * 3 // 4]).all() and np.isnan(row.weighted[:, POINTS * 3 // 4 :]).all()
    assert not row.whole.defined and row.at(1000).defined and not row.at(2000).defined


def test_reports_have_them_where_changes_are_not_told(tmp_path: Path) -> None:
    assert rewards(*written(tmp_path / "told", told=True)) == ()
    assert all(
        "Reward per step" not in made.title for part in write_report([tmp_path / "told"], tmp_path / "a").parts for made in part.tables
    )
    written(tmp_path / "runs")
    (part,) = write_report([tmp_path / "runs"], tmp_path / "out").parts
    table = part.tables[1]
    assert table.title == "Reward per step" and "half-life of 100 steps (10% of" in table.caption
    assert table.lines[0].cells[2].value == "0.300"
    assert [figure.name for figure in part.figures if "rewards" in figure.name] == ["1-catch-rewards"]
    assert "Reward per step" in (tmp_path / "out" / "report.html").read_text()
    rows = (tmp_path / "out" / "rewards.csv").read_text().splitlines()
    assert len(rows) == 4 and [row.split(",")[4] for row in rows] == ["step", "1000", "2000", ""]
    assert float(rows[3].split(",")[5]) == pytest.approx(0.3005)
