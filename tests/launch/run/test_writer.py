"""Rows of a run: a step's are written for all members or for none, however the run ends."""

import math
from pathlib import Path

import pytest

from launch.run.runner import RunWriter, Stopped
from launch.run.store import Store
from plasticity_rl.records.events import Metric, Score
from plasticity_rl.records.tables import read_rows
from tests.launch.tracking.test_tensorboard import described


def score(member: int, steps: int, value: float = 0.5) -> Score:
    return Score(member, 0, "Pong", 0, 4 * steps, steps, steps, "return", value)


def loss(member: int, steps: int) -> Metric:
    return Metric(member, 0, "Pong", 0, 4 * steps, steps, steps, "loss", 2.0)


FIRST = [score(0, 10), score(1, 10)]


def writing(root: Path) -> RunWriter:
    store = Store(root, "s")
    store.run(described().key).path.mkdir(parents=True)
    return RunWriter(described(), store)


def written(writer: RunWriter) -> tuple[list[Score], list[Metric]]:
    (scores, torn), (metrics, more) = (
        read_rows(writer.folder.path / name, kind) for name, kind in (("scores.csv", Score), ("metrics.csv", Metric))
    )
    assert not torn and not more
    return scores, metrics


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_stop_between_the_members_of_a_step_leaves_none_of_it(tmp_path: Path, cut: int) -> None:
    writer = writing(tmp_path)
    with pytest.raises(Stopped), writer:
        for row in (*FIRST, *[loss(0, 20), loss(1, 20), score(0, 20)][:cut]):
            writer.take(row)
        raise Stopped(2, "stopped")
    assert written(writer) == (FIRST, [])


def test_a_number_that_is_none_keeps_its_step_out_and_the_one_before_in(tmp_path: Path) -> None:
    writer = writing(tmp_path)
    with pytest.raises(FloatingPointError, match="return of member 1 is nan after 20 updates"), writer:
        for row in (*FIRST, loss(0, 20), score(0, 20), score(1, 20, math.nan)):
            writer.take(row)
    assert written(writer) == (FIRST, [])


def test_what_a_run_said_before_it_failed_is_kept(tmp_path: Path) -> None:
    writer = writing(tmp_path)
    with pytest.raises(FloatingPointError), writer:
        for row in (*FIRST, loss(0, 20), loss(1, 20)):
            writer.take(row)
        raise FloatingPointError("the loss of member 0 is nan after 20 updates")
    writer.fail(FloatingPointError("the loss of member 0 is nan after 20 updates"))
    assert written(writer) == (FIRST, [loss(0, 20), loss(1, 20)])


def test_a_run_that_ends_has_all_its_rows(tmp_path: Path) -> None:
    writer = writing(tmp_path)
    with writer:
        for row in (*FIRST, loss(0, 20), score(0, 20), loss(1, 20)):
            writer.take(row)
    writer.finish()
    assert written(writer) == ([*FIRST, score(0, 20)], [loss(0, 20), loss(1, 20)]) and writer.folder.is_done
