"""Intervals over members against scipy's t intervals, Fieller's, the delta method, rliable's points, and hand computation."""

import numpy as np
import pytest
from rliable import metrics
from scipy import stats

from analysis.statistics.intervals import (
    ALIKE,
    Estimate,
    column_means,
    difference,
    estimate,
    iqm,
    left_out,
    mean,
    mean_ratio,
    median,
    optimality_gap,
    standard_error,
)


def test_the_interquartile_mean_by_hand() -> None:
    assert iqm(np.array([[100.0, 3.0, 4.0, -50.0], [5.0, 6.0, 1.0, 9.0]])) == 4.5  # the middle four of -50 1 3 4 5 6 9 100
    assert iqm(np.array([[1.0, 5.0, 9.0]])) == 5.0  # three values: no trimming


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (3, 5), (5, 20), (10, 57)])
def test_many_aggregates_at_once_are_rliables(shape: tuple[int, int]) -> None:
    scores = np.random.default_rng(0).normal(size=(20, *shape))
    theirs = {
        iqm: metrics.aggregate_iqm,
        mean: metrics.aggregate_mean,
        median: metrics.aggregate_median,
        optimality_gap: metrics.aggregate_optimality_gap,
    }
    for ours, their in theirs.items():
        np.testing.assert_allclose(ours(scores), [their(each) for each in scores], rtol=0, atol=1e-12)


@pytest.mark.parametrize("members", [2, 3, 5, 13])
def test_a_mean_has_the_t_interval_of_its_members(members: int) -> None:
    scores = np.random.default_rng(members).normal(size=(members, 4)) + np.arange(4)
    found, theirs = estimate(mean, scores), stats.ttest_1samp(scores.mean(axis=1), 0.0)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert found.chance() == pytest.approx(theirs.pvalue)
    assert found.error == pytest.approx(stats.sem(scores.mean(axis=1))) and found.freedom == members - 1
    wide = found.at(1 - 0.05 / 42)
    assert (wide.low, wide.high) == pytest.approx(tuple(theirs.confidence_interval(1 - 0.05 / 42)))
    assert found.chance(2.0) == pytest.approx(stats.ttest_1samp(scores.mean(axis=1), 2.0).pvalue)


def test_a_mean_by_hand() -> None:
    found = estimate(mean, np.array([[1.0], [2.0], [3.0], [6.0]]))
    # mean 3, deviations -2 -1 0 3: variance 14 / 3, standard error sqrt(14 / 12), t(3) = 3.1824463
    assert found.value == 3.0 and found.error == pytest.approx(np.sqrt(14 / 12))
    assert found.high == pytest.approx(3 + 3.1824463 * np.sqrt(14 / 12))


@pytest.mark.parametrize("members", [2, 5, 10])
def test_a_paired_difference_has_scipys_paired_interval(members: int) -> None:
    random = np.random.default_rng(members)
    other = random.normal(size=(members, 3))
    better = other + 0.3 + 0.2 * random.normal(size=(members, 1))
    found, theirs = estimate(difference, better, other), stats.ttest_rel(better.mean(axis=1), other.mean(axis=1))
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert found.chance() == pytest.approx(theirs.pvalue)


def test_p_is_below_a_twentieth_exactly_where_the_interval_excludes_the_value() -> None:
    random, sides = np.random.default_rng(0), 0
    for _ in range(300):
        found = estimate(mean, random.normal(0.6, 1.0, size=(6, 2)))
        assert (found.chance() < 0.05) == (found.side() != 0)
        sides += found.side() != 0
    assert 30 < sides < 270


def test_pseudo_values_by_hand() -> None:
    above, below = np.array([[3.0], [5.0], [7.0]]), np.array([[1.0], [2.0], [3.0]])
    without = left_out(lambda one, two: mean(one) / mean(two), above, below)
    np.testing.assert_allclose(without, [12 / 5, 10 / 4, 8 / 3])
    pseudo = 3 * 15 / 6 - 2 * without
    assert standard_error(without) == pytest.approx(stats.sem(pseudo))


def fieller(above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
    """Fieller's 95% interval of mean(above) / mean(below), pairs: the ratios r whose mean of above - r below has an interval with 0."""
    members, t = len(above), stats.t.ppf(0.975, len(above) - 1)
    covariance = np.cov(above, below) / members
    a = below.mean() ** 2 - t**2 * covariance[1, 1]
    b = above.mean() * below.mean() - t**2 * covariance[0, 1]
    c = above.mean() ** 2 - t**2 * covariance[0, 0]
    assert a > 0, "the denominator's interval includes 0"
    root = np.sqrt(b**2 - a * c)
    return (b - root) / a, (b + root) / a


@pytest.mark.parametrize(("members", "close"), [(5, 0.15), (13, 0.05), (100, 0.01)])
def test_a_ratio_of_means_is_near_fiellers_and_the_delta_methods(members: int, close: float) -> None:
    random = np.random.default_rng(1)
    luck = 0.1 * random.normal(size=members)
    above, below = 0.8 + luck + 0.1 * random.normal(size=members), 1.0 + luck + 0.1 * random.normal(size=members)
    ratio = mean_ratio(np.zeros(1))
    found = estimate(ratio, above[:, None], below[:, None], denominator=below[:, None])
    low, high = fieller(above, below)
    assert found.low is not None and found.high is not None and found.error is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=close * (high - low))
    residual = above - found.value * below
    assert found.error == pytest.approx(residual.std(ddof=1) / below.mean() / np.sqrt(members), rel=close)


def test_a_ratio_over_what_may_be_nothing_has_no_interval() -> None:
    above, below = np.array([[1.0], [1.2], [0.8]]), np.array([[0.1], [1.5], [0.6]])
    ratio = mean_ratio(np.zeros(1))
    assert column_means(below)[0].side() == 0
    found = estimate(ratio, above, below, denominator=below)
    assert found.value == pytest.approx(3 / 2.2) and found.low is None and "denominator's interval includes 0" in found.note
    with pytest.raises(AssertionError, match="includes 0"):
        fieller(above[:, 0], below[:, 0])
    assert estimate(ratio, above, below - 5, denominator=below - 5).low is not None  # below 0 throughout is no reason
    gone = estimate(ratio, np.ones((2, 1)), np.array([[1.0], [0.0]]))
    assert gone.value == 2.0 and gone.note == "no interval: the denominator can be 0"
    assert estimate(ratio, above, 0 * below).note == "division by zero"


def test_matrices_are_left_without_the_same_member() -> None:
    worse = np.random.default_rng(3).normal(size=(5, 3))
    better = worse + np.array([[0.1], [0.2], [0.3], [0.4], [0.5]])
    lead = estimate(difference, better, worse)
    # differences 0.1 to 0.5: standard error sqrt(0.025 / 5), t(4) = 2.7764451
    assert lead.value == pytest.approx(0.3) and lead.high == pytest.approx(0.3 + 2.7764451 * np.sqrt(0.005))


def test_a_mean_ratio_by_hand() -> None:
    above, below = np.array([[3.0, 10.0], [5.0, 14.0]]), np.array([[4.0, 14.0], [8.0, 14.0]])
    # ((4 - 2) / (6 - 2) + (12 - 10) / (14 - 10)) / 2
    assert mean_ratio(np.array([2.0, 10.0]))(above, below) == 0.5
    many = np.random.default_rng(6).uniform(1, 2, size=(2, 7, 5, 3))
    floor = np.array([0.1, 0.2, 0.3])
    np.testing.assert_allclose(mean_ratio(floor)(*many), [mean_ratio(floor)(*pair) for pair in zip(*many, strict=True)])


def test_a_missing_score_leaves_its_member_out_by_number() -> None:
    scores = np.array([[1.0, 2.0], [np.nan, 4.0], [3.0, 6.0]])
    found = estimate(mean, scores)
    assert (found.value, found.members, found.of) == (3.0, 2, 3)
    assert [each.members for each in column_means(scores)] == [2, 3]


def test_no_interval_is_ever_without_width() -> None:
    assert estimate(mean, np.array([[0.5, 0.7]])) == Estimate(0.6, None, None, 1, 1, "no interval: one member")
    assert estimate(mean, np.full((4, 2), 0.1)) == Estimate(pytest.approx(0.1), None, None, 4, 4, ALIKE)
    nothing = estimate(mean, np.full((4, 2), np.nan))
    assert not nothing.defined and (nothing.members, nothing.of, nothing.note) == (0, 4, "no member has all of it")
    assert np.isnan(nothing.chance()) and nothing.at(0.99) == nothing


def test_what_lies_above_a_level() -> None:
    scores = np.array([[0.4], [0.5], [0.6]])  # 0.5 +- 4.303 * 0.1 / sqrt(3)
    assert estimate(mean, scores).exceeds(0.25) and not estimate(mean, scores).exceeds(0.26)
    assert (estimate(mean, scores).side(0.75), estimate(mean, scores).side(0.74)) == (-1, 0)
    assert not estimate(mean, scores[:1]).exceeds(0.0)  # one member
    alike = estimate(mean, np.full((3, 1), 0.5))
    assert (alike.side(0.4), alike.side(0.5), alike.side(0.6)) == (1, 0, -1)
    assert (alike.chance(0.5), alike.chance(0.4)) == (1.0, 0.0)
    assert not estimate(mean, scores * np.nan).exceeds(0.0)
