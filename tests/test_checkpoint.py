"""Checkpoints: whole or absent, whatever happens."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from plasticity_rl import checkpoint
from plasticity_rl.checkpoint import Snapshot

ROOT = Path(__file__).parents[1]


def snapshot(number: int) -> Snapshot:
    tensors = {
        "a": torch.full((3, 5), float(number)),
        "b": torch.tensor([number]),
        "c": torch.zeros(2, dtype=torch.bool),
        "d": torch.eye(4)[:, 1],
    }
    return Snapshot(tensors, {"number": number, "ticks": {"update": number}})


def same(one: Snapshot, other: Snapshot) -> bool:
    equal = all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())
    return equal and one.tensors.keys() == other.tensors.keys() and one.facts == other.facts


def test_what_is_loaded_is_what_was_saved_and_the_last_three_are_kept(tmp_path: Path) -> None:
    assert checkpoint.load_latest(tmp_path / "none") == (None, [])
    for number in (1, 2, 10, 100):
        checkpoint.save(tmp_path, number, snapshot(number))
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == ["000000000002", "000000000010", "000000000100"]
    loaded, problems = checkpoint.load_latest(tmp_path)
    assert loaded and same(loaded, snapshot(100)) and not problems


def test_the_same_number_again_replaces_it(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, snapshot(1))
    checkpoint.save(tmp_path, 1, snapshot(2))
    loaded, _ = checkpoint.load_latest(tmp_path)
    assert loaded and same(loaded, snapshot(2))


def test_every_flipped_byte_and_every_truncation_is_detected(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, snapshot(1))
    newest = checkpoint.save(tmp_path, 2, snapshot(2))
    choice = random.Random(0)
    for name in (*checkpoint.FILES, "manifest.json"):
        whole = (newest / name).read_bytes()
        for _ in range(100):
            place, bit = choice.randrange(len(whole)), 1 << choice.randrange(8)
            damaged = [whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :], whole[:place]]
            for content in damaged:
                (newest / name).write_bytes(content)
                loaded, problems = checkpoint.load_latest(tmp_path)
                if loaded and same(loaded, snapshot(2)):  # JSON may say the same in other bytes
                    assert name == "manifest.json" and not problems
                else:
                    assert loaded and same(loaded, snapshot(1)) and len(problems) == 1
        (newest / name).write_bytes(whole)


def test_a_missing_file_is_detected(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, snapshot(1))
    (checkpoint.save(tmp_path, 2, snapshot(2)) / "facts.json").unlink()
    loaded, problems = checkpoint.load_latest(tmp_path)
    assert loaded and same(loaded, snapshot(1))
    assert problems == ["checkpoint 000000000002: it cannot be read (FileNotFoundError)"]


@pytest.mark.parametrize("moment", ["open", "fsync", "rename"])
def test_a_full_disk_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    checkpoint.save(tmp_path, 1, snapshot(1))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if moment == "open":
        monkeypatch.setattr(checkpoint, "save_file", full)
    else:
        monkeypatch.setattr(checkpoint.os, moment, full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(tmp_path, 2, snapshot(2))
    monkeypatch.undo()
    loaded, problems = checkpoint.load_latest(tmp_path)
    assert loaded and same(loaded, snapshot(1)) and not problems
    assert [path.name for path in tmp_path.iterdir()] == ["000000000001"]


SAVER = """
import sys
from pathlib import Path
from tests.test_checkpoint import snapshot
from plasticity_rl import checkpoint
for number in range(int(sys.argv[2]), 10**6):
    checkpoint.save(Path(sys.argv[1]), number, snapshot(number))
    print(number, flush=True)
"""


def test_kill_never_loses_an_acknowledged_checkpoint(tmp_path: Path) -> None:
    acknowledged, choice = 0, random.Random(1)
    for _ in range(6):
        saver = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(tmp_path), str(acknowledged + 1)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert saver.stdout is not None
        acknowledged = int(saver.stdout.readline())
        time.sleep(choice.uniform(0, 0.1))
        os.kill(saver.pid, signal.SIGKILL)
        acknowledged = int([str(acknowledged), *saver.stdout.read().split()][-1])
        saver.wait()
        saver.stdout.close()
        loaded, problems = checkpoint.load_latest(tmp_path)
        assert loaded and loaded.facts["number"] >= acknowledged and not problems
        assert same(loaded, snapshot(loaded.facts["number"]))
    checkpoint.save(tmp_path, 10**7, snapshot(10**7))
    assert not list(tmp_path.glob(checkpoint.UNFINISHED + "*"))
