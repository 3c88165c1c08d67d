"""Promise: a large checkpoint is written while the run goes on, as it was when it was taken, and its failures end the run."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from launch.__main__ import main
from plasticity_rl.records import background, checkpoint
from plasticity_rl.records.background import Saving
from plasticity_rl.records.events import Snapshot
from plasticity_rl.records.folder import RunFolder
from tests.conftest import Begin
from tests.run_folders import run_paths

ROOT = Path(__file__).parents[2]
WORDS = ["--benchmark", "cartpole:tasks=2,frames=1600", "--agent", "dqn:num_envs=4,batch_size=8,replay=160,min_replay=40", "--eager"]
WORDS += ["--network", "mlp:width=12,depth=2", "--members", "2", "--checkpoint-every", "400"]


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork for every checkpoint."""
    monkeypatch.setattr(background, "LARGE", 0)
    monkeypatch.setattr(background, "can_fork", lambda: True)


def test_what_is_saved_is_what_was_there_when_it_began(tmp_path: Path) -> None:
    ring = torch.zeros(1000, 1000)
    saving = Saving(tmp_path, 1, Snapshot({"ring": ring}, {"number": 1}))
    ring += 1
    saving.wait()
    assert saving.done() and saving.bytes == 4_000_000 and saving.seconds >= saving.waited > 0
    loaded, problems = checkpoint.load_latest(tmp_path)
    assert loaded and not problems and (loaded.tensors["ring"] == 0).all()


def test_a_full_disk_and_numbers_that_are_not_finite_are_raised_by_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FloatingPointError, match="ring is not finite at checkpoint 1"):
        Saving(tmp_path, 1, Snapshot({"ring": torch.full((3,), torch.nan)}, {})).wait()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint.os, "rename", full)
    saving = Saving(tmp_path, 2, Snapshot({"ring": torch.zeros(3)}, {}))
    with pytest.raises(OSError, match="No space left") as raised:
        saving.wait()
    assert raised.value.errno == errno.ENOSPC and checkpoint.load_latest(tmp_path) == (None, [])


def test_a_fork_that_was_killed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "save", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    saving = Saving(tmp_path, 1, Snapshot({"ring": torch.zeros(3)}, {}))
    with pytest.raises(OSError, match="the process that wrote checkpoint 1 was killed"):
        saving.wait()


def test_a_run_is_the_same_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name, least in (("forks", 0), ("waits", 2**40)):
        monkeypatch.setattr(background, "LARGE", least)
        assert main(["run", "--runs", str(tmp_path / name), "--name", "x", *WORDS]) == 0
        (folder,) = run_paths(tmp_path / name)
        last, problems = checkpoint.load_latest(folder / "checkpoints")
        assert last and not problems and not RunFolder(folder).altered()
        found.append(((folder / "scores.csv").read_bytes(), last.tensors))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(found[0][1][name], tensor) for name, tensor in found[1][1].items())


SLOWLY = """
import sys, time
from plasticity_rl.records import background, checkpoint
from launch.__main__ import main
background.LARGE, save = 0, checkpoint.save
def slowly(*given):
    time.sleep(2)
    return save(*given)
checkpoint.save = slowly
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.process
def test_the_folder_stays_locked_until_the_checkpoint_of_a_killed_run_is_written(tmp_path: Path, begin: Begin) -> None:
    words = ["run", "--runs", str(tmp_path), "--name", "x", *WORDS]
    killed = begin([sys.executable, "-c", SLOWLY, *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120

    def forks() -> list[str]:
        return subprocess.run(["pgrep", "-P", str(killed.pid), "-f", "background.LARGE"], capture_output=True, text=True).stdout.split()

    while not forks():
        assert time.monotonic() < deadline and killed.poll() is None
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert main(words) == 3
    (folder,) = run_paths(tmp_path)
    while not checkpoint.checkpoints(folder / "checkpoints"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while main(words) == 3:
        assert time.monotonic() < deadline
    assert RunFolder(folder).is_done and not RunFolder(folder).altered()
