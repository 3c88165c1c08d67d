"""Aggregates and their intervals against rliable's, scipy's and resamples computed one by one."""

import itertools

import numpy as np
import pytest
from rliable import library, metrics
from scipy import stats

from analysis.statistics import aggregates
from analysis.statistics.aggregates import (
    NAMES,
    aggregate,
    cells,
    draws,
    intervals,
    paired_difference,
    probability_of_improvement,
    profile,
    resample,
    sample_efficiency,
    weighted,
)

RLIABLE = {
    "iqm": metrics.aggregate_iqm,
    "median": metrics.aggregate_median,
    "mean": metrics.aggregate_mean,
    "optimality_gap": metrics.aggregate_optimality_gap,
}


def some(*shape: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.exp(random.normal(-0.2, 0.6, size=shape) + 0.3 * random.normal(size=(1, *shape[1:])))


def ragged(seed: int = 0) -> np.ndarray:
    scores = some(6, 4, seed=seed)
    scores[4:, 0] = scores[3:, 2] = np.nan
    return scores


def rliables(scores: np.ndarray) -> list[float]:
    return [RLIABLE[name](scores) for name in NAMES]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (3, 5), (5, 20), (10, 57)])
def test_point_estimates_are_rliables(shape: tuple[int, int]) -> None:
    scores = some(*shape, 4)
    np.testing.assert_allclose(aggregate(scores), np.transpose([rliables(scores[..., each]) for each in range(4)]), rtol=0, atol=1e-12)


def test_a_resample_by_weights_is_that_put_together_by_hand() -> None:
    scores = some(5, 6)
    found = cells(scores)
    samples = resample(scores, repetitions=200, seed=3)
    drawn = np.concatenate(list(draws(found, 200, 3)), axis=1)
    for sample, weights in zip(samples, drawn.T, strict=True):
        columns = [np.repeat(scores[:, task], weights[found.tasks[task]]) for task in range(6)]
        np.testing.assert_allclose(sample, rliables(np.stack(columns, axis=1)), rtol=0, atol=1e-12)
    assert (drawn.reshape(6, 5, -1).sum(axis=1) == 5).all()
    assert not (drawn.reshape(6, 5, -1) == drawn[:5]).all(axis=(0, 1)).any()  # each task has draws of its own


def test_the_draws_are_all_there_are_equally_often() -> None:
    drawn = np.concatenate(list(draws(cells(some(3, 1)), 27_000, 0)), axis=1).T
    every = [tuple(np.bincount(chosen, minlength=3)) for chosen in itertools.product(range(3), repeat=3)]
    for counts in set(every):
        assert (drawn == counts).all(axis=1).mean() == pytest.approx(every.count(counts) / 27, abs=0.01)


def weighted_by_hand(scores: np.ndarray) -> list[float]:
    """Aggregates of ragged scores, each task with the same weight, score by score."""
    columns = [column[np.isfinite(column)].tolist() for column in scores.T]
    total = sum(map(len, columns))
    cut, left, below, summed = total // 4, 0.0, 0.0, 0.0
    for value, weight in sorted((value, total / len(columns) / len(column)) for column in columns for value in column):
        below, left = below + weight, below
        kept = min(below, total - cut) - max(left, cut)
        summed += max(kept, 0.0) * value
    means = [sum(column) / len(column) for column in columns]
    gap = sum(sum(1 - min(value, 1) for value in column) / len(column) for column in columns) / len(columns)
    return [summed / (total - 2 * cut), float(np.median(means)), sum(means) / len(means), gap]


def test_tasks_with_unequal_members_weigh_the_same() -> None:
    scores = ragged()
    np.testing.assert_allclose(aggregate(scores), weighted_by_hand(scores), rtol=0, atol=1e-12)
    np.testing.assert_allclose(weighted_by_hand(some(5, 6)), rliables(some(5, 6)), rtol=0, atol=1e-12)
    found, columns = cells(scores), [column[np.isfinite(column)] for column in scores.T]
    drawn = np.concatenate(list(draws(found, 100, 1)), axis=1)
    for sample, weights in zip(resample(scores, repetitions=100, seed=1), drawn.T, strict=True):
        again = np.full(scores.shape, np.nan)
        for task, column in enumerate(columns):
            again[: len(column), task] = np.repeat(column, weights[found.tasks[task]])
        np.testing.assert_allclose(sample, weighted_by_hand(again), rtol=0, atol=1e-12)


def test_limits_are_rliables_to_a_hundredth_of_the_width() -> None:
    scores = some(10, 57)
    np.random.seed(0)  # rliable ignores its random_state
    _, found = library.get_interval_estimates({"it": scores}, lambda drawn: np.array(rliables(drawn)), reps=50_000)
    ours, (low, high) = intervals(scores, repetitions=50_000), found["it"]
    assert (np.abs(ours.low - low) < 0.01 * (high - low)).all()
    assert (np.abs(ours.high - high) < 0.01 * (high - low)).all()


def test_of_a_mean_the_width_is_that_of_the_formula() -> None:
    scores = some(10, 57)
    error = np.sqrt((scores.var(axis=0) / 10).sum()) / 57
    found = intervals(scores, ("mean",))
    assert found.low[0] == pytest.approx(scores.mean() - 1.96 * error, abs=0.05 * error)
    assert found.high[0] == pytest.approx(scores.mean() + 1.96 * error, abs=0.05 * error)


def test_further_axes_are_resampled_alike_and_change_nothing() -> None:
    scores = some(5, 6, 3)
    samples = resample(scores, repetitions=300)
    assert samples.shape == (300, 4, 3)
    for column in range(3):
        np.testing.assert_allclose(samples[..., column], resample(scores[..., column], repetitions=300), rtol=0, atol=1e-12)
    curve = sample_efficiency(scores, repetitions=500)
    assert curve.value.shape == curve.low.shape == (3,)
    np.testing.assert_allclose(curve.value, [metrics.aggregate_iqm(scores[..., column]) for column in range(3)])
    alone = intervals(scores[..., 1], ("iqm",), 500)
    assert (curve.low[1], curve.high[1]) == pytest.approx((alone.low[0], alone.high[0]))


def test_the_seed_decides_and_the_length_of_blocks_only_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = some(5, 6)
    np.testing.assert_array_equal(resample(scores, repetitions=50, seed=1), resample(scores, repetitions=50, seed=1))
    assert not np.array_equal(resample(scores, repetitions=50, seed=1), resample(scores, repetitions=50, seed=2))
    whole = intervals(scores, repetitions=20_000)
    monkeypatch.setattr(aggregates, "BLOCK", 1000)
    parts = intervals(scores, repetitions=20_000)
    np.testing.assert_allclose(parts.low, whole.low, rtol=0, atol=0.05 * (whole.high - whole.low).max())


def test_a_paired_difference_of_means_is_scipys_over_strata() -> None:
    random = np.random.default_rng(0)
    luck = random.normal(size=(8, 5))
    other, better = luck, luck + 0.3 + random.normal(scale=[0.1, 0.2, 0.3, 0.4, 0.5], size=(8, 5))
    found = paired_difference(better, other, "mean")
    variances = (better - other).var(axis=0, ddof=1) / 8
    error, freedom = np.sqrt(variances.sum()) / 5, variances.sum() ** 2 / (variances**2 / 7).sum()
    assert found.value == pytest.approx((better - other).mean()) and found.error == pytest.approx(error)
    assert found.freedom == pytest.approx(freedom) and 7 < freedom < 35
    assert found.high == pytest.approx(found.value + stats.t.ppf(0.975, freedom) * error)
    one = paired_difference(better[:, :1], other[:, :1], "mean")
    theirs = stats.ttest_rel(better[:, 0], other[:, 0])
    assert (one.low, one.high) == pytest.approx(tuple(theirs.confidence_interval()))
    assert one.chance() == pytest.approx(theirs.pvalue)


def test_a_paired_difference_leaves_out_each_member_of_each_task(monkeypatch: pytest.MonkeyPatch) -> None:
    better, other = ragged(), ragged(seed=1)
    ones = aggregate(better, ("iqm",)) - aggregate(other, ("iqm",))
    found = paired_difference(better, other)
    total = 0.0
    for task in range(4):
        there = np.flatnonzero(np.isfinite(better[:, task]))
        without = []
        for member in there:
            fewer = [matrix.copy() for matrix in (better, other)]
            for matrix in fewer:
                matrix[member, task] = np.nan
            without.append(float(aggregate(fewer[0], ("iqm",))[0] - aggregate(fewer[1], ("iqm",))[0]))
        total += (len(there) - 1) ** 2 / len(there) * np.var(without, ddof=1)
    assert found.value == pytest.approx(ones[0]) and found.members == 19 and found.of == 24
    assert found.error == pytest.approx(np.sqrt(total), rel=0.1)  # with one score fewer, rliable's quarters move by a score
    monkeypatch.setattr(aggregates, "BLOCK", 40)
    assert paired_difference(better, other).error == pytest.approx(found.error)


def test_the_jackknife_of_an_iqm_is_the_bootstraps_without_its_shortfall() -> None:
    random = np.random.default_rng(2)
    other = some(10, 20)
    better = other + 0.3 * random.normal(size=other.shape)
    samples = resample(better, ("iqm",), 4_000)[:, 0] - resample(other, ("iqm",), 4_000)[:, 0]  # the same draws
    found = paired_difference(better, other)
    assert found.error == pytest.approx(samples.std() * np.sqrt(10 / 9), rel=0.1)


def test_a_profile_is_rliables() -> None:
    scores, levels = some(10, 20), np.linspace(0, 2, 9)
    np.random.seed(0)
    theirs, limits = library.create_performance_profile({"it": scores}, levels, reps=5_000)
    ours = profile(scores, levels, repetitions=5_000)
    np.testing.assert_allclose(ours.value, theirs["it"])
    np.testing.assert_allclose([ours.low, ours.high], limits["it"], rtol=0, atol=0.011)  # steps of 1 / 200
    np.testing.assert_allclose(
        profile(ragged(), levels, 10).value,
        [np.nanmean(np.where(np.isnan(ragged()), np.nan, ragged() > level), axis=0).mean() for level in levels],
    )


def test_the_probability_of_improvement_is_rliables() -> None:
    better, other = some(7, 6), some(5, 6, seed=1) * 0.8
    better[0, 0] = other[0, 0] = better[1, 0] = 0.5  # a tie
    np.random.seed(0)
    theirs, limits = library.get_interval_estimates(
        {"it": [better, other]}, lambda one, two: np.array([metrics.probability_of_improvement(one, two)]), reps=2_000
    )
    ours = probability_of_improvement(better, other, repetitions=20_000)
    assert ours.value == pytest.approx(theirs["it"][0], abs=1e-12)
    assert [ours.low, ours.high] == pytest.approx(limits["it"][:, 0], abs=0.05 * float(limits["it"][1, 0] - limits["it"][0, 0]))


def test_the_probability_of_improvement_in_pairs_and_by_hand() -> None:
    better, other = np.array([[1.0], [2.0], [3.0]]), np.array([[0.0], [2.0], [9.0]])
    assert probability_of_improvement(better, other, 100).value == pytest.approx((1 + 0 + 0 + 1 + 0.5 + 0 + 1 + 1 + 0) / 9)
    luck = np.random.default_rng(1).normal(size=(10, 4))
    pairs = probability_of_improvement(luck + 0.1, luck, 5_000, paired=True)
    strangers = probability_of_improvement(luck + 0.1, luck, 5_000)
    assert pairs.high - pairs.low < 0.5 * (strangers.high - strangers.low)


def test_no_interval_is_without_width_where_a_task_has_one_member() -> None:
    scores = some(4, 3)
    scores[1:, 2] = np.nan
    found = intervals(scores)
    assert np.isfinite(found.value).all() and np.isnan(found.low).all() and np.isnan(found.high).all()
    assert np.isnan(probability_of_improvement(scores, scores).low)
    assert paired_difference(scores, 2 * scores).note == "no interval: one member of some task"


def test_what_cannot_be_resampled_is_refused_at_the_door() -> None:
    scores = some(4, 3, 2)
    scores[:, 1] = np.nan
    with pytest.raises(AssertionError, match="task 1 has no member"):
        intervals(scores)
    scores = some(4, 3, 2)
    scores[0, 0, 0] = np.nan
    with pytest.raises(AssertionError, match="NaN in all its columns"):
        intervals(scores)
    with pytest.raises(AssertionError, match="different tasks"):
        paired_difference(some(4, 3), some(4, 2))
    with pytest.raises(AssertionError, match="be there in both"):
        paired_difference(ragged(), some(6, 4))


def test_the_weights_may_be_any_number() -> None:
    found = cells(some(5, 6))
    weights = np.concatenate(list(draws(found, 20, 0)), axis=1)
    np.testing.assert_allclose(weighted(found, weights.astype(float)), weighted(found, weights), rtol=0, atol=1e-12)
