"""Plasticity kept and performance against hand computation and second implementations."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.data.load import load
from analysis.report.sections import section
from analysis.scores.ratios import FIRST_VISIT, agrees, drift, member_ratios, own_control, plain_control, ratio, trend
from analysis.scores.setting import Setting
from analysis.scores.verdict import _kept, reading, verdicts
from analysis.statistics.intervals import Estimate
from tests.analysis.scores.test_setting import REFERENCES, chain, only
from tests.fake_runs import games, online, online_rows, spec, write_run


def test_performance_by_hand(tmp_path: Path) -> None:
    online(tmp_path, "none", [[0.2, 0.1], [0.4, 0.3]])
    online(tmp_path, "fresh", [[0.59, 0.49], [0.61, 0.51]])
    setting = only(tmp_path)
    none = chain(setting, "none")
    assert ratio(setting, none, plain_control(setting), [0]).value == pytest.approx(0.3 / 0.6)
    assert ratio(setting, none, plain_control(setting), [0, 1]).value == pytest.approx((0.3 / 0.6 + 0.2 / 0.5) / 2)
    np.testing.assert_allclose(member_ratios(setting, none, plain_control(setting)), [[0.2 / 0.6, 0.1 / 0.5], [0.4 / 0.6, 0.3 / 0.5]])
    assert ratio(setting, chain(setting, "fresh"), plain_control(setting), [0]) == Estimate(1.0, members=2, of=2, note="the reference")


def test_the_ratios_interval_is_that_of_paired_members(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    none, fresh = random.uniform(0.1, 0.3, size=(4, 2)), random.uniform(0.5, 0.8, size=(4, 2))
    online(tmp_path, "none", none)
    online(tmp_path, "fresh", fresh)
    setting = only(tmp_path)
    without = [(none[list(i)].mean(axis=0) / fresh[list(i)].mean(axis=0)).mean() for i in itertools.combinations(range(4), 3)]
    found = ratio(setting, chain(setting, "none"), plain_control(setting), [0, 1])
    assert found.error == pytest.approx(3 * stats.sem(without)) and found.freedom == 3


def test_only_members_that_both_have_are_compared(tmp_path: Path) -> None:
    online(tmp_path, "none", [[0.2], [0.4]], seed=0)
    online(tmp_path, "none", [[0.8], [0.8]], seed=1)
    online(tmp_path, "fresh", [[0.59], [0.61]], seed=0)
    setting = only(tmp_path)
    found = ratio(setting, chain(setting, "none"), plain_control(setting), [0])
    assert (found.value, found.members, found.of) == (pytest.approx(0.5), 2, 4)


def test_returns_are_measured_from_the_random_score(tmp_path: Path) -> None:
    tasks = ["pong", "boxing"]
    games(tmp_path, "none", [[-15.0, 2.0], [-13.0, 4.0]], tasks, references=REFERENCES)
    games(tmp_path, "fresh", [[-8.1, 5.9], [-7.9, 6.1]], tasks, references=REFERENCES)
    setting = only(tmp_path)
    none = chain(setting, "none")
    assert ratio(setting, none, plain_control(setting), [0]).value == pytest.approx((-14 + 20) / (-8 + 20))
    np.testing.assert_allclose(setting.shown(none.area), [[5 / 40, 2 / 10], [7 / 40, 4 / 10]])
    np.testing.assert_allclose(setting.shown(none.curve)[:, :, 0], [[5 / 40, 2 / 10], [7 / 40, 4 / 10]])


def test_a_control_that_did_not_learn_gives_no_ratio(tmp_path: Path) -> None:
    tasks = ["pong", "boxing"]
    games(tmp_path, "none", [[-15.0, 2.0], [-13.0, 4.0]], tasks, references=REFERENCES)
    games(tmp_path, "fresh", [[-20.5, 5.9], [-18.0, 6.1]], tasks, references=REFERENCES)
    setting = only(tmp_path)
    found = ratio(setting, chain(setting, "none"), plain_control(setting), [0])
    assert not found.defined and found.note == "the fresh control did not learn in this budget"
    both = ratio(setting, chain(setting, "none"), plain_control(setting), [0, 1])
    assert both.value == pytest.approx(3 / 6) and both.note == "over 1 of 2 visits"
    assert np.isnan(member_ratios(setting, chain(setting, "none"), plain_control(setting))[:, 0]).all()


def test_negative_returns_without_a_random_score_give_no_ratio(tmp_path: Path) -> None:
    for references in ({}, {"hop-0": {}, "hop-1": {}}):
        runs = tmp_path / str(len(references))
        games(runs, "none", [[-15.0, 2.0], [-13.0, 4.0]], ["hop-0", "hop-1"], references=references)
        games(runs, "fresh", [[-9.0, 5.9], [-7.0, 6.1]], ["hop-0", "hop-1"], references=references)
        setting = only(runs)
        assert plain_control(setting).reasons == (
            "the return of the fresh control is not above 0, and no random score is known to measure from",
            "",
        )
        assert setting.comparable == bool(references)  # tasks of one environment without a known score


def test_without_a_control_or_with_one_member_there_is_no_ratio(tmp_path: Path) -> None:
    online(tmp_path / "a", "none", [[0.5], [0.6]])
    setting = only(tmp_path / "a")
    assert ratio(setting, setting.chains[0], plain_control(setting), [0]).note == "no fresh control"
    online(tmp_path / "b", "none", [[0.5]])
    online(tmp_path / "b", "fresh", [[0.6]])
    setting = only(tmp_path / "b")
    assert (
        ratio(setting, setting.chains[0], plain_control(setting), [0]).note
        == "one member of the fresh control: no interval says whether it learned"
    )


def nap_loses_a_sixth(root: Path, **changed: object) -> Setting:
    """NaP learns twice as much as the plain agent when it is new, and ends at 5/6 of that; the plain agent loses nothing."""
    online(root, "none", [[0.3, 0.3, 0.3], [0.3, 0.3, 0.3]], **changed)
    online(root, "nap", [[0.59, 0.59, 0.49], [0.61, 0.61, 0.51]], **changed)
    online(root, "fresh", [[0.29, 0.3, 0.3], [0.31, 0.3, 0.3]], **changed)
    return only(root)


def test_plasticity_kept_is_over_the_chains_own_control_and_performance_over_the_plain_one(tmp_path: Path) -> None:
    online(tmp_path, "nap + reset", [[0.59, 0.59, 0.59], [0.61, 0.61, 0.61]])
    setting = nap_loses_a_sixth(tmp_path)
    nap, own = chain(setting, "nap"), own_control(setting, chain(setting, "nap"))
    assert own.name == "nap + reset" and own_control(setting, chain(setting, "none")).name == "fresh"
    assert ratio(setting, nap, own, [2]).value == pytest.approx(0.5 / 0.6)
    assert ratio(setting, nap, own, [1, 2]).value == pytest.approx((1 + 0.5 / 0.6) / 2)
    assert ratio(setting, nap, plain_control(setting), [2]).value == pytest.approx(0.5 / 0.3)
    np.testing.assert_allclose(member_ratios(setting, nap, own)[:, 2], [0.49 / 0.6, 0.51 / 0.6])
    rows = {row.label: row for row in verdicts(setting)}
    assert rows["nap"].kept.value == pytest.approx(0.5 / 0.6) and rows["nap"].performance.value == pytest.approx(0.5 / 0.3)
    assert rows["none"].kept.value == rows["none"].performance.value == pytest.approx(1.0)
    said = reading(setting, list(rows.values()))
    assert said.startswith("Without intervention the agent keeps 100% of its plasticity") and "above 100%" not in said


def test_a_ratio_above_one_is_explained() -> None:
    found = [("none", Estimate(0.8, 0.7, 0.9)), ("nap", Estimate(1.5, 1.4, 1.6))]
    none, most = _kept(found, "at the end")
    assert none == "without intervention the agent keeps 80% [70, 90] of its plasticity at the end"
    assert most == "nap keeps the most, 150% [140, 160] (above 100%: it learns later tasks better than when it was new)"


def test_where_tasks_are_alike_the_first_visit_is_the_own_control_unless_there_is_a_reset_run(tmp_path: Path) -> None:
    setting = nap_loses_a_sixth(tmp_path / "without", tasks_alike=True)
    nap = chain(setting, "nap")
    own = own_control(setting, nap)
    assert own.name == FIRST_VISIT and own.reasons == ("the reference", "", "")
    assert ratio(setting, nap, own, [2]).value == pytest.approx(0.5 / 0.6)
    assert ratio(setting, nap, own, [0]).note == "the reference" and not ratio(setting, nap, own, [0]).defined
    online(tmp_path / "with", "nap + reset", [[0.59, 0.59, 0.49], [0.61, 0.61, 0.51]], tasks_alike=True)
    setting = nap_loses_a_sixth(tmp_path / "with", tasks_alike=True)
    assert ratio(setting, nap, own_control(setting, chain(setting, "nap")), [2]).value == pytest.approx(1.0)
    begun = spec("nap + reset", 0, "abc", members=2, tasks_alike=True)
    rows = [row for row in online_rows(begun, np.full((2, 3), 0.5)) if row.visit == 0]
    write_run(tmp_path / "begun", begun, rows, done=False)
    setting = nap_loses_a_sixth(tmp_path / "begun", tasks_alike=True)
    assert own_control(setting, chain(setting, "nap")).name == FIRST_VISIT
    unlike = nap_loses_a_sixth(tmp_path / "unlike")
    assert own_control(unlike, chain(unlike, "nap")).reasons[0] == "no own control: --own-control trains it"


def test_a_trend_over_the_first_visit_by_hand(tmp_path: Path) -> None:
    online(tmp_path, "nap", [[0.5, 0.5, 0.4, 0.3], [0.5, 0.5, 0.4, 0.3]], tasks_alike=True)
    setting = only(tmp_path)
    assert trend(setting, setting.chains[0], own_control(setting, setting.chains[0])).value == pytest.approx(-0.1 / 0.5)


def test_the_first_visit_and_a_reset_run_are_compared(tmp_path: Path) -> None:
    areas = np.array([[0.5, 0.4], [0.6, 0.5], [0.7, 0.6], [0.65, 0.5], [0.55, 0.4]])
    online(tmp_path, "nap", areas, tasks_alike=True)
    shift = np.array([[0.0], [0.01], [-0.01], [0.005], [-0.004]])
    online(tmp_path, "nap + reset", np.hstack([areas[:, :1], areas[:, :1] + shift]), tasks_alike=True)
    setting = only(tmp_path)
    found = drift(setting, chain(setting, "nap + reset"), [1])
    assert found.value == pytest.approx(shift.mean()) and agrees(found)
    assert not agrees(Estimate(0.1, 0.05, 0.15)) and agrees(Estimate(0.1))
    online(tmp_path / "off", "nap", areas, tasks_alike=True)
    online(tmp_path / "off", "nap + reset", np.hstack([areas[:, :1], areas[:, :1] + 0.1 + shift]), tasks_alike=True)
    part = section(loaded := load([tmp_path / "off"]), loaded.runs[0].spec.setting, alone=True)
    assert any(line.startswith("nap + reset and the first visit of nap differ by 0.1") for line in part.missing)


def test_a_control_is_never_best_and_stands_in_no_list_to_choose_from(tmp_path: Path) -> None:
    base = np.random.default_rng(3).uniform(0.2, 0.6, size=(5, 2))
    online(tmp_path, "none", base)
    online(tmp_path, "redo", base + np.linspace(0.01, 0.03, 5)[:, None])
    online(tmp_path, "redo + reset", base + 0.3)
    setting = only(tmp_path)
    assert [row.label for row in verdicts(setting) if row.best] == ["redo"]
    assert [each.label for each in setting.rivals] == [each.label for each in setting.compared] == ["none", "redo"]
    assert [row.fresh_control for row in verdicts(setting)] == [False, False, True]
