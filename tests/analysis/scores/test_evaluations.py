"""Evaluations: rows read and refused, the resulting matrices, and no effect on curves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.data.load import load
from analysis.scores.evaluations import Evaluations, evaluations
from analysis.scores.setting import score, settings
from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Score
from plasticity_rl.records.spec import Spec
from plasticity_rl.records.tables import write_table
from tests.fake_runs import episode_rows, evaluation_rows, online, sequence, spec, write_run

TASKS = ("pong", "chess", "pong")
CURVES = np.full((2, 3, 1), 5.0)
MEANS = np.array([[[10.0, 0.0], [4.0, 20.0], [12.0, 8.0]], [[20.0, 0.0], [6.0, 40.0], [18.0, 10.0]]])
"""by member i, at the end of visit v, on task k; visit 0 lacks chess"""


def found(root: Path) -> Evaluations:
    """Evaluations of a folder's one setting."""
    loaded = load([root])
    (key,) = settings(loaded)
    some = evaluations(loaded, score(loaded, key))
    assert some is not None
    return some


def rows(label: str = "none") -> list[Score]:
    """Two members visit pong, chess, and pong again, with two evaluations on each task met at the end of each visit."""
    return sorted(episode_rows(described(label), CURVES) + evaluation_rows(described(label), MEANS), key=lambda row: row.frames)


def described(label: str) -> Spec:
    return spec(label, 0, TASKS, unit="frames", budget=1000, members=2)


def written(root: Path, change: Callable[[list[Score]], list[Score]] = list, label: str = "none") -> Path:
    return write_run(root, described(label), change(rows(label)))


def test_evaluations_by_hand(tmp_path: Path) -> None:
    written(tmp_path)
    some = found(tmp_path)
    assert some.tasks == ("pong", "chess") and some.moments == ((0, 1000), (1, 2000), (2, 3000)) and some.missing == ()
    expected = MEANS.copy()
    expected[:, 0, 1] = np.nan
    np.testing.assert_array_equal(some.at_end["none"], expected)
    np.testing.assert_array_equal(some.score["none"], expected)  # no evaluations within a visit


def test_evaluations_touch_no_curve_whatever_they_say(tmp_path: Path) -> None:
    written(tmp_path / "with", lambda rows: [row._replace(score=1e9) if row.kind == "evaluation" else row for row in rows])
    written(tmp_path / "without", lambda rows: [row for row in rows if row.kind != "evaluation"])
    scored = []
    for folder in ("with", "without"):
        loaded = load([tmp_path / folder])
        scored.append(score(loaded, settings(loaded)[0]))
    np.testing.assert_array_equal(scored[0].chains[0].curve, scored[1].chains[0].curve)
    assert scored[0].kind == scored[1].kind == "return" and scored[0].missing == scored[1].missing


def test_without_evaluations_there_are_none(tmp_path: Path) -> None:
    sequence(tmp_path, "none", CURVES, TASKS)
    loaded = load([tmp_path])
    assert evaluations(loaded, score(loaded, settings(loaded)[0])) is None


def test_evaluations_within_a_visit_are_no_end_of_it(tmp_path: Path) -> None:
    early = Score(0, 1, "pong", 0, 1400, 350, 87, "evaluation", 3.0)
    over = Score(1, 1, "chess", 0, 2004, 501, 125, "evaluation", 43.0)  # a batch ran over the budget
    written(tmp_path, lambda rows: sorted([*rows, early, over], key=lambda row: (row.visit, row.frames)))
    some = found(tmp_path)
    assert some.moments == ((0, 1000), (1, 1400), (1, 2000), (2, 3000))
    assert some.score["none"][0, 1, 0] == 3.0 and np.isfinite(some.score["none"][:, 1]).sum() == 1
    np.testing.assert_array_equal(some.at_end["none"][:, 1], [[4.0, 20.0], [6.0, (41 + 39 + 43) / 3]])
    assert some.missing == ("none, seed 0: 3 episodes and not 2 in the evaluation of chess at the end of visit 1 of member 1",)


def swap(**changed: Any) -> Callable[[list[Score]], list[Score]]:
    """Change fields of the first evaluation."""

    def change(rows: list[Score]) -> list[Score]:
        first = next(at for at, row in enumerate(rows) if row.kind == "evaluation")
        return [*rows[:first], rows[first]._replace(**changed), *rows[first + 1 :]]

    return change


CONTRADICTIONS: dict[str, tuple[Callable[[list[Score]], list[Score]], str]] = {
    "an unknown task": (swap(task="go"), "evaluation of go, which is no task of the run"),
    "a task not yet met": (swap(task="chess"), "evaluation of chess in visit 0, before its first visit"),
    "the cycle of another visit": (swap(cycle=1), "visit 0 is called pong, cycle 1"),
    "a member too many": (swap(member=2), "member 2 of 2 members"),
    "a visit too many": (swap(visit=3), "visit 3 of 3 visits"),
    "going back in time": (lambda rows: [*rows, rows[-1]._replace(frames=2500)], "visits or frames of member 1 run backwards"),
    "a return of another task": (swap(kind="return", task="chess"), "visit 0 is called chess, cycle 0"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions_leave_the_run_out(tmp_path: Path, case: str) -> None:
    change, line = CONTRADICTIONS[case]
    written(tmp_path / "runs", change)
    written(tmp_path / "runs", label="fresh")
    named = [problem.what for problem in load([tmp_path / "runs"]).missing]
    assert f"none, seed 0: left out whole: scores.csv contradicts spec.json: {line}" in named


def test_a_supervised_stream_has_no_episodes_to_evaluate(tmp_path: Path) -> None:
    folder = online(tmp_path, "none", [[0.5, 0.4]])
    (folder / "scores.csv").write_text((folder / "scores.csv").read_text() + "0,1,a,0,0,200,200,evaluation,3.0\n")
    with pytest.raises(UsageError, match="scores of two kinds"):
        load([tmp_path])


def without(number: int | None = None, **where: object) -> Callable[[list[Score]], list[Score]]:
    """Omit the evaluations with these fields; `number`: at most so many."""

    def change(rows: list[Score]) -> list[Score]:
        wanted = {"kind": "evaluation"} | where
        gone = [at for at, row in enumerate(rows) if all(getattr(row, name) == value for name, value in wanted.items())][:number]
        return [row for at, row in enumerate(rows) if at not in gone]

    return change


MISSING: dict[str, tuple[Callable[[list[Score]], list[Score]], str]] = {
    "one cell": (without(member=1, visit=2, task="chess"), "no evaluation of chess at the end of visit 2 of member 1"),
    "a task": (without(task="pong"), "no evaluation of pong at the end of visits 0-2 of members 0-1"),
    "the end of a visit": (without(visit=2), "no evaluation of chess, pong at the end of visit 2 of members 0-1"),
    "an episode": (
        without(1, member=0, visit=1, task="pong"),
        "1 episode and not 2 in the evaluation of pong at the end of visit 1 of member 0",
    ),
    "all of it": (without(), "no evaluation at the end of any visit"),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_is_missing_is_named(tmp_path: Path, case: str) -> None:
    change, line = MISSING[case]
    written(tmp_path, change)
    written(tmp_path, label="fresh")
    assert found(tmp_path).missing == (f"none, seed 0: {line}",)


def test_a_score_that_is_no_number_leaves_its_cell_empty(tmp_path: Path) -> None:
    folder = written(tmp_path)
    path = folder / "scores.csv"
    path.write_text(path.read_text().replace("evaluation,41.0", "evaluation,nan"))
    assert "none, seed 0: scores.csv: non-finite score of member 1, visit 1" in [line.what for line in load([tmp_path]).missing]
    some = found(tmp_path)
    assert some.missing == ("none, seed 0: a non-finite score in an evaluation of chess at the end of visit 1 of member 1",)
    np.testing.assert_array_equal(some.at_end["none"][:, 1], [[4.0, 20.0], [6.0, np.nan]])


def test_a_visit_that_is_not_over_lacks_no_evaluation(tmp_path: Path) -> None:
    written(tmp_path, lambda rows: [row for row in rows if row.frames <= 2500])
    some = found(tmp_path)
    assert some.missing == () and np.isnan(some.at_end["none"][:, 2]).all()


def test_nothing_but_evaluations_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path)
    written(tmp_path, label="fresh")
    write_table(folder / "again.csv", Score, [row for row in rows() if row.kind == "evaluation"])
    (folder / "again.csv").replace(folder / "scores.csv")
    assert "none, seed 0: scores.csv: no rows but evaluations" in [line.what for line in load([tmp_path]).missing]


def test_a_file_cut_after_every_row_invents_no_evaluation(tmp_path: Path) -> None:
    folder = written(tmp_path)
    written(tmp_path, label="fresh")
    whole = found(tmp_path).at_end["none"]
    lines = (folder / "scores.csv").read_text().splitlines(keepends=True)
    for length in range(2, len(lines)):
        (folder / "scores.csv").write_text("".join(lines[:length]))
        some = found(tmp_path)
        same = (some.at_end["none"] == whole) | np.isnan(some.at_end["none"])
        assert same.all() or any("1 episode and not 2" in line for line in some.missing), length  # a cell is whole, absent or named
