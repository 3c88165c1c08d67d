"""Chains over tasks: aggregates against rliable's and by hand, on runs with known truth."""

import json
from pathlib import Path

import numpy as np
import pytest
from rliable import metrics
from scipy import stats

from analysis.data.comparable import differing
from analysis.data.load import load
from analysis.report.page import write_report
from analysis.scores.matrix import Row, ScoreMatrix, over_control
from analysis.scores.setting import score, settings
from analysis.scores.suites import apart, group, score_matrix, suite
from analysis.statistics.aggregates import interval
from tests.fake_runs import atari, games, online

GAMES, RUNS = 6, 6
FACTORS = {"none": (1.0, 0.5), "nap": (1.2, 1.2), "redo": (1.0, 0.8), "fresh": (1.0, 1.0)}
"""each chain's advantage over a game's level, in its two visits"""
BASE = np.array([0.3, 0.8, 1.4, 0.6, 2.2, 0.9])


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A comparison of four chains on six games: its folder and the scores drawn (members, games, visits)."""
    root = tmp_path_factory.mktemp("atari")
    return root, atari(root, {label: BASE[:, None] * factor for label, factor in FACTORS.items()}, RUNS)


def together(root: Path) -> ScoreMatrix:
    loaded = load([root])
    ((field, keys),) = group(loaded.runs)
    assert field == "games" and len(keys) == GAMES
    return suite([score(loaded, key) for key in keys], field).matrix


def test_scores_of_a_suite_are_those_that_were_drawn(known: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, drawn = known
    found = together(root)
    assert found.tasks == tuple(f"Game{game:02d}" for game in range(GAMES)) and not found.whole
    assert found.scale == "human-normalised return" and [row.label for row in found.rows] == ["none", "nap", "redo", "fresh"]
    for row in found.rows:
        matrix = drawn[row.label].mean(axis=2)
        np.testing.assert_allclose(row.score, matrix, atol=1e-9)
        estimates = found.scores[row.label]
        assert estimates["iqm"].value == pytest.approx(metrics.aggregate_iqm(matrix))
        assert estimates["median"].value == pytest.approx(metrics.aggregate_median(matrix))
        assert estimates["mean"].value == pytest.approx(metrics.aggregate_mean(matrix))
        assert estimates["optimality_gap"].value == pytest.approx(metrics.aggregate_optimality_gap(matrix))
        assert (estimates["iqm"].members, estimates["iqm"].of) == (GAMES * RUNS, GAMES * RUNS)


def test_the_truth_lies_within_the_intervals(known: tuple[Path, dict[str, np.ndarray]]) -> None:
    found = together(known[0])
    for label, factor in FACTORS.items():
        estimate, truth = found.scores[label]["mean"], BASE.mean() * np.mean(factor)
        assert estimate.low is not None and estimate.high is not None and estimate.low < truth < estimate.high
        assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(2 * RUNS * GAMES), rel=0.35)  # the formula's


def test_intervals_of_ratios_hold_the_truth_as_often_as_so_few_runs_allow() -> None:
    random, hits = np.random.default_rng(0), 0
    for _ in range(300):
        above, below = random.normal(0.8, 0.1, size=(6, 8)), random.normal(1.0, 0.1, size=(6, 8))
        low, high = interval(over_control(above, below, repetitions=400)[1][:, 2])
        hits += int(low < 0.8 < high)
    assert hits / 300 == pytest.approx(2 * stats.norm.cdf(1.96 * np.sqrt(5 / 6)) - 1, abs=0.05)  # deviations that divide by n


def test_the_better_chain_is_found_and_the_same_one_is_not(known: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    found = together(known[0])
    assert found.best is found.row("nap")
    leads = {(lead.label, lead.reference): lead for lead in found.leads}
    assert set(leads) == {(a, "none") for a in ("nap", "redo", "fresh")} | {("nap", "fresh"), ("redo", "fresh")}
    for (label, reference), lead in leads.items():
        truth = BASE.mean() * (np.mean(FACTORS[label]) - np.mean(FACTORS[reference]))
        assert lead.difference.low is not None and lead.difference.high is not None and lead.difference.low < truth < lead.difference.high
        drawn = [known[1][name].mean(axis=2) for name in (label, reference)]
        errors = (drawn[0] - drawn[1]).var(axis=0, ddof=1) / RUNS / GAMES**2
        assert lead.difference.error == pytest.approx(np.sqrt(errors.sum()))
        assert lead.corrected >= lead.p == lead.difference.chance() and lead.differs
    atari(tmp_path, {label: BASE[:3, None] * np.ones(2) for label in ("none", "nap")}, RUNS)
    same = load([tmp_path])
    ((field, keys),) = group(same.runs)
    assert suite([score(same, key) for key in keys], field).matrix.best is None


def test_the_ratio_to_the_control_by_hand_and_by_resamples_of_its_own() -> None:
    above, below = np.array([[1.0, 6.0], [3.0, 2.0]]), np.array([[4.0, 2.0], [4.0, 2.0]])
    value, samples = over_control(above, below, repetitions=4_000)
    np.testing.assert_allclose(value, [1.25, 1.25, 1.25, 1 - (0.5 + 1) / 2])  # ratios 2 / 4 and 4 / 2
    seen, often = np.unique(samples[:, 2], return_counts=True)
    # each task's ratio is 1 / 4, 2 / 4, 3 / 4 and 2 / 2, 4 / 2, 6 / 2, in a quarter, a half, a quarter of draws
    np.testing.assert_allclose(seen, [0.625, 0.75, 0.875, 1.125, 1.25, 1.375, 1.625, 1.75, 1.875])
    np.testing.assert_allclose(often / 4_000, np.array([1, 2, 1, 2, 4, 2, 1, 2, 1]) / 16, atol=0.03)
    whole = made(row("none", np.vstack([above, above + 1])), row("fresh", np.vstack([below, below + 1])), whole=True).performance["none"]
    assert whole["mean"].value == pytest.approx((2.5 / 4.5 + 4.5 / 2.5) / 2) and whole["mean"].low is not None
    random = np.random.default_rng(0)
    above, below = random.normal(2, 0.3, size=(12, 5)), random.normal(4, 0.3, size=(12, 5))
    value, samples = over_control(above, below, repetitions=4_000)
    ratios = above.mean(axis=0) / below.mean(axis=0)
    assert value[:3] == pytest.approx([stats.trim_mean(ratios, 0.25), np.median(ratios), ratios.mean()])
    error = np.sqrt((ratios**2 * (above.var(0) / above.mean(0) ** 2 + below.var(0) / below.mean(0) ** 2) / 12).sum()) / 5
    assert samples[:, 2].std() == pytest.approx(error, rel=0.1)  # the delta method


def test_profiles_and_efficiency_are_those_of_the_scores(known: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, drawn = known
    found = together(root)
    for label, matrix in drawn.items():
        shares = (matrix.mean(axis=2)[..., None] > found.levels).mean(axis=(0, 1))
        np.testing.assert_allclose(found.profiles[label].value, shares)
        last = found.efficiency[label].value[-1]  # the last window is 1.9 times a visit's score
        assert last == pytest.approx(metrics.aggregate_iqm(1.9 * matrix[:, :, 1]))
        assert len(found.efficiency[label].value) == 20 and found.span == 2_000_000
    better = found.improvement["none"]["nap"]
    none, nap = (drawn[label].mean(axis=2) for label in ("none", "nap"))
    assert better.value == pytest.approx(metrics.probability_of_improvement(nap, none))


def test_visits_of_one_setting_are_a_panel_of_whole_members(tmp_path: Path) -> None:
    areas = np.array([[0.2, 0.4, 0.6, 0.8], [0.4, 0.6, 0.8, 1.0], [0.1, 0.2, 0.3, 0.4]])
    online(tmp_path, "none", areas)
    online(tmp_path, "fresh", 0.5 + areas[:, :1] + np.zeros(4))
    loaded = load([tmp_path])
    found = score_matrix(score(loaded, settings(loaded)[0]))
    assert found.whole and found.noun == "visits" and found.scale == "online accuracy"
    assert found.scores["none"]["mean"].value == pytest.approx(areas.mean())
    assert found.scores["none"]["optimality_gap"].value == pytest.approx(1 - areas.mean())
    assert found.performance["none"]["mean"].value == pytest.approx((areas.mean(axis=0) / (0.5 + areas[:, 0].mean())).mean())
    theirs = stats.ttest_1samp(areas.mean(axis=1), 0.0).confidence_interval()
    assert (found.scores["none"]["mean"].low, found.scores["none"]["mean"].high) == pytest.approx(tuple(theirs))
    assert found.best is None  # with three members


def test_a_suite_has_plasticity_kept_over_own_controls_by_hand(tmp_path: Path) -> None:
    """NaP scores 5 and 6 above random where its own control scores 10 and 8, and the plain one 5 and 3."""
    levels = {"none": (4.0, 3.0), "fresh": (5.0, 3.0), "nap": (5.0, 6.0), "nap + reset": (10.0, 8.0)}
    for label, above in levels.items():
        for place, (game, random, level) in enumerate((("Pong", -20.0, above[0]), ("Boxing", 1.0, above[1]))):
            fields = {"references": {game: {"random": random, "human": random + 100}}, "setting": f"{place}" * 16, "key": f"{label}{game}"}
            folder = games(tmp_path, label, np.full((2, 2), random + level), [game, game], **fields)
            described = json.loads((folder / "spec.json").read_text())
            described["experiment"]["benchmark"] = ["atari", {"games": [game]}]
            (folder / "spec.json").write_text(json.dumps(described))
    loaded = load([tmp_path])
    ((field, keys),) = group(loaded.runs)
    found = suite([score(loaded, key) for key in keys], field).matrix
    assert {row.label for row in found.rows} == {"none", "nap", "fresh"}
    assert found.kept["nap"]["mean"].value == pytest.approx((5 / 10 + 6 / 8) / 2)
    assert found.performance["nap"]["mean"].value == pytest.approx((5 / 5 + 6 / 3) / 2)
    assert found.kept["none"]["mean"].value == found.performance["none"]["mean"].value == pytest.approx((4 / 5 + 1) / 2)
    nap = next(row for row in found.rows if row.label == "nap")
    assert found.kept_of(nap, found.tasks.index("Pong")) == pytest.approx(0.5)


def row(label: str, score: np.ndarray) -> Row:
    return Row(label, label == "fresh", np.repeat(score[:, :, None], 4, axis=2), *(score,) * 4, ("",) * score.shape[1])


def made(*rows: Row, whole: bool = False) -> ScoreMatrix:
    tasks = tuple("abcdefgh"[: rows[0].score.shape[1]])
    zeros = np.zeros(len(tasks))
    return ScoreMatrix(tasks, "tasks", tasks, zeros, zeros + 1, whole, "return", False, "", rows, ("",) * len(tasks), "frames", 10)


def test_what_is_missing_leaves_out_runs_or_whole_members() -> None:
    score = np.arange(12.0).reshape(4, 3)
    score[1, 2] = np.nan
    alone, whole = made(row("none", score)), made(row("none", score), whole=True)
    assert alone.scores["none"]["mean"].value == pytest.approx(np.mean(np.nanmean(score, axis=0)))
    assert whole.scores["none"]["mean"].value == pytest.approx(score[[0, 2, 3]].mean())
    assert (alone.scores["none"]["mean"].members, whole.scores["none"]["mean"].members) == (11, 9)
    assert alone.fewest == 3 and "optimality_gap" not in alone.scores["none"]
    without = np.where(np.arange(3) == 2, np.nan, score)
    gone = made(row("none", without), row("nap", score))
    assert gone.scores["none"]["iqm"].note == "no score of c" and gone.leads[0].difference.note == "no score of c"
    assert "none" not in gone.profiles and gone.improvement["none"] == {} and gone.best is None


def test_pairs_that_have_a_run_in_one_chain_alone_are_not_compared() -> None:
    random = np.random.default_rng(3)
    none = random.normal(size=(6, 3))
    nap = none + 0.5
    nap[0, 0] += 1e6
    none[0, 0] = np.nan
    found = made(row("none", none), row("nap", nap))
    ahead = found.ahead(found.rows[1], found.rows[0], "mean")
    assert ahead.value == pytest.approx(0.5) and ahead.members == 17
    assert found.improvement["none"]["nap"].members == 17


def test_what_differs_in_more_than_its_tasks_is_apart(tmp_path: Path) -> None:
    atari(tmp_path / "runs", {"none": np.full((3, 1), 0.5)}, 1)
    atari(tmp_path / "other", {"none": np.full((5, 1), 0.5)}, 1, budget=2_000_000)
    loaded = load([tmp_path / "runs", *(tmp_path / "other" / "none" / f"none-Game0{game}-0" for game in (3, 4))])
    assert [(field, len(keys)) for field, keys in group(loaded.runs)] == [("games", 3), ("games", 2)]
    lines = [line for _, line in apart(loaded.runs)]
    assert len(lines) == 2 and all(
        "benchmark's games is ['Game00'] and ['Game0" in line and "frames is 1000000 and 2000000" in line for line in lines
    )
    one, other = loaded.runs[0].spec, loaded.runs[-1].spec
    assert differing(one, one._replace(setting="f" * 16)).startswith("their settings differ")
    assert differing(one, other) in lines[-1]


def test_settings_with_a_task_in_common_are_no_suite(tmp_path: Path) -> None:
    for setting, tasks in (("a" * 16, ["pong"]), ("b" * 16, ["pong", "boxing"])):
        benchmark = {"benchmark": ["atari", {"games": tasks}], "chain": []}
        games(tmp_path, "none", np.ones((2, len(tasks))), tasks, setting=setting, key=setting, experiment=benchmark)
    assert group(load([tmp_path]).runs) == []


def test_a_small_suite_has_sections_of_each_task_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.report.page.draw", lambda *_: [])
    atari(tmp_path / "runs", {"none": np.full((2, 2), 0.5), "fresh": np.full((2, 2), 0.6)}, 2)
    written = write_report([tmp_path / "runs"], tmp_path / "out")
    assert [part.name for part in written.parts] == ["atari: 2 tasks", "atari: Game00", "atari: Game01"]
    assert {f"1-atari-{name}.pdf" for name in ("aggregates", "efficiency", "improvement", "profiles")} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    assert "fewer than 5 members of some task: no chain is called best" in written.parts[0].missing
