"""How runs are going, from their files alone."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from launch.watch import STILL, Watch, watch
from plasticity_rl.checks import UsageError
from plasticity_rl.runs import Score
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
