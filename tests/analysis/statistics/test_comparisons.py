"""Tests and corrections against scipy's, statsmodels' and counts by hand."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.statistics.comparisons import against, ahead_of_all, holm, improvement, lead
from analysis.statistics.intervals import Estimate, difference, estimate


def test_holm_is_statsmodels() -> None:
    chances = [0.01, 0.04, 0.03, 0.005, 0.9, 0.5]
    assert holm(chances) == pytest.approx(multipletests(chances, method="holm")[1])
    assert holm([0.02, math.nan, 0.03])[::2] == pytest.approx([0.04, 0.04])
    assert math.isnan(holm([0.02, math.nan])[1]) and holm([]) == []


def test_a_lead_in_pairs_is_scipys_paired_test_and_among_strangers_welchs() -> None:
    random = np.random.default_rng(2)
    other = random.normal(size=(6, 4)) + random.normal(size=(6, 1))
    better = other + 0.2 + 0.05 * random.normal(size=(6, 1))
    paired, stranger = lead("b", better, "a", other, paired=True), lead("b", better, "a", other[:5], paired=False)
    assert paired.difference == estimate(difference, better, other)
    assert paired.improvement == 1.0 and paired.differs
    assert paired.p == paired.corrected == pytest.approx(stats.ttest_rel(better.mean(axis=1), other.mean(axis=1)).pvalue)
    welch = stats.ttest_ind(better.mean(axis=1), other[:5].mean(axis=1), equal_var=False)
    assert stranger.p == pytest.approx(welch.pvalue) and not stranger.differs
    found = stranger.difference
    assert (found.low, found.high) == pytest.approx(tuple(welch.confidence_interval(0.95))) and found.members == 11
    wins = [mine > theirs for mine in better.mean(axis=1) for theirs in other[:5].mean(axis=1)]
    assert stranger.improvement == pytest.approx(np.mean(wins))


@pytest.mark.parametrize("paired", [True, False])
def test_what_is_not_there_gives_no_chance(paired: bool) -> None:
    nothing, one = np.full((3, 2), np.nan), np.array([[1.0, 2.0], [np.nan, 1.0]])
    found = lead("b", nothing, "a", nothing, paired)
    assert not found.difference.defined and math.isnan(found.p) and math.isnan(found.improvement)
    found = lead("b", one, "a", one - 1, paired)
    assert found.difference.value == 1.0 and found.difference.low is None and found.difference.note == "no interval: one member"
    assert math.isnan(found.p) and found.improvement == 1.0 and not found.differs
    alike = lead("b", np.full((3, 2), 2.0), "a", np.full((3, 2), 1.0), paired)
    assert alike.difference.exceeds(0.0) and alike.difference.low is None and alike.p == 0.0


def test_comparisons_with_the_control_and_the_baseline_are_corrected_together() -> None:
    random = np.random.default_rng(3)
    base = random.normal(size=(8, 3))
    scores = {"none": base, "fresh": base + 1, "nap": base + 0.5 * random.random(size=(8, 3)), "redo": random.normal(size=(8, 3))}
    leads = against(scores, ("fresh", "none"))
    pairs = [(each.label, each.reference) for each in leads]
    assert pairs == [("none", "fresh"), ("nap", "fresh"), ("redo", "fresh"), ("nap", "none"), ("redo", "none")]
    assert [each.corrected for each in leads] == pytest.approx(multipletests([each.p for each in leads], method="holm")[1])
    assert [each.differs for each in leads] == [each.corrected < 0.05 for each in leads]


def test_the_best_beats_all_rivals_after_holm() -> None:
    def found(p: float, value: float = 1.0) -> Estimate:
        return Estimate(value, error=value / float(stats.t.isf(p / 2, 9)), freedom=9)

    assert ahead_of_all([found(0.049)]) and not ahead_of_all([found(0.051)]) and not ahead_of_all([found(0.001, -1.0)])
    assert ahead_of_all([found(0.024), found(0.049)]) and not ahead_of_all([found(0.026), found(0.049)])
    assert not ahead_of_all([found(0.001), Estimate(1.0, members=1)])


def test_the_probability_of_improvement_leaves_each_member_out_of_both() -> None:
    better, other = np.array([[1.0, 5.0], [2.0, 1.0], [3.0, 3.0]]), np.array([[0.0, 4.0], [2.0, 2.0], [9.0, 3.0]])

    def share(one: np.ndarray, two: np.ndarray) -> float:
        wins = [(a > b) + 0.5 * (a == b) for visit in range(2) for a in one[:, visit] for b in two[:, visit]]
        return float(np.mean(wins))

    found = improvement(better, other)
    without = [share(np.delete(better, each, axis=0), np.delete(other, each, axis=0)) for each in range(3)]
    assert found.value == pytest.approx(share(better, other)) and found.error == pytest.approx(2 * stats.sem(without))
    assert found.low == 0.0 and found.high == 1.0 and improvement(better[:1], other[:1]).note == "no interval: one member"
