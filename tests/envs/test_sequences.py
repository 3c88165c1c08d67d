import pytest

from envs.sequences import Visit, sequence
from plasticity_rl.checks import UsageError


def test_cycles():
    assert sequence(("a", "b"), 7, cycles=2) == (Visit(0, "a", 0, 7), Visit(1, "b", 0, 7), Visit(2, "a", 1, 7), Visit(3, "b", 1, 7))


def test_one_cycle_by_default():
    assert sequence(("a",), 7) == (Visit(0, "a", 0, 7),)


def test_no_tasks():
    with pytest.raises(UsageError, match="at least one task"):
        sequence((), 7)
