"""Tests and corrections against scipy's, statsmodels' and counts by hand."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.statistics.bootstrap import difference, estimate
from analysis.statistics.comparisons import against, holm, lead, permutations, sign_flips


def test_sign_flips_by_hand() -> None:
    assert sign_flips(np.array([1.0, 2.0, 3.0])) == 2 / 8  # only all of one sign
    assert sign_flips(np.array([1.0, 2.0, -3.0])) == 1.0
    assert sign_flips(np.array([3.0, 3.0, -1.0])) == 4 / 8  # sums of 5 and of 7, either way
    assert sign_flips(np.full(5, 0.1)) == 2 / 32
    assert sign_flips(np.zeros(4)) == 1.0


@pytest.mark.parametrize("runs", [2, 5, 10])
def test_sign_flips_are_all_of_them(runs: int) -> None:
    changes = np.random.default_rng(runs).normal(0.3, 1.0, size=runs)
    sums = [abs(np.dot(signs, changes)) for signs in itertools.product((-1, 1), repeat=runs)]
    assert sign_flips(changes) == pytest.approx(np.mean(np.array(sums) >= abs(changes.sum()) - 1e-12))
    assert sign_flips(1e6 * changes) == sign_flips(1e-6 * changes) == sign_flips(-changes) == sign_flips(changes)


@pytest.mark.parametrize("runs", [(2, 3), (5, 5), (4, 7)])
def test_permutations_are_all_of_them_and_count_both_sides(runs: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    one, two = random.normal(0.8, 1.0, size=runs[0]), random.normal(size=runs[1])
    pooled = np.concatenate([one, two])
    seen = [
        abs(pooled[list(chosen)].mean() - np.delete(pooled, chosen).mean()) for chosen in itertools.combinations(range(sum(runs)), runs[0])
    ]
    expected = np.mean(np.array(seen) >= abs(one.mean() - two.mean()) - 1e-12)
    assert permutations(one, two) == pytest.approx(expected)
    assert permutations(1e4 + one, 1e4 + two) == pytest.approx(expected)  # far from 0, sums in another order are still ties


def test_more_arrangements_than_can_be_looked_at_are_drawn() -> None:
    random = np.random.default_rng(1)
    changes, one, two = random.normal(0.3, 1.0, size=40), random.normal(0.5, 1.0, size=30), random.normal(size=40)
    assert sign_flips(changes) == pytest.approx(stats.ttest_1samp(changes, 0.0).pvalue, abs=0.01)
    assert permutations(one, two) == pytest.approx(stats.ttest_ind(one, two).pvalue, abs=0.01)
    assert sign_flips(changes) == sign_flips(changes) != sign_flips(changes, seed=2)


def test_holm_is_statsmodels() -> None:
    chances = [0.01, 0.04, 0.03, 0.005, 0.9, 0.5]
    assert holm(chances) == pytest.approx(multipletests(chances, method="holm")[1])
    assert holm([0.02, math.nan, 0.03])[::2] == pytest.approx([0.04, 0.04])
    assert math.isnan(holm([0.02, math.nan])[1]) and holm([]) == []


def test_chance_is_found_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    pairs = np.array([sign_flips(random.normal(size=6)) for _ in range(1_000)])
    groups = np.array([permutations(*random.normal(size=(2, 5))) for _ in range(1_000)])
    for level in (0.05, 0.1, 0.3):
        assert (pairs <= level).mean() == pytest.approx(math.floor(level * 32) / 32, abs=0.03)
        assert (groups <= level).mean() == pytest.approx(level, abs=0.03)


def test_a_lead_in_pairs_and_among_strangers() -> None:
    random = np.random.default_rng(2)
    other = random.normal(size=(6, 4)) + random.normal(size=(6, 1))
    better = other + 0.2 + 0.05 * random.normal(size=(6, 1))
    paired, stranger = lead("b", better, "a", other, paired=True), lead("b", better, "a", other, paired=False)
    assert paired.difference == estimate(difference, better, other)
    assert (paired.improvement, paired.p, paired.corrected) == (1.0, 2 / 64, 2 / 64)
    assert stranger.difference.value == pytest.approx(paired.difference.value)
    assert stranger.difference.low is not None and stranger.difference.low < 0 and paired.difference.exceeds(0.0)
    wins = [mine > theirs for mine in better.mean(axis=1) for theirs in other.mean(axis=1)]
    assert stranger.improvement == pytest.approx(np.mean(wins)) and stranger.p == permutations(better.mean(axis=1), other.mean(axis=1))


@pytest.mark.parametrize("paired", [True, False])
def test_what_is_not_there_gives_no_chance(paired: bool) -> None:
    nothing, one = np.full((3, 2), np.nan), np.array([[1.0, 2.0], [np.nan, 1.0]])
    found = lead("b", nothing, "a", nothing, paired)
    assert not found.difference.defined and math.isnan(found.p) and math.isnan(found.improvement)
    found = lead("b", one, "a", one - 1, paired)
    assert found.difference.value == 1.0 and found.difference.low is None and found.difference.note == "no interval: one member"
    assert math.isnan(found.p) and found.improvement == 1.0
    alike = lead("b", np.full((3, 2), 2.0), "a", np.full((3, 2), 1.0), paired)
    assert alike.difference.exceeds(0.0) and alike.difference.low is None


def test_comparisons_with_the_control_and_the_baseline_are_corrected_together() -> None:
    random = np.random.default_rng(3)
    base = random.normal(size=(8, 3))
    scores = {"none": base, "fresh": base + 1, "nap": base + 0.5 * random.random(size=(8, 3)), "redo": random.normal(size=(8, 3))}
    leads = against(scores, ("fresh", "none"))
    pairs = [(each.label, each.reference) for each in leads]
    assert pairs == [("none", "fresh"), ("nap", "fresh"), ("redo", "fresh"), ("nap", "none"), ("redo", "none")]
    assert [each.corrected for each in leads] == pytest.approx(multipletests([each.p for each in leads], method="holm")[1])
    assert leads[3].p == 2 / 2**8 and leads[3].corrected == 5 * 2 / 2**8
