"""Progress of runs, from their files alone."""

import json
import os
import re
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from launch.columns import shortest
from launch.run.watch import STILL, Watch, watch
from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Score
from plasticity_rl.records.folder import RunFolder
from plasticity_rl.records.tables import TAIL, write_table
from tests.fake_runs import spec, write_run


def row(member: int, updates: int, value: float, kind: str = "online") -> Score:
    return Score(member, 0, "a", 0, 0, updates, updates, kind, value)


def test_state_progress_score_and_speed_by_hand(tmp_path: Path) -> None:
    run = write_run(tmp_path, spec(), [row(0, 30, 0.2), row(1, 30, 0.4), row(0, 30, 9.0, "test")], done=False)  # 30 of 300 updates
    now = (run / "scores.csv").stat().st_mtime
    looks = Watch(tmp_path)
    first = looks.look(now)[RunFolder(run)]
    assert (first.state, first.done, first.updates) == ("running", pytest.approx(0.1), 30) and first.score == pytest.approx(0.3)
    assert looks.speed(RunFolder(run), first) == (None, None)
    later = first._replace(done=0.4, updates=120, at=first.at + 10)
    assert looks.speed(RunFolder(run), later) == (pytest.approx(9.0), pytest.approx(20.0))  # 90 updates in 10 s, 180 to go
    assert looks.look(now + 2 * STILL)[RunFolder(run)].state == "still"
    with RunFolder(run).lock():
        assert looks.look(now)[RunFolder(run)].state == "running"
    assert looks.look(now)[RunFolder(run)].state == "stopped"
    with open(run / "scores.csv", "a") as file:
        file.write("0,0,a,0,0,60,60,onl")  # torn
    assert looks.look(now)[RunFolder(run)].updates == 30
    (run / "DONE").touch()
    assert looks.look(now)[RunFolder(run)].state == "done" and looks.look(now)[RunFolder(run)].done == 1.0


def test_once_prints_a_line_for_each_run_and_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no runs below"):
        watch(tmp_path, True, 1.0)
    write_run(tmp_path, spec("nap"), [row(0, 300, 0.5)])
    write_run(tmp_path, spec("redo"), [], done=False)
    printed = StringIO()
    watch(tmp_path, True, 1.0, Console(file=printed, width=150))
    lines = printed.getvalue().splitlines()
    assert any("nap" in line and "done" in line and "100%" in line and "0.5" in line for line in lines)
    assert any("redo" in line and "waits" in line for line in lines) and "2 runs: 1 done, 1 waits" in printed.getvalue()


def test_what_failed_says_why_until_it_goes_on(tmp_path: Path) -> None:
    run = write_run(tmp_path, spec(), [row(0, 30, 0.2)], done=False)
    now = (run / "scores.csv").stat().st_mtime
    looks = Watch(tmp_path)
    (run / "FAILED").write_text("the loss of member 0 is nan after 45 updates\n")
    seen = looks.look(now)
    assert (
        seen[RunFolder(run)].state == "failed"
        and seen[RunFolder(run)].done == pytest.approx(0.1)
        and looks.speed(RunFolder(run), seen[RunFolder(run)]) == (None, None)
    )
    printed = StringIO()
    watch(tmp_path, False, 1.0, Console(file=printed, width=150))  # returns: all runs stopped
    assert "1 run: 1 failed" in printed.getvalue() and f"{run.name} failed: the loss of member 0 is nan" in printed.getvalue()
    (run / "FAILED").unlink()
    assert looks.look(now)[RunFolder(run)].state == "running"


def test_on_a_terminal_the_table_is_drawn_anew_until_all_have_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path, spec("nap"), [row(0, 75, 0.25)], done=False)
    start = (run / "scores.csv").stat().st_mtime
    clock = [start]

    def ten_seconds_later(seconds: float) -> None:
        assert seconds == 1.5
        clock[0] += 10
        if clock[0] == start + 10:
            write_table(run / "scores.csv", Score, [row(0, 195, 0.5)])  # 120 updates more of 300
            os.utime(run / "scores.csv", (clock[0], clock[0]))
        else:
            (run / "DONE").touch()

    monkeypatch.setattr("launch.run.watch.time", SimpleNamespace(time=lambda: clock[0], sleep=ten_seconds_later))
    drawn = StringIO()
    watch(tmp_path, False, 1.5, Console(file=drawn, width=120, force_terminal=True, color_system=None))
    text = drawn.getvalue()
    lines = [line.split() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", text).splitlines() if line.startswith("nap ")]
    shown = [line[-len(line) + 4 :] for line in lines]  # after chain, benchmark, seed and run
    assert shown[0] == ["running", "25%", "0.250"] and shown[-1] == ["done", "100%", "0.500"]
    assert ["running", "65%", "0.500", "12", "0:00:09"] in shown  # 12 a second, 105 to go
    assert "\x1b[" in text and "1 run: 1 done" in text


def add(name: str, content: bytes) -> Callable[[Path], None]:
    """Damage by bytes at the end of a file."""

    def damage(run: Path) -> None:
        with open(run / name, "ab") as file:
            file.write(content)

    return damage


def without_budget(run: Path) -> None:
    said = json.loads((run / "spec.json").read_text())
    said["visits"] = [{"index": 0, "task": "a", "cycle": 0}]
    (run / "spec.json").write_text(json.dumps(said))


def as_folder(name: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).mkdir()

    return damage


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a blank line": (add("scores.csv", b"\n"), "scores.csv: row 1 from the end cannot be read"),
    "five cells": (add("scores.csv", b"0,0,a,0,0\n0,0,a,0,0,60,60,online,0.5\n"), "scores.csv: row 2 from the end cannot be read"),
    "no bytes of a row": (add("scores.csv", b"\0\0\0\n"), "scores.csv: row 1 from the end cannot be read"),
    "no bytes but zeros": (lambda run: (run / "scores.csv").write_bytes(bytes(100)), "scores.csv: not the columns of a run"),
    "zeros at the end of a long file": (add("scores.csv", bytes(2 * TAIL)), "scores.csv: not the columns of a run"),
    "other columns": (lambda run: (run / "scores.csv").write_text("a,b\n"), "scores.csv: not the columns of a run"),
    "a folder for scores.csv": (as_folder("scores.csv"), "scores.csv cannot be read: Is a directory"),
    "a folder for FAILED": (as_folder("FAILED"), "FAILED: Is a directory"),
    "visits without a budget": (without_budget, "its visits must be numbered from 0, each with a task, a cycle and a budget above 0"),
    "half a spec.json": (lambda run: (run / "spec.json").write_text("{"), "spec.json is not a run's description"),
    "a folder for spec.json": (as_folder("spec.json"), "spec.json: Is a directory"),
    "the end of a run without rows": (
        lambda run: [(run / "scores.csv").unlink(), (run / "DONE").touch()],
        "scores.csv has no rows",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_run_says_so_and_the_others_are_watched(tmp_path: Path, damage: str) -> None:
    spoil, why = DAMAGED[damage]
    good = write_run(tmp_path, spec("nap"), [row(0, 30, 0.25)], done=False)
    bad = write_run(tmp_path, spec("redo"), [row(0, 30, 0.5)], done=False)
    spoil(bad)
    seen = Watch(tmp_path).look((good / "scores.csv").stat().st_mtime)
    assert (seen[RunFolder(good)].state, seen[RunFolder(good)].score) == ("running", 0.25)
    assert seen[RunFolder(bad)].state == "unreadable" and why in (seen[RunFolder(bad)].why or "")
    printed = StringIO()
    watch(tmp_path, True, 1.0, Console(file=printed, width=300))
    assert f"{bad.name} is unreadable: " in printed.getvalue() and "2 runs: " in printed.getvalue()


def test_a_failure_told_in_bytes_that_are_no_text_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path, spec(), [row(0, 30, 0.2)], done=False)
    (run / "FAILED").write_bytes(b"\xffnan\n")
    seen = Watch(tmp_path).look((run / "scores.csv").stat().st_mtime)[RunFolder(run)]
    assert (seen.state, seen.why) == ("failed", "\N{REPLACEMENT CHARACTER}nan")


def test_a_run_that_is_deleted_meanwhile_ends_and_one_that_is_mended_goes_on(tmp_path: Path) -> None:
    run, other = (write_run(tmp_path, spec(label), [row(0, 30, 0.2)], done=False) for label in ("nap", "redo"))
    now = (run / "scores.csv").stat().st_mtime
    described = (other / "spec.json").read_bytes()
    (other / "spec.json").write_bytes(b"")
    looks = Watch(tmp_path)
    assert [each.state for each in looks.look(now).values()] == ["running", "unreadable"]
    (other / "spec.json").write_bytes(described)
    shutil.rmtree(run)
    seen = looks.look(now)
    assert [each.state for each in seen.values()] == ["unreadable", "running"] and "any more" in (seen[RunFolder(run)].why or "")
    shutil.rmtree(other)
    printed = StringIO()
    console = Console(file=printed, width=150)
    console.print(looks.table(looks.look(now), 150))
    assert "2 runs: 2 unreadable" in printed.getvalue()


def test_a_narrow_terminal_keeps_the_chain_and_cuts_the_key(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, spec("redo + l2-init", seed, key=f"0123456789abcde{seed}"), [row(0, 300, 0.5)])
    write_run(tmp_path, spec("nap", key="76543210fedcba98"), [row(0, 30, 0.25)], done=False)
    now = next(tmp_path.rglob("scores.csv")).stat().st_mtime
    tables = {}
    for width in (150, 60, 30):
        printed, looks = StringIO(), Watch(tmp_path)
        Console(file=printed, width=width).print(looks.table(looks.look(now), width))
        tables[width] = [line.split() for line in printed.getvalue().splitlines()]
    assert tables[150][0] == ["chain", "benchmark", "seed", "run", "state", "done", "last", "score", "updates/s", "left"]
    assert tables[150][3][:5] == ["nap", "random-labels", "0", "76543210fedcba98", "running"]  # 15 digits cannot separate the other two
    assert tables[60][0] == ["chain", "seed", "state", "done", "last", "score", "left"]
    assert tables[60][1][:4] == ["redo", "+", "l2-init", "0"]
    assert tables[30][0] == ["chain", "state", "done"] and tables[30][3] == ["nap", "running", "10%"]


def test_keys_are_shown_as_long_as_they_must_be() -> None:
    assert shortest(["0123456789", "9876543210"]) == 8
    assert shortest(["0123456789", "0123456788", "0123456788"]) == 10
    assert shortest([]) == 8
