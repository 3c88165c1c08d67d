"""Retention, re-learning time, and later visits over the first one, against hand computation and against chance alone."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.data.load import load
from analysis.scores.evaluations import evaluations
from analysis.scores.sequential import (
    SequenceRow,
    again,
    later_over_first,
    left,
    relearning_time,
    retention,
    sequence_rows,
    undefined,
    windows_until,
)
from analysis.scores.setting import score, settings
from tests.fake_runs import online, sequence

NAN = np.nan
BUDGETS = [100, 100, 100]
NO_FLOOR = np.zeros(3)


def rows(root: Path) -> tuple[SequenceRow, ...]:
    """A folder's one setting."""
    loaded = load([root])
    (key,) = settings(loaded)
    setting = score(loaded, key)
    return sequence_rows(setting, evaluations(loaded, setting))


@pytest.mark.parametrize(
    ("tasks", "pairs"),
    [
        ("a", []),
        ("aa", []),
        ("ab", [(0, 1)]),
        ("aba", [(0, 1), (1, 2)]),
        ("abab", [(0, 1), (1, 2), (2, 3)]),
        ("abc", [(0, 1), (0, 2), (1, 2)]),
        ("abca", [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]),
    ],
)
def test_the_visits_after_a_task_was_left(tasks: str, pairs: list[tuple[int, int]]) -> None:
    assert left(tasks) == pairs


def test_the_visits_to_tasks_met_before() -> None:
    assert again("abc") == [] and again("aaa") == [(1, 0, 0), (2, 1, 0)]
    assert again("abaab") == [(2, 0, 0), (3, 2, 0), (4, 1, 1)]


def test_retention_by_hand() -> None:
    # a and b in turn: a, b, a
    evaluation = np.array([[[15.0, NAN], [6.0, 39.0], [7.0, 10.0]], [[17.0, NAN], [16.0, 41.0], [27.0, 20.0]]])
    found = retention(evaluation, "aba", np.array([1.0, 10.0, 1.0]))
    assert found.at == (("a", 1), ("b", 2)) and found.reasons == ("", "")
    a, b = (6 + 16 - 2) / (15 + 17 - 2), (10 + 20 - 20) / (39 + 41 - 20)
    assert [each.value for each in found.each] == pytest.approx([a, b])
    assert found.overall.value == pytest.approx((a + b) / 2) and (found.overall.members, found.overall.of) == (2, 2)
    # without either member the ratio is 15 / 16 and 5 / 14: half their distance is the standard error, t(1) = 12.706
    assert found.each[0].error == pytest.approx((15 / 16 - 5 / 14) / 2)
    assert found.each[0].high == pytest.approx(2 / 3 + 12.7062047 * (15 / 16 - 5 / 14) / 2)
    assert found.counts() is None


def test_a_task_met_again_is_measured_from_its_latest_visit() -> None:
    evaluation = np.full((3, 4, 2), 8.0)
    evaluation[:, 0, 0], evaluation[:, 2, 0], evaluation[:, 3, 0] = 100.0, 16.0, 4.0
    found = retention(evaluation, "abab", np.zeros(4))
    assert found.at == (("a", 1), ("b", 2), ("a", 3))
    assert [each.value for each in found.each] == [0.08, 1.0, 0.25]
    assert found.overall.value == pytest.approx((0.08 + 1 + 0.25) / 3)


def test_the_interval_of_retention_is_that_of_whole_members() -> None:
    evaluation = np.random.default_rng(0).uniform(1, 3, size=(4, 3, 3))
    without = [
        np.mean([evaluation[list(who), later, task].mean() / evaluation[list(who), task, task].mean() for task, later in left("abc")])
        for who in itertools.combinations(range(4), 3)
    ]
    found = retention(evaluation, "abc", NO_FLOOR).overall
    assert found.error == pytest.approx(3 * stats.sem(without)) and found.freedom == 3


def test_what_was_never_learned_cannot_be_kept() -> None:
    evaluation = np.array([[[9.0, NAN, NAN], [3.0, 9.0, NAN], [3.0, 6.0, 5.0]], [[-1.0, NAN, NAN], [2.0, 8.0, NAN], [3.0, 2.0, 5.0]]])
    found = retention(evaluation, "abc", NO_FLOOR)
    assert found.reasons == ("its own visit taught nothing", "its own visit taught nothing", "")  # 4 and 8.5, +- 64 and 6.4
    assert not found.each[0].defined and found.each[0].note == "its own visit taught nothing"
    assert found.overall.value == pytest.approx(8 / 17) and found.overall.note == "over 1 of 3 pairs"
    nothing = retention(evaluation, "abc", np.full(3, 10.0)).overall
    assert not nothing.defined and nothing.note == "its own visit taught nothing"


def test_what_is_not_there_is_said_and_not_guessed() -> None:
    evaluation = np.array([[[8.0, NAN], [NAN, 5.0]], [[9.0, NAN], [NAN, 5.0]]])
    assert retention(evaluation, "ab", NO_FLOOR[:2]).overall.note == "no evaluation"
    evaluation[0, 1, 0] = 4.0
    found = retention(evaluation, "ab", NO_FLOOR[:2]).overall
    assert (found.value, found.members, found.of) == (0.5, 1, 2)
    alone = retention(evaluation[:1], "ab", NO_FLOOR[:2]).overall
    assert not alone.defined and alone.note == "one member: no interval says whether its own visit taught anything"


def test_windows_until_a_level_by_hand() -> None:
    curve = np.array([[1.0, 4.0, 2.0], [1.0, 4.0, 2.0], [1.0, 4.0, 2.0], [NAN, 4.0, 2.0], [NAN, NAN, NAN], [1.0, 4.0, 2.0]])
    np.testing.assert_array_equal(windows_until(curve, np.array([2.0, 1.0, 5.0, 4.0, 1.0, NAN])), [2, 1, np.inf, 2, NAN, NAN])


def test_re_learning_time_by_hand() -> None:
    # a's first visit ends at 4, 6 and 5, first reached in windows 4, 2 and 3; the next visit reaches it in windows 1, 4 and never
    first = [[1.0, 2.0, 3.0, 4.0], [1.0, 7.0, 5.0, 6.0], [1.0, 2.0, 5.0, 5.0]]
    second = [[4.0, 2.0, 2.0, 2.0], [1.0, 2.0, 3.0, 6.0], [1.0, 2.0, 3.0, 4.9]]
    curve = np.stack([first, np.ones((3, 4)), second], axis=1)
    found = relearning_time(curve, "aba", NO_FLOOR, BUDGETS)
    assert found.at == (("a", 2),) and found.counts() == found.counts(0) == (2, 3)
    np.testing.assert_array_equal(found.earlier[:, 0], [4, 2, 3])
    np.testing.assert_array_equal(found.later[:, 0], [1, 4, 4])  # the whole budget if the level is not reached
    assert found.overall.value == found.each[0].value == pytest.approx((1 + 4 + 4) / (4 + 2 + 3))
    # without each member in turn: 8 / 5, 5 / 7 and 5 / 6
    assert found.overall.error == pytest.approx(2 * stats.sem([8 / 5, 5 / 7, 5 / 6]))


def test_each_visit_is_compared_with_the_one_before() -> None:
    slow, fast, quick = [0.0, 0.0, 0.0, 8.0], [0.0, 9.0, 9.0, 9.0], [9.0, 9.0, 9.0, 9.0]
    found = relearning_time(np.array([[slow, fast, quick]] * 2), "aaa", NO_FLOOR, BUDGETS)
    assert [each.value for each in found.each] == [0.5, 0.5] and found.counts() == (4, 4)
    assert found.overall.value == 0.5 and found.overall.note == "no interval: members do not differ"


def test_a_level_that_nothing_was_learned_for_says_nothing() -> None:
    curve = np.array([[[2.0, 1.9], [5.0, 5.0]], [[2.0, 2.1], [5.0, 5.0]]])
    assert relearning_time(curve, "aa", np.full(2, 2.0), BUDGETS[:2]).overall.note == "the visit before taught nothing"
    assert relearning_time(curve, "aa", np.full(2, 0.5), BUDGETS[:2]).overall.value == pytest.approx(2 / 3)
    missing = curve.copy()
    missing[:, 1] = NAN
    found = relearning_time(missing, "aa", NO_FLOOR[:2], BUDGETS[:2])
    assert found.overall.note == "no score" and found.counts() == (0, 0)
    missing[0, 1] = 5.0
    found = relearning_time(missing, "aa", NO_FLOOR[:2], BUDGETS[:2])
    assert (found.overall.members, found.overall.of, found.counts()) == (1, 2, (1, 1))


def test_unequal_budgets_are_not_compared() -> None:
    curve = np.arange(1.0, 9.0).reshape(1, 2, 4) + np.array([0.0, 0.1])[:, None, None]
    assert relearning_time(curve, "aa", NO_FLOOR[:2], [100, 200]).overall.note == "budgets differ"
    assert later_over_first(curve.mean(axis=2), "aa", NO_FLOOR[:2], [100, 200]).overall.note == "budgets differ"


@pytest.mark.parametrize("rise", [0.0, 0.3, 3.0])
def test_where_nothing_changes_the_restricted_ratio_is_one_and_no_other_is(rise: float) -> None:
    curve = rise * np.linspace(0, 1, 10) + 10 + np.random.default_rng(1).normal(size=(4_000, 2, 10))
    found = relearning_time(curve, "aa", NO_FLOOR[:2], BUDGETS[:2])
    assert found.reached is not None
    assert (found.later.mean() / found.earlier.mean()) == pytest.approx(1.0, abs=0.02)
    there = found.reached[:, 0]
    assert found.later[there].mean() / found.earlier[there].mean() < 0.97  # those that reach it appear faster
    assert (found.later / found.earlier).mean() > 1.02  # and a mean of ratios suggests that all are slower


def test_later_visits_over_the_first_by_hand() -> None:
    area = np.array([[7.9, 5.9, 4.0, 3.0], [8.1, 6.1, 4.0, 7.0]])
    found = later_over_first(area, "abab", np.array([2.0, 1.0, 2.0, 1.0]), [100] * 4)
    assert found.at == (("a", 2), ("b", 3))
    a, b = (4 - 2) / (8 - 2), (5 - 1) / (6 - 1)
    assert [each.value for each in found.each] == pytest.approx([a, b]) and found.overall.value == pytest.approx((a + b) / 2)
    thrice = later_over_first(area[:, :3], "aaa", NO_FLOOR, BUDGETS)
    assert thrice.at == (("a", 1), ("a", 2)) and [each.value for each in thrice.each] == pytest.approx([6 / 8, 4 / 8])
    assert later_over_first(area, "abab", np.full(4, 7.0), [100] * 4).overall.note == "the first visit taught nothing"


def test_a_run_of_games_in_cycles_has_all_three(tmp_path: Path) -> None:
    curves = np.array([[[10.0] * 10, [20.0] * 10, [5.0] * 10, [10.0] * 10], [[10.2] * 10, [20.4] * 10, [5.1] * 10, [10.2] * 10]])
    means = np.array([[[8.0, 0.0], [4.0, 8.0], [8.0, 2.0], [4.0, 8.0]]] * 2)
    sequence(tmp_path, "none", curves, ["pong", "chess", "pong", "chess"], means)
    (row,) = rows(tmp_path)
    assert list(row.measures) == ["retention", "relearning_time", "later_over_first"]
    assert row.measures["retention"].overall.value == pytest.approx((0.5 + 0.25 + 0.5) / 3)
    assert (row.measures["relearning_time"].overall.value, row.measures["relearning_time"].counts()) == (10.0, (0, 4))  # 10 windows over 1
    assert row.measures["later_over_first"].overall.value == pytest.approx(0.5)
    assert undefined([row]) == []


def test_transfer_is_the_lead_over_the_control_at_first_visits(tmp_path: Path) -> None:
    curve = np.ones((2, 4, 10)) + np.array([0.0, 1.0])[:, None, None]
    references = {"a": {"random": 1.0, "human": 3.0}, "b": {"random": 0.0, "human": 4.0}, "c": {"random": 0.0, "human": 10.0}}
    sequence(tmp_path, "none", curve * np.array([2.0, 3.0, 9.0, 5.0])[:, None], ["a", "b", "a", "c"], references=references)
    sequence(tmp_path, "fresh", curve, ["a", "b", "a", "c"], references=references)
    none, fresh = rows(tmp_path)
    assert none.transfer is not None and none.transfer.at == (("b", 1), ("c", 3))
    assert [each.value for each in none.transfer.each] == pytest.approx([1.5 * 2 / 4, 1.5 * 4 / 10])  # members score 1 and 2 from scratch
    assert none.transfer.overall.value == pytest.approx((0.75 + 0.6) / 2)
    assert fresh.transfer is not None and fresh.transfer.overall.note == "the reference"


def test_only_what_a_sequence_has_is_shown(tmp_path: Path) -> None:
    curves, means = np.full((2, 2, 10), 5.0), np.full((2, 2, 2), 5.0)
    sequence(tmp_path / "cycles", "none", curves, ["a", "a"])
    assert list(rows(tmp_path / "cycles")[0].measures) == ["relearning_time", "later_over_first"]
    sequence(tmp_path / "evaluated", "none", curves, ["a", "b"], means)
    assert list(rows(tmp_path / "evaluated")[0].measures) == ["retention"]
    sequence(tmp_path / "neither", "none", curves, ["a", "b"])
    sequence(tmp_path / "one", "none", curves[:, :1], ["a"], means[:, :1, :1])
    online(tmp_path / "stream", "none", [[0.5, 0.4], [0.5, 0.4]])
    online(
        tmp_path / "again", "none", [[0.5, 0.4], [0.5, 0.4]], visits=[{"index": v, "task": "a", "cycle": v, "budget": 100} for v in (0, 1)]
    )
    assert [rows(tmp_path / name) for name in ("neither", "one", "stream", "again")] == [(), (), (), ()]


def test_what_is_undefined_is_named_for_each_chain(tmp_path: Path) -> None:
    curves = np.full((2, 4, 10), 5.0) + 0.1 * np.arange(2)[:, None, None]
    curves[:, 0] = 0.0
    means = np.full((2, 4, 2), 3.0) + 0.1 * np.arange(2)[:, None, None]
    means[:, 0, 0] = 0.0
    sequence(tmp_path, "none", curves, ["a", "b", "a", "b"], means, references={"a": {"random": 2.0}, "b": {"random": 2.0}})
    assert undefined(rows(tmp_path)) == [
        "none: no retention of a at visit 1: its own visit taught nothing",
        "none: no re-learning time of a at visit 2: the visit before taught nothing",
        "none: no later over first visits of a at visit 2: the first visit taught nothing",
    ]
