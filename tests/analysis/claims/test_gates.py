"""The gates of the claims, on either side of their thresholds."""

import numpy as np
import pytest

from analysis.claims.gates import GATES, finishes, loses, no_ceiling
from analysis.claims.predicates import Gate
from analysis.claims.results import Result


def result(*visits: float, end: float | None = None, tasks: str = "") -> Result:
    """Two members; each visit has two windows, of mean `visits`, the last of which is `end` if given."""
    curve = np.array([[[2 * area - end, end] if end is not None else [area, area] for area in visits]] * 2)
    return Result(curve, {}, {}, tuple(tasks or "abcdefghij"[: len(visits)]), 100)


def test_a_task_is_finished_at_its_end() -> None:
    assert finishes("it", result(0.8, 0.7, end=0.96)).value == pytest.approx(0.96)
    assert [finishes("it", result(0.8, end=end)).passes for end in (0.96, 0.94)] == [True, False]


def test_a_fifth_of_the_first_visit_is_lost_by_the_last_three() -> None:
    assert loses("it", result(1.0, 1.0, 1.0, 0.5, 0.7, 0.9)).value == pytest.approx(0.3)
    assert [loses("it", result(0.5, 0.5, last)).passes for last in (0.41, 0.39)] == [False, True]


def test_a_ceiling_is_reached_by_an_arm_that_is_there_in_every_visit() -> None:
    once, always, never = (result(*visits).area for visits in ((1.0, 0.5), (0.999, 0.996), (0.9, 0.9)))
    assert no_ceiling([once, never]).passes and not no_ceiling([once, always]).passes
    assert no_ceiling([once, never]).value == pytest.approx(0.9)


def test_test_accuracy_must_fall_for_re_initialisation_to_have_something_to_win() -> None:
    assert [GATES[6]({"alone: standard": result(0.88, last)})[0].passes for last in (0.87, 0.85)] == [False, True]


def test_widths_finish_in_their_first_cycle() -> None:
    """Two tasks of two cycles: later visits do not count."""
    curve = np.array([[[0.5, 0.9], [0.5, 0.9], [1.0, 1.0], [1.0, 1.0]]] * 2)
    (gate,) = GATES[9]({"width 16": Result(curve, {}, {}, ("a", "b", "a", "b"), 100)})
    assert gate.value == pytest.approx(0.9) and not gate.passes


def test_new_networks_must_do_better_than_old_ones_in_control() -> None:
    """After the first task: 200 against 300."""
    assert GATES[10]({"none": result(350, 200), "fresh control": result(100, 300)})[0] == Gate(
        "none loses at least 20% of the fresh control's return after the first task", pytest.approx(1 / 3), True
    )


def test_claims_on_random_labels_name_what_fails() -> None:
    fresh, plain, ok = result(0.8, 0.8, end=0.97), result(0.9, 0.8, 0.3), result(0.9, 0.8, 0.85)
    arms = {"without NaP: fresh control": fresh, "without NaP: none": plain, "with NaP: none": ok}
    assert [gate.passes for gate in GATES[2](arms)] == [True, True, True]
    assert [gate.passes for gate in GATES[2](arms | {"without NaP: none": ok})] == [True, False, True]
    assert [gate.passes for gate in GATES[2](arms | {"without NaP: fresh control": result(0.5, end=0.6)})] == [False, True, True]
