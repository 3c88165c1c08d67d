"""The statistics against rliable, exhaustive resamples, and hand computation."""

import itertools

import numpy as np
import pytest
from rliable import library, metrics
from scipy import stats

from analysis.statistics.bootstrap import Estimate, bootstrap, coverage, difference, estimate, interval, iqm, mean, mean_ratio


def test_the_interquartile_mean_by_hand() -> None:
    assert iqm(np.array([[100.0, 3.0, 4.0, -50.0], [5.0, 6.0, 1.0, 9.0]])) == 4.5  # the middle four of -50 1 3 4 5 6 9 100
    assert iqm(np.array([[1.0, 5.0, 9.0]])) == 5.0  # three values: no trimming


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (3, 5), (5, 20), (10, 57)])
def test_many_interquartile_means_at_once_are_rliables(shape: tuple[int, int]) -> None:
    scores = np.random.default_rng(0).normal(size=(20, *shape))
    np.testing.assert_allclose(iqm(scores), [metrics.aggregate_iqm(each) for each in scores], rtol=0, atol=1e-12)
    np.testing.assert_allclose(mean(scores), [metrics.aggregate_mean(each) for each in scores], rtol=0, atol=1e-12)


@pytest.mark.parametrize("statistic", [iqm, mean])
def test_intervals_are_rliables(statistic) -> None:
    scores = np.random.default_rng(1).normal(size=(8, 6)) + np.arange(6)
    np.random.seed(0)  # rliable ignores its random_state
    _, theirs = library.get_interval_estimates({"a": scores}, lambda x: np.array([statistic(x)]), reps=20_000)
    ours = estimate(statistic, scores, repetitions=20_000, by_visit=True)
    width = float(theirs["a"][1, 0] - theirs["a"][0, 0])
    assert ours.low is not None and ours.high is not None
    assert abs(ours.low - theirs["a"][0, 0]) < 0.03 * width
    assert abs(ours.high - theirs["a"][1, 0]) < 0.03 * width


def test_whole_members_are_resampled_as_all_resamples_there_are() -> None:
    scores = np.random.default_rng(2).normal(size=(4, 3))
    every = [mean(scores[list(chosen)]) for chosen in itertools.product(range(4), repeat=4)]  # 256, equally likely
    drawn = bootstrap(mean, scores, repetitions=40_000)
    assert np.isclose(drawn.mean(), np.mean(every), atol=0.01 * np.std(every))
    assert np.isclose(drawn.std(), np.std(every), rtol=0.02)
    assert interval(drawn) == pytest.approx(tuple(np.quantile(every, [0.025, 0.975])), abs=0.05 * float(np.std(every)))
    assert set(np.round(drawn, 9)) <= set(np.round(every, 9))


def test_matrices_are_resampled_together() -> None:
    worse = np.random.default_rng(3).normal(size=(5, 3))
    better = worse + np.array([[0.1], [0.2], [0.3], [0.4], [0.5]])
    lead = estimate(difference, better, worse)
    assert lead.value == pytest.approx(0.3)
    assert lead.low is not None and lead.high is not None
    assert 0.1 < lead.low < 0.3 < lead.high < 0.5  # paired, so the spread of `worse` itself plays no part


def test_a_mean_ratio_by_hand() -> None:
    above, below = np.array([[3.0, 10.0], [5.0, 14.0]]), np.array([[4.0, 14.0], [8.0, 14.0]])
    # ((4 - 2) / (6 - 2) + (12 - 10) / (14 - 10)) / 2
    assert mean_ratio(np.array([2.0, 10.0]))(above, below) == 0.5
    many = np.random.default_rng(6).uniform(1, 2, size=(2, 7, 5, 3))
    floor = np.array([0.1, 0.2, 0.3])
    np.testing.assert_allclose(mean_ratio(floor)(*many), [mean_ratio(floor)(*pair) for pair in zip(*many, strict=True)])


def test_the_same_seed_is_the_same_interval_and_another_is_not() -> None:
    scores = np.random.default_rng(4).normal(size=(5, 3))
    assert estimate(iqm, scores) == estimate(iqm, scores)
    assert estimate(iqm, scores, seed=1) != estimate(iqm, scores)


def test_a_missing_score_leaves_its_run_out_by_number() -> None:
    scores = np.array([[1.0, 2.0], [np.nan, 4.0], [3.0, 6.0]])
    found = estimate(mean, scores)
    assert (found.value, found.members, found.of) == (3.0, 2, 3)
    assert estimate(mean, scores[:, 1:]).members == 3


def test_no_interval_is_ever_without_width() -> None:
    assert estimate(mean, np.array([[0.5, 0.7]])) == Estimate(0.6, None, None, 1, 1, "no interval: one member")
    assert estimate(mean, np.full((4, 2), 0.5)) == Estimate(0.5, None, None, 4, 4, "no interval: members do not differ")
    nothing = estimate(mean, np.full((4, 2), np.nan))
    assert not nothing.defined and (nothing.members, nothing.of, nothing.note) == (0, 4, "no member has all of it")


def test_what_lies_above_a_level() -> None:
    scores = np.array([[0.4], [0.5], [0.6]])
    assert estimate(mean, scores).exceeds(0.39) and not estimate(mean, scores).exceeds(0.41)
    assert not estimate(mean, scores[:1]).exceeds(0.0)  # one member
    assert estimate(mean, np.full((3, 1), 0.5)).exceeds(0.4) and not estimate(mean, np.full((3, 1), 0.5)).exceeds(0.5)
    assert not estimate(mean, scores * np.nan).exceeds(0.0)


def test_coverage_is_what_the_report_says() -> None:
    """Members that differ in all visits alike: whole members keep their coverage, visits on their own lose it."""
    random = np.random.default_rng(5)
    hits = {(members, by_visit): 0 for members in (5, 10) for by_visit in (False, True)}
    trials = 600
    for (members, by_visit), _ in itertools.product(hits, range(trials)):
        scores = random.normal(size=(members, 3)) + random.normal(size=(members, 1))
        low, high = interval(bootstrap(mean, scores, repetitions=300, by_visit=by_visit))
        hits[members, by_visit] += low <= 0 <= high
    coverage = {case: count / trials for case, count in hits.items()}
    assert coverage[5, False] == pytest.approx(0.84, abs=0.05)
    assert coverage[10, False] == pytest.approx(0.89, abs=0.04)
    assert coverage[5, True] == pytest.approx(0.75, abs=0.06)


@pytest.mark.parametrize(("runs", "expected"), [(3, 0.76), (5, 0.84), (10, 0.90)])
def test_simulated_coverage_is_the_normal_distributions(runs: int, expected: float) -> None:
    """A mean's percentile interval is nearly value +- 1.96 standard errors that divide by n: Student's t says how often it holds."""
    shrunk = 1.96 * np.sqrt((runs - 1) / runs)
    theory = 2 * stats.t.cdf(shrunk, runs - 1) - 1
    found = coverage(mean, runs, trials=4_000)
    assert found == pytest.approx(theory, abs=0.045 if runs == 3 else 0.025) and found == pytest.approx(expected, abs=0.03)
    assert found < 0.95


def test_coverage_of_other_intervals() -> None:
    assert coverage(mean, 5, visits=3, between=0.5) == pytest.approx(0.84, abs=0.03)
    assert coverage(mean, 5, visits=3, between=0.5, by_visit=True) == pytest.approx(0.75, abs=0.04)
    assert coverage(iqm, 10, visits=4) == pytest.approx(0.92, abs=0.04)
    assert coverage(mean, 40) == pytest.approx(0.94, abs=0.02)
