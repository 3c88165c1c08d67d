"""The horse race, on quantities with a known rank correlation."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.data.load import load
from analysis.mechanisms.page import write_page
from analysis.mechanisms.prediction import SCORE, VISIT, Predictor, prediction, predictors, spearman
from analysis.scores.setting import score
from analysis.statistics.intervals import Estimate
from plasticity_rl.records.events import Metric
from tests.fake_runs import SETTING, online_rows, spec, write_run

TASKS = tuple("abcde")
RANDOM = np.random.default_rng(0)
AREAS = {label: RANDOM.uniform(0.2, 0.8, size=(6, 5)) for label in ("none", "redo", "fresh")}


def write_runs(root: Path) -> None:
    """The weight norm at the end of each visit is minus the next visit's score, and something else before; dead units are noise."""
    for label, areas in AREAS.items():
        described = spec(label, tasks=TASKS, members=6)
        nearly = -np.roll(areas, -1, axis=1)
        rows = []
        for member in range(6):
            for visit, task in enumerate(TASKS):
                for updates, norm in ((100 * visit + 50, 0.5), (100 * visit + 100, nearly[member, visit])):
                    where = (member, visit, task, 0, 0, updates, updates)
                    rows += [
                        Metric(*where, "weight_norm/hidden0", 10 + float(norm)),
                        Metric(*where, "dead_fraction/hidden0", RANDOM.random()),
                    ]
        write_run(root, described, online_rows(described, areas), rows)


def race(root: Path) -> dict[str, Predictor]:
    loaded = load([root])
    return {each.title: each for each in predictors(loaded, score(loaded, SETTING))}


def test_a_quantity_that_knows_the_next_score_wins(tmp_path: Path) -> None:
    write_runs(tmp_path)
    found = race(tmp_path)
    assert (
        next(iter(found)) == "weight norm" and found["weight norm"].within.value == pytest.approx(-1) == found["weight norm"].pooled.value
    )
    assert found["weight norm"].points == 2 * 6 * 4 and set(found) == {"weight norm", "dead units", VISIT, SCORE}
    said = prediction(list(found.values()))
    assert said.startswith("Within chains the next visit's score is predicted best by weight norm at the end of the visit: rho -1.000;")
    assert prediction([found[VISIT], found["dead units"], found[SCORE]]).startswith("No quantity predicts")
    assert prediction([]).startswith("Nothing predicts")


def test_metrics_of_ones_own_take_part(tmp_path: Path) -> None:
    """One that is the next visit's score in a module's own words, as is an untrained network's of it, which does not."""
    for label, areas in AREAS.items():
        described = spec(label, tasks=TASKS, members=6)
        found = []
        for member, visit in np.ndindex(6, 5):
            where = (member, visit, TASKS[visit], 0, 0, 100 * visit + 100, 100 * visit + 100)
            value = float(np.roll(areas, -1, axis=1)[member, visit])
            found += [Metric(*where, "mine.Above/hidden0", value), Metric(*where, "mine.Above_fresh/hidden0", 0.5)]
        write_run(tmp_path, described, online_rows(described, areas), found)
    found = race(tmp_path)
    assert set(found) == {"mine.Above", VISIT, SCORE} and found["mine.Above"].within.value == pytest.approx(1)


def test_correlations_are_scipys(tmp_path: Path) -> None:
    """The score of a visit against the next one's, over both chains together and as the mean of each one's own."""
    write_runs(tmp_path)
    found = race(tmp_path)[SCORE]
    sides = [(AREAS[label][:, :-1].ravel(), AREAS[label][:, 1:].ravel()) for label in ("none", "redo")]
    assert found.within.value == pytest.approx(np.mean([stats.spearmanr(*side).statistic for side in sides]))
    assert found.pooled.value == pytest.approx(stats.spearmanr(*np.concatenate(sides, axis=1)).statistic)
    assert found.within.freedom == 5 and found.within.low is not None and found.within.low < found.within.value


def test_pooled_and_within_can_differ_in_sign() -> None:
    """Two chains: within each the score falls with the quantity, and the chain with more of it scores more."""
    one, other = np.arange(8.0).reshape(4, 2), 100 + np.arange(8.0).reshape(4, 2)
    mine, theirs = np.concatenate([one, other], axis=1), np.concatenate([-one, 200 - other], axis=1)
    assert spearman([2, 2])(mine, theirs) == pytest.approx(-1) and spearman([4])(mine, theirs) > 0.3
    stacked = spearman([2, 2])(np.stack([mine, mine]), np.stack([theirs, -theirs]))
    assert stacked.tolist() == pytest.approx([-1, 1])
    constant = np.concatenate([np.ones((4, 2)), other], axis=1)
    assert spearman([2, 2])(constant, theirs) == pytest.approx(-1), "a block that does not vary is left out"


def test_significance_is_corrected_for_all_quantities(tmp_path: Path) -> None:
    write_runs(tmp_path)
    found = race(tmp_path)
    raw = sorted((each.within.chance(), each.within_p) for each in found.values())
    assert raw[0][1] == pytest.approx(4 * raw[0][0]) and raw[-1][1] >= raw[-1][0]
    assert isinstance(found[VISIT].within, Estimate) and found[VISIT].trivial and not found["dead units"].trivial


def test_the_page_has_the_race_where_it_is_asked_for(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs")
    page, parts = write_page([tmp_path / "runs"], tmp_path / "with", predict=True)
    assert "What predicts the next visit" in page.read_text() and parts[0].tables[-1].rows[0].cells[0] == "weight norm"
    assert parts[0].tables[-1].rows[0].before and not any(
        row.before for row in parts[0].tables[-1].rows[1:] if row.cells[0] in (VISIT, SCORE)
    )
    page, _ = write_page([tmp_path / "runs"], tmp_path / "without")
    assert "What predicts" not in page.read_text()
