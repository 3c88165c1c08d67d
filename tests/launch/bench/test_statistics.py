"""Equality with rliable's statistics, and of the printed numbers with the measured ones."""

import numpy as np
import pytest

from analysis.statistics.aggregates import Intervals, intervals
from launch.__main__ import main
from launch.bench.statistics import apart, scores, theirs


def test_both_compute_the_same() -> None:
    matrix = scores(algorithms=2, runs=5, tasks=6)
    assert matrix.shape == (5, 6, 2)
    np.random.seed(0)
    limits = np.stack([theirs(matrix[..., each], 4_000) for each in range(2)], axis=-1)
    assert apart(intervals(matrix, repetitions=20_000), limits) < 0.06


def test_the_largest_difference_by_hand() -> None:
    ours = Intervals(np.zeros((1, 2)), np.array([[0.0, -1.0]]), np.array([[1.0, 1.2]]))
    assert apart(ours, np.array([[[0.1, -1.0]], [[1.1, 1.0]]])) == pytest.approx(0.1)


def test_the_command_prints_times_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "statistics", "--only", "speed", "--repetitions", "400", "--fewer", "100", "--rounds", "1"]) == 0
    printed = capsys.readouterr().out
    assert "6 algorithms x 10 runs x 57 tasks, 400 resamples" in printed and "scaled up from 100 resamples" in printed and "MB" in printed


@pytest.mark.parametrize("words", [["--fewer", "60000"], ["--repetitions", "10"], ["--rounds", "0"], ["--trials", "0"]])
def test_a_mistake_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "statistics", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
