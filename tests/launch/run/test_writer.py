"""What is written of a run: the rows of a step for all members or for none, however the run ends."""

import math
from pathlib import Path

import pytest

from launch.run.runner import Recorder, Stopped
from launch.run.store import Destination
from plasticity_rl.records.folder import Metric, Score, read_rows
from tests.launch.tracking.test_tensorboard import described


def score(member: int, steps: int, value: float = 0.5) -> Score:
    return Score(member, 0, "Pong", 0, 4 * steps, steps, steps, "return", value)


def loss(member: int, steps: int) -> Metric:
    return Metric(member, 0, "Pong", 0, 4 * steps, steps, steps, "loss", 2.0)


FIRST = [score(0, 10), score(1, 10)]


def recording(root: Path) -> Recorder:
    to = Destination(root, "s")
    to.folder(described().key).mkdir(parents=True)
    return Recorder(described(), to)


def written(recorder: Recorder) -> tuple[list[Score], list[Metric]]:
    (scores, torn), (metrics, more) = (
        read_rows(recorder.folder / name, kind) for name, kind in (("scores.csv", Score), ("metrics.csv", Metric))
    )
    assert not torn and not more
    return scores, metrics


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_stop_between_the_members_of_a_step_leaves_none_of_it(tmp_path: Path, cut: int) -> None:
    recorder = recording(tmp_path)
    with pytest.raises(Stopped), recorder:
        for row in (*FIRST, *[loss(0, 20), loss(1, 20), score(0, 20)][:cut]):
            recorder.take(row)
        raise Stopped(2, "stopped")
    assert written(recorder) == (FIRST, [])


def test_a_number_that_is_none_keeps_its_step_out_and_the_one_before_in(tmp_path: Path) -> None:
    recorder = recording(tmp_path)
    with pytest.raises(FloatingPointError, match="return of member 1 is nan after 20 updates"), recorder:
        for row in (*FIRST, loss(0, 20), score(0, 20), score(1, 20, math.nan)):
            recorder.take(row)
    assert written(recorder) == (FIRST, [])


def test_what_a_run_said_before_it_failed_is_kept(tmp_path: Path) -> None:
    recorder = recording(tmp_path)
    with pytest.raises(FloatingPointError), recorder:
        for row in (*FIRST, loss(0, 20), loss(1, 20)):
            recorder.take(row)
        raise FloatingPointError("the loss of member 0 is nan after 20 updates")
    recorder.fail(FloatingPointError("the loss of member 0 is nan after 20 updates"))
    assert written(recorder) == (FIRST, [loss(0, 20), loss(1, 20)])


def test_a_run_that_ends_has_all_its_rows(tmp_path: Path) -> None:
    recorder = recording(tmp_path)
    with recorder:
        for row in (*FIRST, loss(0, 20), score(0, 20), loss(1, 20)):
            recorder.take(row)
    recorder.finish()
    assert written(recorder) == ([*FIRST, score(0, 20)], [loss(0, 20), loss(1, 20)]) and (recorder.folder / "DONE").exists()
