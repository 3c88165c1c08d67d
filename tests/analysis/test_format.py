"""Numbers as text: significant digits, intervals whose ends differ, no zero below zero."""

import math

import pytest

from analysis.format import chance, count, number, numbered, parts, percent, share, with_interval
from analysis.statistics.intervals import Estimate

DASH = "\N{EN DASH}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.4567, "0.457"),
        (0.042, "0.042"),
        (0.00412, "0.0041"),
        (-0.001, "-0.0010"),
        (0.00012345, "0.00012"),
        (0.000042, "4.2e-05"),
        (-3e-17, "0.000"),  # rounding residue of equal scores
        (-0.0, "0.000"),
        (9.99, "9.990"),
        (9.996, "10.0"),
        (12.34, "12.3"),
        (99.96, "100"),
        (1234.5, "1,234"),
        (math.nan, DASH),
    ],
)
def test_a_number_has_two_significant_digits_at_least(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.371, 0.3549, 0.38, "0.371 [0.355, 0.380]"),
        (0.428, 0.4262, 0.4301, "0.428 [0.426, 0.430]"),
        (0.009, -0.006, 0.023, "0.009 [-0.006, 0.023]"),
        (0.00398, 0.0035, 0.0045, "0.0040 [0.0035, 0.0045]"),  # an effective learning rate
        (-0.00105, -0.00107, -0.00103, "-0.00105 [-0.00107, -0.00103]"),
        (0.00003, -0.00002, 0.00012, "0.00003 [-0.00002, 0.00012]"),
        (-0.0001, -0.021, 0.02, "0.000 [-0.021, 0.020]"),
        (0.9004, 0.9003, 0.9005, "0.9004 [0.9003, 0.9005]"),
        (0.5, 0.5, 0.5 + 1e-12, "0.500 [0.500, 0.500]"),  # an interval of rounding alone
        (9.5, 9.12, 10.24, "9.5 [9.1, 10.2]"),
        (189.2, 166.1, 217.8, "189 [166, 218]"),
        (1234.56, 1234.5, 1234.6, "1,234.6 [1,234.5, 1,234.6]"),
        (2e-5, 0.0, 4.1e-5, "2.0e-05 [0, 4.1e-05]"),
        (0.5, None, None, "0.500"),
        (math.nan, None, None, DASH),
    ],
)
def test_an_interval_has_the_digits_that_its_width_calls_for(value: float, low: float | None, high: float | None, text: str) -> None:
    found = Estimate(value, low, high)
    assert with_interval(found) == text
    assert " ".join(parts(found)).strip() == text


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.471, 0.38, 0.592, "47% [38, 59]"),
        (0.9097, 0.906, 0.914, "91.0% [90.6, 91.4]"),
        (0.004, 0.002, 0.0061, "0.4% [0.2, 0.6]"),
        (-0.0001, -0.03, 0.04, "0% [-3, 4]"),
        (0.04, None, None, "4%"),
        (12.5, None, None, "1,250%"),
        (math.nan, None, None, DASH),
    ],
)
def test_a_ratio_in_hundredths(value: float, low: float | None, high: float | None, text: str) -> None:
    assert percent(Estimate(value, low, high)) == text


def test_a_share_is_none_or_all_only_where_it_is() -> None:
    values = (0.0, 0.0004, 0.25, 0.5714, 0.997, 1.0, math.nan)
    assert [share(value) for value in values] == ["0%", "0.04%", "25%", "57%", "99.7%", "100%", DASH]


def test_chances() -> None:
    assert [chance(p) for p in (0.25, 0.0625, 0.001, 0.00099, math.nan)] == ["0.250", "0.062", "0.001", "< 0.001", DASH]


def test_counts_and_spans() -> None:
    assert [count(1, "row"), count(1234, "row")] == ["1 row", "1,234 rows"]
    assert [numbered("member", [3]), numbered("visit", [9, 2, 8, 7, 7])] == ["member 3", "visits 2, 7-9"]
