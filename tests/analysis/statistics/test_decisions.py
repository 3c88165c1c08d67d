"""Decisions against a margin by hand, and the levels of looks against Pocock's and against drawn studies."""

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.decisions import LOOKS, decide, look_levels
from analysis.statistics.intervals import ALIKE, Estimate, estimate, mean


@pytest.mark.parametrize(
    ("value", "low", "high", "above", "below"),
    [
        (0.95, 0.91, 0.99, "held", "not held"),
        (0.85, 0.81, 0.89, "not held", "held"),
        (0.95, 0.89, 1.01, "open", "open"),  # 0.05 from the margin: more members decide it
        (0.905, 0.88, 0.93, "at the margin", "at the margin"),
        (0.891, 0.86, 0.922, "at the margin", "at the margin"),
        (0.905, 0.70, 1.11, "open", "open"),  # near the margin by chance, it may be: the interval is wide
    ],
)
def test_a_margin_by_hand(value: float, low: float, high: float, above: str, below: str) -> None:
    found = Estimate(value, low, high, 10, 10)
    assert decide(found, 0.9) == above and decide(found, 0.9, above=False) == below


def test_what_has_no_interval() -> None:
    assert decide(Estimate(0.95, members=1, note="no interval: one member"), 0.9) == "open"
    assert decide(Estimate(0.95, members=3, note=ALIKE), 0.9) == "held" and decide(Estimate(0.9, members=3, note=ALIKE), 0.9) == "open"
    assert decide(Estimate(np.nan), 0.9) == "open"


def test_the_level_decides_where_there_is_a_standard_error() -> None:
    found = estimate(mean, np.array([[0.1], [0.2], [0.3], [0.2], [0.1], [0.3], [0.5]]))
    p = stats.ttest_1samp([0.1, 0.2, 0.3, 0.2, 0.1, 0.3, 0.5], 0.0).pvalue
    assert decide(found, level=1 - 1.01 * p) == "held" and decide(found, level=1 - 0.99 * p) == "open"


def test_two_looks_err_as_often_as_one() -> None:
    levels = look_levels()
    assert tuple(levels) == LOOKS and len(set(levels.values())) == 1
    # Pocock's constant for two normal looks at 7 and 13: |Z| > c at either in 5%
    joint = stats.multivariate_normal([0, 0], [[1, np.sqrt(7 / 13)], [np.sqrt(7 / 13), 1]])
    ends = np.full(2, stats.norm.ppf((1 + levels[7]) / 2))
    assert joint.cdf(ends, lower_limit=-ends) == pytest.approx(0.95, abs=0.004)
    drawn, wrong = np.random.default_rng(7).normal(size=(100_000, 13)), np.zeros(100_000, dtype=bool)
    for members, level in levels.items():
        scores = drawn[:, :members]
        reach = stats.t.ppf((1 + level) / 2, members - 1) * scores.std(axis=1, ddof=1) / np.sqrt(members)
        wrong |= np.abs(scores.mean(axis=1)) > reach
    assert wrong.mean() == pytest.approx(0.05, abs=0.002)


def test_other_looks() -> None:
    assert look_levels((9,))[9] == pytest.approx(0.95, abs=0.001)
    assert look_levels((5, 10, 20))[20] > look_levels((10, 20))[20] > 0.95
    with pytest.raises(AssertionError, match="rising"):
        look_levels((13, 7))
