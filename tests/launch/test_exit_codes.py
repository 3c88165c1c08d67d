"""Failing commands: one line, an exit code that docs/runs.md lists, and no traceback."""

import errno
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from ray.exceptions import GetTimeoutError, RaySystemError

from launch import __main__ as program
from launch.__main__ import main

ROOT = Path(__file__).parents[2]
CODES = {0, 1, 2, 3, 4, 5, 6, 7, 129, 130, 141, 143}


def launch(*words: str, stdout: int, stderr: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launch", *words]
    return subprocess.run(command, cwd=ROOT, stdout=stdout, stderr=stderr, text=True, check=False)


@pytest.mark.parametrize(
    "words", [["interventions"], ["interventions", "--markdown"], ["show", "dqn"], ["--help"], ["doctor"]], ids=" ".join
)
@pytest.mark.process
def test_a_reader_that_leaves_ends_a_command_in_silence(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = launch(*words, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.process
def test_errors_that_nobody_reads_are_silent_too() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert launch("play", "nowhere", stdout=writer, stderr=writer).returncode == 2
    os.close(writer)


@pytest.mark.process
def test_a_full_disk_is_told_once() -> None:
    with open("/dev/full", "w") as full:
        ended = launch("interventions", stdout=full.fileno(), stderr=subprocess.PIPE)
    assert ended.returncode == 5 and ended.stderr == f"error: [Errno {errno.ENOSPC}] {os.strerror(errno.ENOSPC)}\n"


@pytest.mark.process
def test_streams_that_are_closed_take_nothing_and_no_file_gets_their_number(tmp_path: Path) -> None:
    said = ["run", "--name", "x", "--benchmark", "random-labels:images=40,tasks=1,updates=10", "--members", "1", "--eager"]
    command = ["sh", "-c", '"$@" <&- >&- 2>"$0"', str(tmp_path / "complaints"), sys.executable, "-m", "launch", *said, "--runs", "runs"]
    ended = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert ended.returncode == 0 and (tmp_path / "complaints").read_text() == ""
    (scores,) = tmp_path.glob("runs/x/*/scores.csv")
    assert all(line.count(",") == 8 for line in scores.read_text().splitlines())


def complaint(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code, said = main(words), capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    return code, said


@pytest.mark.parametrize("command", ["play", "probe", "rebuild-board", "watch", "report", "mechanisms", "board"])
@pytest.mark.parametrize("kind", ["file", "below", "missing", "empty"])
def test_what_is_no_run_is_a_mistake(command: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("weights")
    (tmp_path / "empty").mkdir()
    place = tmp_path / "file" / "below" if kind == "below" else tmp_path / kind
    code, said = complaint([command, str(place)], capsys)
    assert code == 2 and str(place) in said
    if command in ("play", "probe", "rebuild-board"):
        why = "it is a file" if kind == "file" else "there is no spec.json in it" if kind == "empty" else "there is no such folder"
        assert f"{place} is not a run's folder (runs/NAME/KEY); {why}" in said


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--name", "x", "--runs", "FILE"],
        ["run", "--name", "x", "--file", "FOLDER"],
        ["sweep", "FOLDER"],
        ["tune", "FOLDER"],
        ["compare", "FILE", "FILE"],
        ["compare", "none", "nap", "--runs", "FILE"],
        ["report", "FOLDER", "--out", "FILE"],
        ["report", "FOLDER", "--out", "FILE/deep"],
        ["mechanisms", "FOLDER", "--out", "FILE/deep"],
        ["claims", "4", "--out", "FILE/deep"],
        ["claims", "4", "--runs", "FILE"],
        ["claims", "4", "--runs", "FILE", "--dry-run"],
    ],
    ids=" ".join,
)
def test_the_wrong_sort_of_path_is_a_mistake(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("something")
    (tmp_path / "folder").mkdir()
    named = [word.replace("FILE", str(tmp_path / "file")).replace("FOLDER", str(tmp_path / "folder")) for word in words]
    code, said = complaint(named, capsys)
    assert code == 2 and str(tmp_path) in said and "Errno" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def allocate() -> None:
    torch.empty(10**15)


def allocate_an_array() -> None:
    np.empty(10**15)


def open_a_folder() -> None:
    open(ROOT).close()


def enter_a_file() -> None:
    os.listdir(ROOT / "README.md" / "x")


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("act", "code", "said"),
    [
        (allocate, 7, "not enough memory for 4000000000000000 bytes more: a smaller replay="),
        (allocate_an_array, 7, "not enough memory"),
        (lambda: fail(MemoryError()), 7, "not enough memory: a smaller replay="),
        (lambda: fail(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")), 7, "not enough memory for 20.00 GiB"),
        (lambda: fail(OSError(errno.ENOMEM, "Cannot allocate memory")), 7, "not enough memory"),
        (lambda: fail(OSError(errno.ENOSPC, "No space left on device")), 5, "No space left on device"),
        (lambda: fail(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")), 4, "Connection reset by peer"),
        (lambda: fail(BrokenPipeError(errno.EPIPE, "Broken pipe")), 4, "Broken pipe"),  # a socket's: the output is read
        (lambda: fail(TimeoutError("timed out")), 4, "timed out"),
        (lambda: fail(GetTimeoutError("Get timed out: some object(s) not ready.")), 4, "Ray: Get timed out"),
        (lambda: fail(RaySystemError("the raylet is gone")), 4, "the raylet is gone"),
        (open_a_folder, 2, "is a folder, not a file"),
        (enter_a_file, 2, "does not lead through folders"),
        (lambda: importlib.import_module("nowhere.inside"), 2, "needs the package nowhere, which is not installed: pip install "),
    ],
)
def test_errors_of_the_machine_are_one_line_and_a_code(
    act: object, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "_call", lambda words: act())  # type: ignore[operator]
    assert (ended := complaint([], capsys))[0] == code and said in ended[1]
    assert code in CODES


def test_our_own_mistakes_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_call", lambda words: fail(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        main([])


@pytest.mark.parametrize("error", [Exception("The current node timed out during startup."), TimeoutError("no GCS"), RuntimeError("no GCS")])
def test_ray_that_does_not_start_is_one_line(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: fail(error))
    words = ["run", "--name", "x", "--benchmark", "cartpole", "--actors", "2", "--members", "1", "--runs", str(tmp_path)]
    code, said = complaint(words, capsys)
    assert code == 4 and f"Ray did not start on this machine, which may be too busy: {error}" in said


def test_docs_list_every_code() -> None:
    listed = (ROOT / "docs/runs.md").read_text("utf-8").split("## Exit codes")[1].split("\n\n")[1]
    codes = {int(code) for row in listed.splitlines()[2:] for code in row.split("|")[1].split(",")}
    assert set(CODES) <= codes, set(CODES) - codes
