"""How runs are going, from their files alone."""

import os
import re
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from launch.watch import STILL, Watch, watch
from plasticity_rl.checks import UsageError
from plasticity_rl.runs import Score, write_table
from tests.fake_runs import spec, write_run


def row(member: int, updates: int, value: float, kind: str = "online") -> Score:
    return Score(member, 0, "a", 0, 0, updates, updates, kind, value)


def test_state_progress_score_and_speed_by_hand(tmp_path: Path) -> None:
    run = write_run(tmp_path, spec(), [row(0, 30, 0.2), row(1, 30, 0.4), row(0, 30, 9.0, "test")], done=False)  # 30 of 300 updates
    now = (run / "scores.csv").stat().st_mtime
    looks = Watch(tmp_path)
    first = looks.look(now)[run]
    assert (first.state, first.done, first.updates) == ("runs", pytest.approx(0.1), 30) and first.score == pytest.approx(0.3)
    assert looks.speed(run, first) == (None, None)
    later = first._replace(done=0.4, updates=120, at=first.at + 10)
    assert looks.speed(run, later) == (pytest.approx(9.0), pytest.approx(20.0))  # 90 updates in 10 s, 180 to go
    assert looks.look(now + 2 * STILL)[run].state == "still"
    with open(run / "scores.csv", "a") as file:
        file.write("0,0,a,0,0,60,60,onl")  # torn
    assert looks.look(now)[run].updates == 30
    (run / "DONE").touch()
    assert looks.look(now)[run].state == "done" and looks.look(now)[run].done == 1.0


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
    assert seen[run].state == "failed" and seen[run].done == pytest.approx(0.1) and looks.speed(run, seen[run]) == (None, None)
    printed = StringIO()
    watch(tmp_path, False, 1.0, Console(file=printed, width=150))  # returns: nothing goes on
    assert "1 runs: 1 failed" in printed.getvalue() and f"{run.name} failed: the loss of member 0 is nan" in printed.getvalue()
    (run / "FAILED").unlink()
    assert looks.look(now)[run].state == "runs"


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

    monkeypatch.setattr("launch.watch.time", SimpleNamespace(time=lambda: clock[0], sleep=ten_seconds_later))
    drawn = StringIO()
    watch(tmp_path, False, 1.5, Console(file=drawn, width=120, force_terminal=True, color_system=None))
    text = drawn.getvalue()
    lines = [line.split() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", text).splitlines() if " nap " in line]
    shown = [line[-len(line) + 4 :] for line in lines]  # after run, chain, benchmark and seed
    assert shown[0] == ["runs", "25%", "0.250"] and shown[-1] == ["done", "100%", "0.500"]
    assert ["runs", "65%", "0.500", "12", "0:00:09"] in shown  # 12 a second, 105 to go
    assert "\x1b[" in text and "1 runs: 1 done" in text
