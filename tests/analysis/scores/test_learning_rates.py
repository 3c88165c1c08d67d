"""Sensitivity to the learning rate, on runs with known scores."""

from pathlib import Path

import numpy as np
import pytest

from analysis.data.load import load
from analysis.report.page import write_report
from analysis.scores.learning_rates import RateCurve, RatePoint, rate_sweeps
from analysis.scores.setting import score, settings
from tests.fake_runs import online_rows, spec, write_run


def write_sweep(root: Path, levels: dict[float, list[float]], label: str = "none", **schedule: object) -> None:
    """A run for each rate, whose areas at three visits are `levels`."""
    for rate, areas in levels.items():
        experiment = {
            "benchmark": ["random-labels", {"images": 60}],
            "schedule": ["constant", {"rate": rate, "clock": "run"} | schedule],
            "chain": [] if label == "none" else [[label, {}]],
            "seed": 0,
            "members": 3,
        }
        described = spec(label, key=f"{label}-{rate:g}", setting=f"setting{rate:g}{schedule}", experiment=experiment)
        each = np.array(areas)[None] + np.array([[-0.01], [0.0], [0.01]])
        write_run(root, described, online_rows(described, each, every=10))


def curves(root: Path) -> dict[str, RateCurve]:
    loaded = load([root])
    found = rate_sweeps([score(loaded, key) for key in settings(loaded)])
    return {curve.label: curve for sweep in found for curve in sweep.curves}


def test_a_curve_by_hand(tmp_path: Path) -> None:
    """The highest rate leads in the first visit, which holds the first tenth of the life, and is last over all."""
    write_sweep(tmp_path, {1e-3: [0.5, 0.5, 0.5], 1e-4: [0.4, 0.5, 0.54], 1e-2: [0.8, 0.1, 0.0]})
    (curve,) = curves(tmp_path).values()
    assert curve.rates == [1e-4, 1e-3, 1e-2] and curve.values() == pytest.approx([0.48, 0.5, 0.3])
    best, early = curve.best(), curve.best("10%")
    assert best is not None and early is not None and (best.rate, early.rate) == (1e-3, 1e-2)
    assert best.score().value == pytest.approx(0.5) and best.score().members == 3
    assert curve.median == pytest.approx(0.48) and curve.near == pytest.approx(2 / 3)  # 0.48 is 96% of 0.5


def test_a_rate_that_diverged_counts_as_the_floor() -> None:
    points = tuple(RatePoint(rate, np.full((2, 1, 10), level)) for rate, level in ((1e-3, 0.5), (1e-2, 0.4), (1e-1, np.nan)))
    curve = RateCurve("none", False, points)
    assert curve.median == pytest.approx(0.4) and curve.near == pytest.approx(1 / 3)
    assert np.isnan(RateCurve("none", False, points[2:]).near) and RateCurve("none", False, points[2:]).best() is None


def test_near_is_measured_from_the_floor() -> None:
    """Returns of -20 and -21 with random play at -22: half as far above it, not within 95%."""
    points = tuple(RatePoint(rate, np.full((2, 1, 10), level)) for rate, level in ((1e-3, -20.0), (1e-2, -21.0)))
    assert RateCurve("none", False, points, floor=-22.0).near == pytest.approx(1 / 2)


def test_three_rates_of_one_schedule_make_a_curve(tmp_path: Path) -> None:
    write_sweep(tmp_path / "two", {1e-3: [0.5] * 3, 1e-2: [0.4] * 3})
    assert not curves(tmp_path / "two")
    write_sweep(tmp_path / "two", {1e-4: [0.3] * 3}, end=0.1)  # another schedule
    assert not curves(tmp_path / "two")
    write_sweep(tmp_path / "two", {1e-1: [0.3] * 3})
    assert list(curves(tmp_path / "two")) == ["none"]


def test_a_report_opens_with_the_sweep(tmp_path: Path, undrawn: None) -> None:
    runs = tmp_path / "runs"
    write_sweep(runs, {1e-3: [0.5] * 3, 1e-4: [0.4] * 3, 1e-2: [0.8, 0.1, 0.0]})
    write_sweep(runs, {1e-3: [0.6] * 3, 1e-4: [0.4] * 3}, label="redo")
    written = write_report([runs], tmp_path / "report")
    first = written.parts[0]
    assert first.name == "random-labels: learning rates" and [line.label for line in first.tables[0].lines] == ["none"]
    assert first.reading.endswith("is another than early on: none at 0.001 (its first tenth would choose 0.01).")
    cells = [cell.value for cell in first.tables[0].lines[0].cells]
    assert cells == ["0.001", "0.500", "0.400", "33%", "0.01", "0.01"]
    assert (tmp_path / "report" / "learning-rates-1.png").read_bytes().startswith(b"\x89PNG")
    assert "learning rates" in (tmp_path / "report" / "report.html").read_text()
