"""Simulated error rates against the rates that theory gives, and the printed tables."""

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.power import power
from launch.__main__ import main
from launch.bench.coverage import CASES, SHAPES, centre, covered, fieller, looks_table, marks_table, members, tasks_table


@pytest.mark.parametrize("shape", SHAPES)
def test_the_truth_of_each_statistic_is_that_of_many_members(shape: str) -> None:
    random = np.random.default_rng(0)
    assert members(shape, (200_000,), random).mean() == pytest.approx(centre(shape), abs=3e-3)
    for made in CASES.values():
        case = made(shape, (1, 200_000), random)
        assert case.statistic(*case.scores)[0] == pytest.approx(case.truth, abs=5e-3)


def test_normal_means_are_covered_as_theory_says() -> None:
    (percentile, student, t), width, given = covered("mean", "normal", 5, 4_000, np.random.default_rng(0))
    # the percentile interval is nearly +- 1.96 standard errors that divide by n
    theory = 2 * stats.t.cdf(1.96 * np.sqrt(4 / 5), 4) - 1
    assert percentile == pytest.approx(theory, abs=0.03) and percentile < 0.88
    assert t == pytest.approx(0.95, abs=0.012) and student == pytest.approx(0.95, abs=0.02) and given == 1.0 and width > 1.1


def test_a_ratios_second_reading_is_fiellers() -> None:
    random = np.random.default_rng(1)
    above, below = 0.9 + 0.2 * random.normal(size=(2_000, 6)), 1 + 0.4 * random.normal(size=(2_000, 6))
    held, bounded = fieller(above, below, 0.9)
    t = stats.t.ppf(0.975, 5)
    for mine, other, inside, finite in list(zip(above, below, held, bounded, strict=True))[:50]:
        covariance = np.cov(mine, other) / 6
        squares = other.mean() ** 2 - t**2 * covariance[1, 1]
        products = mine.mean() * other.mean() - t**2 * covariance[0, 1]
        rest = mine.mean() ** 2 - t**2 * covariance[0, 0]
        assert finite == (squares > 0)
        if finite:
            root = np.sqrt(products**2 - squares * rest)
            assert inside == ((products - root) / squares <= 0.9 <= (products + root) / squares)
    assert held.mean() == pytest.approx(0.95, abs=0.015)


def numbers(table: str) -> list[list[float]]:
    """The numbers of a Markdown table, row by row, without units."""
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return [[float(each.strip("%")) for cell in row[1:] for each in cell.split(" / ")] for row in rows]


def test_marks_and_looks_err_as_often_as_they_should() -> None:
    two, _, seven, _ = numbers(marks_table(300))
    assert two[1] < 9 < two[0] and two[0] == two[2] and two[1] == two[3]  # one comparison: the mark and the star are the same
    assert seven[1] < 1 and seven[3] < 9 < 40 < seven[2]
    nothing, *_, large = numbers(looks_table(40_000))
    assert nothing[2] == pytest.approx(5.0, abs=0.4) and nothing[3] > 8
    assert large[0] == pytest.approx(100 * power(1.5, 7), abs=1) and large[4] < 8.5


def test_the_bootstrap_over_tasks_is_too_narrow_with_few_members_and_t_is_not() -> None:
    rows = numbers(tasks_table(150))
    bootstrap, t = np.array(rows)[:, 0], np.array(rows)[:, 1]  # three members of each task
    assert bootstrap.mean() < 91 < 92 < t.mean()


def test_the_tables_are_printed_in_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "statistics", "--only", "power", "intervals", "--trials", "4"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("| paired difference, SD | n = 3 |") and "| seen with 80% | 3.26 | 1.68 | 1.27 | 1.00 |" in printed
    assert "| slope of ratios, collapsing |" in printed
