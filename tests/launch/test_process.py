"""Commands behave the same however their process was started, whatever it inherits."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plasticity_rl.records.folder import RunFolder
from tests.run_folders import run_paths

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
SMALL = ["--benchmark", "random-labels:images=60,tasks=3,updates=40", "--network", "mlp:width=12,depth=2", "--members", "2", "--eager"]
SMALL += ["--agent", "supervised:batch_size=8,record_every=15"]
PLACE = "Läufe-実"  # a folder's name

# The command's prefix in a shell in another folder than the checkout.
STARTED = {
    "plainly": "",
    "in the background": "trap '' INT TERM HUP;",
    "without a terminal": "export TERM=dumb COLUMNS=12; unset HOME;",
    "without standard streams": "exec <&- >&- 2>&-;",
    "by an unfriendly mask": "umask 077;",
    "by no mask": "umask 000;",
    "where letters are ASCII": "export LC_ALL=C PYTHONUTF8=0;",
}


def shell(folder: Path, before: str, *words: str) -> list[str]:
    quoted = " ".join(f"'{word}'" for word in (sys.executable, "-m", "launch", *words))
    return ["bash", "-c", f"cd '{folder}' && {before} exec {quoted}"]


def said(folder: Path, before: str, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and error of a command line."""
    around = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(shell(folder, before, *words), env=around, capture_output=True, timeout=120, start_new_session=True)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Scores of the run, started in the usual way from the checkout."""
    root = tmp_path_factory.mktemp("usual")
    assert said(ROOT, "", "run", "--name", "a", "--runs", str(root), *SMALL)[0] == 0
    return next(iter(run_paths(root))).joinpath("scores.csv").read_bytes()


@pytest.mark.parametrize("started", STARTED)
def test_commands_do_the_same_however_they_are_started(started: str, scores: bytes, tmp_path: Path) -> None:
    before = STARTED[started]
    code, printed, complaint = said(tmp_path, before, "run", "--name", "a", "--runs", PLACE, *SMALL)
    assert (code, complaint) == (0, "")
    (run,) = run_paths(tmp_path / PLACE)
    assert printed.count("done: ") == (">&-" not in before)
    assert RunFolder(run).is_done and run.joinpath("scores.csv").read_bytes() == scores
    assert run.stat().st_mode & 0o777 == 0o777 & ~{"umask 077;": 0o077, "umask 000;": 0}.get(before, 0o022)

    assert said(tmp_path, before, "report", PLACE, "--out", "Bericht-ü")[::2] == (0, "")
    assert "</html>" in (tmp_path / "Bericht-ü" / "report.html").read_text("utf-8")

    wrong = said(tmp_path, before, "show", "näp")
    assert wrong[0] == 2 and wrong[1] == ""
    if "2>&-" not in before:
        letter = r"\xe4" if "PYTHONUTF8" in before else "ä"
        assert wrong[2].startswith("error: ") and f"n{letter}p" in wrong[2] and wrong[2].count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([PLACE, "Bericht-ü"])


@contextmanager
def watching(before: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`watch` over a run that never ends, after its first look; ended if the test did not."""
    root = folder / "runs"
    assert said(folder, "", "run", "--name", "a", "--runs", str(root), *SMALL)[0] == 0
    next(iter(run_paths(root))).joinpath("DONE").unlink()
    around = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = shell(folder, before, "watch", str(root))
    with subprocess.Popen(command, env=around, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout and process.stdout.readline().startswith("chain")
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("before", ["", "trap '' INT TERM;"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_ends_on_signals_even_where_it_inherited_that_they_are_ignored(before: str, number: int, tmp_path: Path) -> None:
    with watching(before, tmp_path) as process:
        process.send_signal(number)
        _, complaint = process.communicate(timeout=20)
    assert (process.returncode, complaint) == (128 + number, "error: stopped\n")


def test_nohup_is_left_alone(tmp_path: Path) -> None:
    with watching("trap '' HUP;", tmp_path) as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143
