"""Rules of selection, by hand."""

import numpy as np
import pytest

from analysis.scores.tuning import selection_score


def test_a_rule_takes_its_share_of_the_windows() -> None:
    """Two visits of ten windows, scores 0 to 19: the whole life, the first two windows, and the first one, as a hundredth is less."""
    curve = np.arange(20.0).reshape(1, 2, 10)
    assert [selection_score(curve, rule).item() for rule in ("lifetime", "10%", "1%")] == pytest.approx([9.5, 0.5, 0.0])


def test_rules_differ_where_a_leader_collapses() -> None:
    fast = np.repeat([[0.9, 0.1, 0.1, 0.1]], 10, axis=0).T[None]
    slow = np.full((1, 4, 10), 0.5)
    assert selection_score(fast, "10%") > selection_score(slow, "10%") and selection_score(fast) < selection_score(slow)


def test_windows_without_a_score_are_left_out() -> None:
    curve = np.array([[[np.nan, 0.2, 0.4]], [[np.nan] * 3]])
    assert selection_score(curve)[0] == pytest.approx(0.3) and np.isnan(selection_score(curve)[1])
