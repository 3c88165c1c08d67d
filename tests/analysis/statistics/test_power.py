"""Power against statsmodels, published tables, and simulation."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from analysis.statistics.power import members_for, power, visible, visible_errors


@pytest.mark.parametrize("members", [3, 5, 7, 13, 40])
def test_power_is_statsmodels(members: int) -> None:
    for effect in (0.0, 0.3, 1.0, 2.0):
        theirs = TTestPower().power(effect, members, alpha=0.05)
        assert power(effect, members) == pytest.approx(theirs, abs=1e-9)
    assert visible(members) == pytest.approx(TTestPower().solve_power(nobs=members, alpha=0.05, power=0.8), rel=1e-4)
    assert visible_errors(members - 1) == pytest.approx(visible(members) * math.sqrt(members))


def test_power_is_that_of_drawn_studies() -> None:
    random = np.random.default_rng(0)
    for members, effect in ((5, 1.0), (7, 1.273), (13, 0.847)):
        seen = stats.ttest_1samp(random.normal(effect, 1.0, size=(20_000, members)), 0.0, axis=1).pvalue < 0.05
        assert seen.mean() == pytest.approx(power(effect, members), abs=0.01)
    assert power(1.273, 7) == pytest.approx(0.8, abs=1e-3) and power(0.847, 13) == pytest.approx(0.8, abs=1e-3)


def test_two_members_see_next_to_nothing() -> None:
    seen = stats.ttest_1samp(np.random.default_rng(1).normal(visible(2), 1.0, size=(20_000, 2)), 0.0, axis=1).pvalue < 0.05
    assert visible(2) > 10 and seen.mean() == pytest.approx(0.8, abs=0.01)


def test_members_that_a_design_needs() -> None:
    # Cohen 1988, table 2.4.1: 33 pairs for d = 0.5 and 80%, 14.5 for d = 0.8, rounded up
    assert (members_for(0.5), members_for(0.8)) == (34, 15)
    assert [members_for(effect, 0.9) for effect in (1.0, 1.5, 2.0)] == [13, 7, 5]
    assert members_for(1.0) == next(members for members in range(2, 50) if power(1.0, members) >= 0.8)
