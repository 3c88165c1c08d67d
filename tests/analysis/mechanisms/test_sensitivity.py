"""Settings that differ in one number: their detection, names and results."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.data.comparable import told_apart
from analysis.data.load import load
from analysis.mechanisms.page import write_page
from analysis.mechanisms.sensitivity import dose, final_losses
from analysis.scores.setting import score
from plasticity_rl.records.events import Metric
from plasticity_rl.records.spec import Spec
from tests.fake_runs import online_rows, spec, write_run

AREAS = np.array([[0.9, 0.5, 0.4], [0.9, 0.6, 0.4], [0.9, 0.7, 0.4]])


def described(mean: Any, label: str = "none", **parts: Any) -> Spec:
    benchmark = ["large-mean", {"offset": mean, "function": "sine"}]
    experiment = {"benchmark": benchmark, "optimizer": ["adam", {"beta": 0.9}], "seed": 0} | parts
    return spec(label, key=f"{label}-{mean}", setting=f"{mean!r:0>16}", benchmark="large-mean", experiment=experiment)


def losses(of: Spec, scale: float) -> list[Metric]:
    """Two rows a visit: the first of 9, the second of scale x (visit + 1) x (member + 1)."""
    rows: list[Metric] = []
    for visit in range(3):
        for at, last in ((100 * visit + 50, False), (100 * visit + 100, True)):
            for member in range(3):
                rows.append(Metric(member, visit, "abc"[visit], 0, 0, at, at, "loss", scale * (visit + 1) * (member + 1) if last else 9.0))
    return rows


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for mean in (30.0, 3.0, 100.0):
        for label, scale in (("none", mean), ("nap", 1.0)):
            of = described(mean, label)
            write_run(tmp_path, of, online_rows(of, AREAS), losses(of, scale))
    return tmp_path


def test_the_number_in_which_settings_differ() -> None:
    assert dose([described(mean) for mean in (0.0, 3.0, 100.0)]) == "offset"
    assert dose([described(mean) for mean in (0.0, 3.0)]) is None  # two make no line
    assert dose([described(mean) for mean in ("a", "b", "c")]) is None
    other = [["sgd", {}], ["adam", {"beta": 0.9}], ["adam", {"beta": 0.9}]]
    assert dose([described(mean, optimizer=each) for mean, each in zip((0.0, 3.0, 9.0), other, strict=True)]) is None


def test_settings_are_called_by_what_tells_them_apart() -> None:
    assert told_apart([described(3.0)]) == ["large-mean (00000000)"]
    assert told_apart([described(3.0), described(30.0)]) == ["large-mean (offset 3.0)", "large-mean (offset 30.0)"]
    sgd = ["sgd", {"momentum": 0.0}]
    assert told_apart([described(3.0), described(3.0, optimizer=sgd)]) == ["large-mean (optimizer adam)", "large-mean (optimizer sgd)"]
    slow = ["adam", {"beta": 0.99}]
    assert told_apart([described(3.0), described(3.0, optimizer=slow)])[1] == "large-mean (optimizer's beta 0.99)"


def test_final_losses_are_of_the_last_rows_after_the_first_visit(runs: Path) -> None:
    loaded = load([runs])
    found = final_losses(loaded.metrics, score(loaded, described(30.0).setting), "none")
    np.testing.assert_allclose(found, [75.0, 150.0, 225.0])  # 30 x (2 + 3) / 2 x 1, 2, 3


def test_the_page_shows_them_in_order_of_the_number(runs: Path) -> None:
    page, parts = write_page([runs], runs / "out")
    assert [part.name for part in parts] == ["large-mean (offset 3.0)", "large-mean (offset 30.0)", "large-mean (offset 100.0)"]
    assert (runs / "out" / "by-offset.png").read_bytes()[1:4] == b"PNG"
    assert page.read_text().count("<img ") == 4
