"""The run folder's files."""

import ast
import hashlib
import json
import math
from pathlib import Path

import pytest

from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Metric, Score
from plasticity_rl.records.folder import FolderTaken, RunFolder, check_name, find_runs, write_json
from plasticity_rl.records.tables import CsvLog, digest_of, read_rows, truncate

ROWS = [Score(member, 0, "labels-0", 0, 0, 50 * step, 50 * step, "online", 0.1 * member + step / 3) for step in (1, 2) for member in (0, 1)]


def write(path: Path, rows: list[Score]) -> int:
    table = CsvLog(path, Score)
    for row in rows:
        table.append(row)
    table.close()
    return path.stat().st_size


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    write(path, ROWS[:2])
    write(path, ROWS[2:])  # appended, without a second header
    assert read_rows(path, Score) == (ROWS, [])
    assert path.read_text().splitlines()[0] == "member,visit,task,cycle,frames,steps,updates,kind,score"


def test_a_file_cut_at_any_byte_gives_its_whole_rows_and_no_others(tmp_path: Path) -> None:
    path, cut = tmp_path / "scores.csv", tmp_path / "cut.csv"
    write(path, ROWS)
    whole = path.read_bytes()
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        rows, problems = read_rows(cut, Score)
        assert rows == ROWS[: len(rows)] and len(rows) == max(whole[:length].count(b"\n") - 1, 0)
        assert problems or whole[:length].endswith(b"\n")


@pytest.mark.parametrize("flip", [b"x", b",", b"\xff"])
def test_a_damaged_row_ends_the_reading(tmp_path: Path, flip: bytes) -> None:
    path = tmp_path / "scores.csv"
    write(path, ROWS)
    lines = path.read_bytes().split(b"\n")
    lines[3] = flip + lines[3][1:]
    path.write_bytes(b"\n".join(lines))
    rows, problems = read_rows(path, Score)
    assert rows == ROWS[:2] and problems == ["scores.csv: row 4 cannot be read; it and the 1 after it were left out"]


def test_a_wrong_header_and_a_missing_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write(path, ROWS)
    assert read_rows(path, Metric) == ([], ["metrics.csv: not the columns of a run"])
    assert read_rows(tmp_path / "none.csv", Metric) == ([], ["none.csv is missing"])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_that_is_none_is_written(tmp_path: Path, value: float) -> None:
    path = tmp_path / "scores.csv"
    table = CsvLog(path, Score)
    with pytest.raises(FloatingPointError, match=f"online of member 1 is {value} after 50 updates"):
        table.append(ROWS[1]._replace(score=value))
    table.close()
    assert read_rows(path, Score) == ([], [])


def test_what_came_after_a_checkpoint_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    length = write(path, ROWS[:3])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    write(path, ROWS[3:])
    truncate(path, length, digest)
    assert read_rows(path, Score) == (ROWS[:3], [])
    with pytest.raises(UsageError, match="shorter than its checkpoint says"):
        truncate(path, length + 1, digest)
    path.write_bytes(path.read_bytes().replace(b"50", b"51"))
    with pytest.raises(UsageError, match="holds other rows than at its checkpoint"):
        truncate(path, length, digest)


def test_a_table_knows_the_hash_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    for rows in (ROWS[:1], ROWS[1:]):  # opened a second time, it goes on from what is there
        table = CsvLog(path, Score)
        table.append(*rows)
        table.sync()
        assert table.digest == hashlib.sha256(path.read_bytes()).hexdigest() == digest_of(path)
        table.close()
    assert digest_of(path, 5) == hashlib.sha256(b"membe").hexdigest()


@pytest.mark.parametrize("name", ["first", "a.b-c_D9", "_x", "a" * 100])
def test_names_that_are_safe(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/x", "a b", "a\n", "a\x00", "-x", ".hidden", "a" * 101, "é", "a\\b"])
def test_names_that_are_not(name: str) -> None:
    with pytest.raises(UsageError, match="not a name"):
        check_name(name)


def test_json_is_whole_or_absent_and_runs_are_found(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nan"):
        write_json(tmp_path / "spec.json", {"x": math.nan})
    assert not (tmp_path / "spec.json").exists()
    (tmp_path / "b" / "2").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    for folder in ("b/2", "a"):
        write_json(tmp_path / folder / "spec.json", {"key": folder})
    assert find_runs(tmp_path) == [RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b" / "2")]
    assert json.loads((tmp_path / "a" / "spec.json").read_text()) == {"key": "a"}
    for bad in (tmp_path / "a", tmp_path):
        with pytest.raises(UsageError, match=r"is not a run's description|is not a run's folder"):
            RunFolder(bad).read_spec()


FILES = {"spec.json", "context.json", "scores.csv", "metrics.csv"}
PARTS = {"tb", "videos", "probes", "checkpoints", "DONE", "FAILED", ".lock"}
ROOT = Path(__file__).parents[3]


def run_files_named_in(path: Path) -> list[str]:
    """The names of a run's files that a module joins to a path: `run / "tb"`, `f"{run}/tb/x"`, or one of FILES alone."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.right, ast.Constant):
            found += [node.right.value] if node.right.value in FILES | PARTS else []
        elif isinstance(node, ast.JoinedStr):
            pieces = [str(each.value) for each in node.values if isinstance(each, ast.Constant)]
            found += [name for piece in pieces for name in piece.split("/")[1:] if name in FILES | PARTS]
        elif isinstance(node, ast.Constant) and node.value in FILES:
            found.append(node.value)
    return found


def test_one_module_alone_knows_the_names_of_a_runs_files() -> None:
    assert set(run_files_named_in(ROOT / "plasticity_rl" / "records" / "folder.py")) == FILES | PARTS
    for package in ("plasticity_rl", "envs", "agents", "launch", "analysis"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "folder.py":
                assert not run_files_named_in(path), path


def test_a_run_is_written_by_one_process(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.lock(), pytest.raises(FolderTaken, match="is being written by another process"), RunFolder(tmp_path).lock():
        raise AssertionError("the lock was given twice")
    assert run.released
    with run.lock():
        assert not run.released
    assert run.released and not RunFolder(tmp_path / "other").released
    with pytest.raises(KeyError), run.lock():
        raise KeyError
    assert run.released
    assert not run.is_done and run.failure is None
    run.mark_failed(FloatingPointError("the loss of member 0 is nan"))
    assert run.failure == "the loss of member 0 is nan"
    run.mark_begun()
    run.mark_done({})
    assert run.is_done and run.failure is None
