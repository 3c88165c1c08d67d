"""Promises of runs when something goes wrong, tried a few times each; `python -m launch bench reliability` tries it often."""

from itertools import islice
from pathlib import Path
from random import Random

import pytest

from launch.bench.reliability.measure import PROMISES, Count, table

TRIALS = {
    "repeats": 2,
    "resume": 1,
    "compiled": 1,
    "remote": 1,
    "saving": 80,
    "damage": 200,
    "environments": 1,
    "signals": 1,
    "disk": 1,
    "numbers": 3,
    "races": 1,
    "views": 1,
    "tables": 2_500,
    "readers": 600,
    "reports": 20,
    "mistakes": 40,
}


TAKE_MINUTES = ("compiled", "remote")


@pytest.mark.process
@pytest.mark.parametrize("word", [pytest.param(word, marks=pytest.mark.slow) if word in TAKE_MINUTES else word for word in PROMISES])
def test_a_promise_holds(word: str, tmp_path: Path) -> None:
    outcomes = list(islice(PROMISES[word].trials(tmp_path, Random(20)), TRIALS[word]))
    assert len(outcomes) == TRIALS[word]
    assert not [outcome.tried for outcome in outcomes if not outcome.held]


def test_the_table_counts_what_did_not_hold() -> None:
    from launch.bench.reliability.promise import Outcome

    count = Count()
    for held, seconds in ((True, 0.5), (False, 2.0), (True, None)):
        count.add(Outcome(held, "tried", seconds))
    row = table({"races": count}).splitlines()[-1]
    assert row.endswith("| one winner, exit code 3 | 3 | 2 | 2.00 s |") and count.failures == ["tried"]
