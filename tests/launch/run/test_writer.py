"""Rows of a run: a step's are written for all members or for none, however the run ends."""

import math
from pathlib import Path

import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed

from launch.run import writer as writing_module
from launch.run.runner import RunWriter, Stopped
from launch.run.store import Store
from plasticity_rl.records.events import Metric, Score, Snapshot
from plasticity_rl.records.folder import RunFolder, write_json
from plasticity_rl.records.tables import read_rows
from plasticity_rl.training import compilation
from tests.launch.tracking.test_tensorboard import described


def score(member: int, steps: int, value: float = 0.5) -> Score:
    return Score(member, 0, "Pong", 0, 4 * steps, steps, steps, "return", value)


def loss(member: int, steps: int) -> Metric:
    return Metric(member, 0, "Pong", 0, 4 * steps, steps, steps, "loss", 2.0)


def snapshot(steps: int) -> Snapshot:
    return Snapshot({"weights": torch.zeros(2)}, {"number": steps})


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


def finished(root: Path) -> RunFolder:
    """A run of three steps with a checkpoint after the second."""
    writer = writing(root)
    with writer:
        for event in (*FIRST, score(0, 20), score(1, 20), snapshot(20), score(0, 30), score(1, 30)):
            writer.take(event)
    writer.finish()
    return writer.folder


def edited(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("scores.csv", b"0,0,Pong,0,40,10,10,return,", b"0,0,Pong,0,40,10,99,return,"),  # updates
        ("scores.csv", b"0,0,Pong,0,40,10,10,return,", b"0,0,Pong,0,40,10,-1,return,"),
        ("scores.csv", b"1,0,Pong,0,40,10,10,return,0.5\n", b""),  # a row from the middle
        ("scores.csv", b",0.5\n", b",0.25\n"),  # a score
        ("spec.json", b'"none"', b'"nap"'),  # another chain's label
    ],
)
def test_an_edit_is_noticed(tmp_path: Path, done: bool, name: str, old: bytes, new: bytes) -> None:
    run = finished(tmp_path)
    if not done:
        run.done.unlink()
    assert run.altered() == []
    edited(run.path / name, old, new)
    assert run.altered() == [f"{name} is not what the run wrote: it was edited or damaged"]


def test_rows_after_the_last_checkpoint_and_after_the_end(tmp_path: Path) -> None:
    run = finished(tmp_path)
    with open(run.scores, "a") as file:
        file.write("0,0,Pong,0,160,40,40,return,1.0\n")
    assert run.altered() == ["scores.csv is not what the run wrote: it was edited or damaged"]
    run.done.unlink()  # a run that goes on may have more rows than at its checkpoint
    assert run.altered() == []


def test_a_run_that_both_ended_and_failed_is_told(tmp_path: Path) -> None:
    run = finished(tmp_path)
    run.mark_failed(FloatingPointError("the loss of member 0 is nan"))
    assert run.altered() == ["DONE and FAILED are both there"]


@pytest.mark.parametrize("content", ["", "{}"])
def test_a_run_without_a_record_is_taken_as_it_is(tmp_path: Path, content: str) -> None:
    run = finished(tmp_path)
    run.done.write_text(content)  # earlier versions left it empty
    edited(run.scores, b",0.5\n", b",0.25\n")
    assert run.altered() == []


@pytest.mark.parametrize("content", ["[", "7", '{"scores.csv": 7}', '{"../scores.csv": {"length": 1, "sha256": ""}}', "[" * 100_000])
def test_a_record_that_is_none_is_told(tmp_path: Path, content: str) -> None:
    run = finished(tmp_path)
    run.done.write_text(content)
    assert run.altered() == ["the record of its files cannot be read"]


def test_context_says_where_compilation_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "FAILURES", failures := ["CppCompileError: of an earlier run"])
    monkeypatch.setattr(writing_module, "FAILURES", failures)
    contexts = []
    for failing in (False, True):
        writer = writing(tmp_path / str(failing))
        write_json(writer.folder.context, {"compiled": True, "machine": "here"})
        with writer:
            if failing:
                with pytest.warns(UserWarning, match="compilation failed"):
                    compilation._forgiving(fails, abs)(-1)
            writer.take(snapshot(10))
        contexts.append(writer.folder.read_context())
    assert contexts[0] == {"compiled": True, "machine": "here"}
    assert contexts[1] == {"compiled": False, "machine": "here", "not_compiled": "OSError: no space"}


def fails(_: int) -> int:
    raise BackendCompilerFailed(abs, OSError("no space"), None)
