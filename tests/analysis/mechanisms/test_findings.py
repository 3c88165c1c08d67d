"""Mechanisms: what moved before the score fell, on runs with a known answer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.data.load import load
from analysis.mechanisms.findings import MECHANISMS, advice, changes, findings, first_moved, levels, reading, side
from analysis.mechanisms.page import write_page
from analysis.scores.setting import score
from launch.__main__ import main
from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Metric
from plasticity_rl.records.spec import Spec
from tests.fake_runs import SETTING, online_rows, spec, write_run

VISITS = 8
MEMBERS = np.array([0.0, 1.0, -1.0, 0.5, -0.5])[:, None] / 100
"""five members' deviations, with mean 0"""


def step(at: int, size: float, start: float = 1.0) -> np.ndarray:
    """Five members' quantity over visits: `start`, plus `size` from visit `at` on."""
    return start + MEMBERS + size * (np.arange(VISITS) >= at) * (1 + MEMBERS)


def rows(described: Spec, quantities: dict[str, np.ndarray]) -> list[Metric]:
    """Two rows of each quantity per visit, one above its mean and one below."""
    found: list[Metric] = []
    for visit in described.visits:
        for half, sign in ((50, 1), (100, -1)):
            at = 100 * visit["index"] + half
            for name, values in quantities.items():
                for member, value in enumerate(values[:, visit["index"]]):
                    if np.isnan(value):
                        continue
                    found.append(Metric(member, visit["index"], visit["task"], 0, 0, at, at, name, float(value * (1 + 0.1 * sign))))
    return found


def written(root: Path, label: str, areas: np.ndarray, quantities: dict[str, np.ndarray], members: int = 5) -> Path:
    described = spec(label, 0, "abcdefgh"[: areas.shape[1]], members=members)
    return write_run(
        root, described, online_rows(described, areas[:members]), rows(described, {n: v[:members] for n, v in quantities.items()})
    )


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The plain agent's score falls in visit 4. Before it moved weights (visit 1) and dead units (3), with it the effective learning rate,
    later linearised units (6); the feature rank differs between tasks as the control's does, and the pre-activation mean in one visit."""
    bumps = np.array([0, 2, 5, 1, 3, 8, 2, 4])
    untrained = {"dead_fraction_fresh/hidden0": step(9, 0.0, 0.1)}
    blip = step(9, 0.0)
    blip[:, 3] += 1
    moving = {
        "weight_norm/hidden0": step(1, 3.0, 3.0),
        "weight_norm/hidden1": step(1, 4.0, 4.0),
        "dead_fraction/hidden0": step(3, 0.2, 0.1),
        "effective_learning_rate/hidden0": step(4, -0.5),
        "linearised_fraction/hidden0": step(6, 0.3, 0.1),
        "feature_rank/hidden1": step(9, 0.0) + bumps,
        "preactivation_mean/hidden0": blip,
        "preactivation_variance/hidden0": np.where(np.arange(VISITS) > 0, step(2, 5.0), np.nan),  # no control
        "loss": step(2, 1.0),
    }
    still = {name: step(9, 0.0, values[0, 0]) for name, values in moving.items()} | {"feature_rank/hidden1": step(9, 0.0) * 2 + bumps}
    written(tmp_path, "none", step(4, -0.3), moving | untrained)
    written(tmp_path, "fresh", step(9, 0.0), still | untrained)
    return tmp_path


def test_levels_are_means_over_a_visits_rows_of_all_layers(runs: Path) -> None:
    loaded = load([runs])
    setting = score(loaded, SETTING)
    norms = levels(loaded.metrics, setting, "none", "weight_norm", "norm")
    lengths = np.hypot(step(1, 3.0, 3.0), step(1, 4.0, 4.0))
    np.testing.assert_allclose(norms, lengths)
    np.testing.assert_allclose(norms[0, [0, 1]], [5, 10])
    means = levels(loaded.metrics, setting, "none", "weight_norm", "mean")
    np.testing.assert_allclose(means, (step(1, 3.0, 3.0) + step(1, 4.0, 4.0)) / 2)
    np.testing.assert_allclose(levels(loaded.metrics, setting, "none", "dead_fraction", "mean"), step(3, 0.2, 0.1))
    assert np.isnan(levels(loaded.metrics, setting, "none", "dead", "mean")).all()


def test_metrics_of_ones_own_are_looked_at(tmp_path: Path) -> None:
    written(tmp_path / "runs", "none", step(4, -0.3), {"mine.Above/hidden0": step(2, 0.5), "mine.Above_fresh/hidden0": step(9, 0.0)})
    loaded = load([tmp_path / "runs"])
    (found,) = findings(loaded, score(loaded, SETTING))
    assert [(course.mechanism.title, course.moved) for course in found.before] == [("mine.Above", 2)]
    np.testing.assert_allclose(found.before[0].untrained, step(9, 0.0))
    page, _ = write_page([tmp_path / "runs"], tmp_path / "out", predict=True)
    assert page.read_text().count("mine.Above") >= 2


def test_changes_by_hand() -> None:
    values, control = np.array([[1.0, 4.0, 2.0]]), np.array([[2.0, 3.0, np.nan]])
    assert changes(values, None).tolist() == [[0.0, 3.0, 1.0]]
    np.testing.assert_array_equal(changes(values, control), [[0.0, 2.0, np.nan]])


def test_a_side_needs_an_interval_that_excludes_zero() -> None:
    assert side(np.array([2.0, 3.0, 4.0])) == 1 and side(-np.array([2.0, 3.0, 4.0])) == -1  # 3 +- 2.48
    assert side(np.array([1.0, 2.0, 3.0])) == 0
    assert side(np.array([-1.0, 2.0, 3.0])) == 0
    assert side(np.array([2.0, 2.0])) == 1  # alike: no doubt
    assert side(np.array([0.0, 0.0])) == 0 and side(np.array([5.0])) == 0
    assert side(np.array([2.0, 3.0, 4.0, np.nan])) == 1


def test_the_first_of_two_visits_in_a_row_counts() -> None:
    assert first_moved(step(3, 0.2), None) == (3, 1) and first_moved(step(3, -0.2), None) == (3, -1)
    assert first_moved(step(3, -0.2), None, ways=(-1,)) == (3, -1) and first_moved(step(3, 0.2), None, ways=(-1,)) is None
    assert first_moved(step(VISITS - 1, 0.2), None) is None  # one visit is not two
    assert first_moved(step(VISITS - 2, 0.2), None) == (VISITS - 2, 1)
    alternating = step(9, 0.0) + np.arange(VISITS) % 2
    assert first_moved(alternating, None) is None and first_moved(alternating, alternating * 2) is None
    assert first_moved(step(1, 1.0), step(1, 1.0)) is None and first_moved(step(1, 1.0), step(1, 1.1)) == (1, -1)


def test_what_moved_before_the_score_fell_is_found(runs: Path) -> None:
    loaded = load([runs])
    setting = score(loaded, SETTING)
    (found,) = findings(loaded, setting)
    assert found.fell == 4
    assert [(course.mechanism.name, course.moved, course.rose) for course in found.before] == [
        ("weight_norm", 1, True),
        ("dead_fraction", 3, True),
    ]
    assert [(course.mechanism.name, course.rose) for course in found.together] == [("effective_learning_rate", False)]
    assert [(course.mechanism.name, course.moved) for course in found.after] == [("linearised_fraction", 6)]
    assert [course.mechanism.name for course in found.still] == ["preactivation_mean", "feature_rank"]
    assert {mechanism.name for mechanism in found.missing} == {
        "preactivation_shift",
        "preactivation_variance",
        "saturated_fraction",
        "value_scale",
        "overestimation",
        "hessian_eigenvalue/1",
        "ntk_rank",
        "probe_final/random",
    }
    dead = next(course for course in found.courses if course.mechanism.name == "dead_fraction")
    np.testing.assert_allclose(dead.untrained, step(9, 0.0, 0.1))
    assert reading(found, setting) == (
        "none: the score fell in visit 4 beside the fresh control. Moved before: weight norm (visit 1, 5.000 -> 10.0), dead units "
        "(visit 3, 0.100 -> 0.300). Moved in the same visit: effective learning rate (visit 4, 1.000 -> 0.500). Moved later: linearised "
        "units (visit 6, 0.100 -> 0.400). Not moved: pre-activation mean, feature rank."
    )


def test_names_with_a_part_of_their_own_are_found(tmp_path: Path) -> None:
    quantities = {
        "hessian_eigenvalue/1": step(2, 1.0),
        "hessian_eigenvalue/2": step(5, 9.0),
        "hessian_eigenvalue_fresh/1": step(9, 0.0, 7.0),
    }
    written(tmp_path, "none", step(9, 0.0), quantities | {"probe_final/random": step(3, 1.0)})
    loaded = load([tmp_path])
    (found,) = findings(loaded, score(loaded, SETTING))
    assert [(course.mechanism.name, course.moved, course.control) for course in found.after] == [
        ("hessian_eigenvalue/1", 2, None),
        ("probe_final/random", 3, None),
    ]
    np.testing.assert_allclose(found.courses[0].untrained, step(9, 0.0, 7.0))
    assert np.isnan(found.courses[1].untrained).all()


def test_a_score_that_does_not_fall_is_said(tmp_path: Path) -> None:
    written(tmp_path, "none", step(2, 0.1), {"weight_norm/hidden0": step(2, 1.0)})
    loaded = load([tmp_path])
    setting = score(loaded, SETTING)
    (found,) = findings(loaded, setting)
    assert found.fell is None and not found.before and not found.together
    assert reading(found, setting) == (
        "none: the score did not fall since the first visit, without a fresh control. These moved nevertheless: weight norm "
        "(visit 2, 1.000 -> 2.000)."
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: written(root, "none", step(2, -0.3), {"loss": step(2, 1.0)}, members=1), "none: one member, so no interval"),
        (
            lambda root: written(root, "none", step(1, -0.3)[:, :2], {"loss": step(1, 1.0)}),
            "none: 2 visits, too few to show movement.",
        ),
    ],
    ids=["members", "visits"],
)
def test_too_little_is_said(make: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    make(tmp_path)
    loaded = load([tmp_path])
    setting = score(loaded, SETTING)
    (found,) = findings(loaded, setting)
    assert found.fell is None and reading(found, setting).startswith(said)


def test_the_page_says_it_all(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mechanisms", str(runs)]) == 0
    told = capsys.readouterr().out
    page = runs / "mechanisms" / "mechanisms.html"
    assert str(page) in told and "none: the score fell in visit 4 beside the fresh control." in told
    text = page.read_text()
    assert text.count("<img ") == 1 and "http" not in text.replace("http-equiv", "")
    assert "score (fell in visit 4)" in text and "not reported in the first visit by none: pre-activation shift within the visit" in text
    table = text[text.index("<tbody>") :]
    assert [cell in table for cell in ("visit 1, up", "visit 4, down", "visit 6, up")] == [True] * 3
    assert table.count('class="before"') == 2
    assert (runs / "mechanisms" / "1-mechanisms.png").read_bytes()[1:4] == b"PNG"
    again = page.read_bytes()
    write_page([runs], runs / "mechanisms")
    assert page.read_bytes() == again


def test_mistakes_are_one_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mechanisms"]) == 2
    assert "needs a folder of runs" in capsys.readouterr().err
    written(tmp_path / "runs", "none", step(2, -0.3), {})
    with pytest.raises(UsageError, match=r"no run in .* has diagnostics: metrics.csv is empty"):
        write_page([tmp_path / "runs"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        write_page([tmp_path / "runs"], tmp_path / "file")


def described(experiment: dict[str, Any], unit: str = "updates") -> Spec:
    return spec(experiment=experiment, unit=unit)


def test_settings_that_would_give_rows_are_named() -> None:
    by = {mechanism.name: mechanism for mechanism in MECHANISMS}
    chosen = [by[name] for name in ("weight_norm", "dead_fraction", "ntk_rank", "probe_final/random", "overestimation")]
    counts = {"diagnose_every": 2000, "curvature_every": 0, "probe_every": 500, "evaluate": 0}
    assert advice(described(counts), 1000, chosen) == "; add --diagnose-every 1000, --curvature-every 1000"
    assert advice(described(counts, "frames"), 2000, chosen) == "; add --curvature-every 2000, --evaluate 4"
    assert advice(described(counts), 2000, chosen[:2]) == "" == advice(described({}), 1000, chosen)


def test_a_run_without_rows_in_its_first_visit_says_how_to_get_them(tmp_path: Path) -> None:
    quantity = step(9, 0.0)
    quantity[:, 0] = np.nan
    for folder, quantities in (("late", {"weight_norm/hidden0": quantity}), ("never", {})):
        run = written(tmp_path / folder, "none", step(2, -0.3), quantities)
        fields = json.loads((run / "spec.json").read_text())
        fields["experiment"]["diagnose_every"] = 200
        (run / "spec.json").write_text(json.dumps(fields))
    _, (part,) = write_page([tmp_path / "late"], tmp_path / "out")
    assert part.missing[-1].startswith("not reported in the first visit by none: pre-activation shift")
    assert part.missing[-1].endswith("; add --diagnose-every 100")
    with pytest.raises(UsageError, match=r"metrics.csv is empty; add --diagnose-every 100$"):
        write_page([tmp_path / "never"], tmp_path / "out")


def dip(size: float) -> np.ndarray:
    """Five members' score over visits: `size` lower in visits 1 and 2, recovered by visit 3."""
    return 1 + MEMBERS - size * np.isin(np.arange(VISITS), (1, 2))


@pytest.mark.parametrize(
    ("areas", "control", "said"),
    [
        (
            dip(0.2),
            None,
            "the score did not fall: lower in visit 1, it ends no lower than it began (0.867",
        ),
        # last three over first three: 1.2 / ((1 + 0.8 + 0.8) / 3); the control gains 0.5
        (dip(0.2) + 0.2 * (np.arange(VISITS) > 2), step(3, 0.5), "it ends no lower than it began (0.867 -> 1.200)"),
        # the control falls as far: d over the last three is 0, although the score itself ends lower
        (
            step(1, -0.3),
            step(3, -0.3),
            "did not fall for good: lower in visit 1 beside the fresh control, it ends no further down than the",
        ),
        (step(4, -0.3), step(9, 0.0), "the score fell in visit 4 beside the fresh control"),
    ],
    ids=["came back", "above its first", "as the control", "fell"],
)
def test_a_score_fell_only_where_it_ends_lower(areas: np.ndarray, control: np.ndarray | None, said: str, tmp_path: Path) -> None:
    written(tmp_path, "none", areas, {"weight_norm/hidden0": step(2, 1.0)})
    if control is not None:
        written(tmp_path, "fresh", control, {"weight_norm/hidden0": step(9, 0.0)})
    loaded = load([tmp_path])
    setting = score(loaded, SETTING)
    (found,) = findings(loaded, setting)
    assert said in reading(found, setting)
    assert (found.fell is None) == ("did not fall" in said or "no lower" in said)
    if found.fell is None:
        assert found.dipped == 1 and not found.before


def test_an_unfinished_run_may_have_fallen(tmp_path: Path) -> None:
    described = spec("none", 0, "abcdefgh", members=5)
    rows_ = [row for row in online_rows(described, step(2, -0.3)) if row.visit < 5]
    write_run(tmp_path, described, rows_, rows(described, {"weight_norm/hidden0": step(2, 1.0)}), done=False)
    loaded = load([tmp_path])
    setting = score(loaded, SETTING)
    (found,) = findings(loaded, setting)
    assert found.fell == 2
