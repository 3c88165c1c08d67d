"""Ratios with t intervals, held to scipy and to the reports' own arithmetic."""

from math import isnan

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.intervals import estimate, mean
from plasticity_rl.checkup.ratio import Ratio, ratio, t_distribution, t_quantile


@pytest.mark.parametrize("freedom", range(1, 25))
def test_quantiles_are_scipys(freedom: int) -> None:
    assert t_quantile(freedom, 0.975) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)
    for t in (0.0, 0.3, 2.0, 40.0):
        assert t_distribution(freedom, t) == pytest.approx(stats.t.cdf(t, freedom), abs=1e-12)


@pytest.mark.parametrize("pairs", [2, 5, 10])
def test_intervals_are_the_reports(pairs: int) -> None:
    own, fresh = np.random.default_rng(pairs).uniform(0.5, 1.0, (2, pairs))
    found = ratio(own.tolist(), fresh.tolist())
    theirs = estimate(lambda a, b: mean(a) / mean(b), own[:, None], fresh[:, None])
    assert theirs.low is not None and theirs.high is not None
    assert found == pytest.approx((theirs.value, theirs.low, theirs.high, pairs))


def test_ratios_without_interval() -> None:
    assert ratio([0.5, 1.0], [0.5, 1.0]) == Ratio(1.0, 1.0, 1.0, 2)
    alone = ratio([0.5], [1.0])
    assert alone.value == 0.5 and isnan(alone.low) and alone.side(0.1) == alone.side(0.9) == 0
    assert isnan(ratio([1.0, 1.0], [0.0, 0.0]).value) and str(ratio([1.0], [0.0])) == "not defined"
    assert isnan(ratio([1.0, 1.0], [0.0, 1.0]).low)


def test_sides_need_the_whole_interval() -> None:
    found = Ratio(0.9, 0.85, 0.95, 5)
    assert [found.side(margin) for margin in (0.8, 0.9, 1.0)] == [1, 0, -1]
    assert str(found) == "0.90 [0.85, 0.95]"
