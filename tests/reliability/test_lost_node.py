"""Promise: a lost node ends a run in one line where its driver was, and the same command resumes it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Begin
from tests.run_folders import run_paths

WORDS = "cartpole:tasks=1,frames=12000 --agent ppo:num_envs=4 --network mlp:width=8 --members 1 --actors 1 --eager --checkpoint-every 2000"


def raylet_of(session: int) -> int | None:
    """Process number of Ray's own process in a session."""
    found = subprocess.run(["pgrep", "-x", "-s", str(session), "raylet"], capture_output=True, text=True).stdout.split()
    return int(found[0]) if found else None


@pytest.mark.ray
def test_the_drivers_node_is_lost(tmp_path: Path, begin: Begin) -> None:
    command = [sys.executable, "-m", "launch", "run", "--runs", str(tmp_path), "--name", "lost", "--benchmark", *WORDS.split()]
    run = begin(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("lost/*/checkpoints/*/manifest.json")):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    raylet = raylet_of(run.pid)
    assert raylet is not None
    os.kill(raylet, signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 4
    assert (
        said.strip().splitlines()[-1] == "error: Ray's process on this machine was lost; the same command resumes from the last checkpoint"
    )
    again = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert again.returncode == 0, again.stderr
    assert (run_paths(tmp_path)[0] / "DONE").exists()
