"""Checkpoints: whole or absent, in any event."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from plasticity_rl.records import checkpoint
from plasticity_rl.records.events import Snapshot
from tests.conftest import Begin

ROOT = Path(__file__).parents[3]


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
    return equal and one.tensors.keys() == other.tensors.keys() and one.counters == other.counters


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
                if loaded and same(loaded, snapshot(2)):  # JSON has other encodings
                    assert name == "manifest.json" and not problems
                else:
                    assert loaded and same(loaded, snapshot(1)) and len(problems) == 1
        (newest / name).write_bytes(whole)


def test_a_missing_file_is_detected(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, snapshot(1))
    (checkpoint.save(tmp_path, 2, snapshot(2)) / "counters.json").unlink()
    loaded, problems = checkpoint.load_latest(tmp_path)
    assert loaded and same(loaded, snapshot(1))
    assert problems == ["checkpoint 000000000002: it cannot be read (FileNotFoundError)"]


def ring(rows: int, changed: tuple[int, ...] = (), by: float = 0.0) -> Snapshot:
    """A tensor of rows of 40 bytes, some of them changed, beside small ones."""
    tensor = torch.arange(rows * 10.0).view(rows, 10)
    tensor[list(changed)] += by
    return Snapshot(snapshot(0).tensors | {"ring": tensor}, {"rows": rows})


def pieces(path: Path) -> dict[str, int]:
    """The inode of each piece."""
    return {file.name: file.stat().st_ino for file in path.glob("*.safetensors") if file.name != "tensors.safetensors"}


def test_of_a_large_tensor_what_changed_is_written_and_the_rest_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "PIECE", 80)  # two rows
    first = pieces(checkpoint.save(tmp_path, 1, ring(7)))
    assert len(first) == 4  # rows 0-1, 2-3, 4-5, 6
    second = pieces(checkpoint.save(tmp_path, 2, ring(8, changed=(2,), by=0.5)))
    assert len(second) == 4 and len(set(first.values()) & set(second.values())) == 2  # row 2 changed, row 7 is new
    loaded, problems = checkpoint.load_latest(tmp_path)
    assert loaded and same(loaded, ring(8, changed=(2,), by=0.5)) and not problems
    for number in (3, 4, 5):
        checkpoint.save(tmp_path, number, ring(8))
    loaded, _ = checkpoint.load_latest(tmp_path)  # the files outlive their original folders
    assert loaded and same(loaded, ring(8)) and {path.name[-1] for path in checkpoint.checkpoints(tmp_path)} == {"3", "4", "5"}


def test_equal_pieces_of_other_kinds_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "PIECE", 8)
    kinds = {str(dtype): torch.zeros(6, 4, dtype=dtype) for dtype in (torch.float32, torch.int32, torch.uint8, torch.bfloat16)}
    checkpoint.save(tmp_path, 1, Snapshot(kinds, {}))
    loaded, _ = checkpoint.load_latest(tmp_path)
    assert loaded and same(loaded, Snapshot(kinds, {})) and all(loaded.tensors[name].dtype == each.dtype for name, each in kinds.items())


def test_a_piece_that_decayed_is_detected_and_not_linked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "PIECE", 80)
    first = checkpoint.save(tmp_path, 1, ring(8))
    decayed = next(iter(pieces(first)))
    (first / decayed).write_bytes(b"\0" + (first / decayed).read_bytes()[1:])
    assert checkpoint.load_latest(tmp_path) == (None, [f"checkpoint 000000000001: {decayed} is not what was written"])
    second = checkpoint.save(tmp_path, 2, ring(8))
    loaded, problems = checkpoint.load_latest(tmp_path)
    assert loaded and same(loaded, ring(8)) and not problems
    assert not set(pieces(first).values()) & set(pieces(second).values())
    (second / "manifest.json").write_text("{}")
    third = checkpoint.save(tmp_path, 3, ring(8))  # no known files to link to
    assert checkpoint.problem(third) is None and not set(pieces(second).values()) & set(pieces(third).values())


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
from tests.plasticity_rl.records.test_checkpoint import snapshot
from plasticity_rl.records import checkpoint
for number in range(int(sys.argv[2]), 10**6):
    checkpoint.save(Path(sys.argv[1]), number, snapshot(number))
    print(number, flush=True)
"""


@pytest.mark.process
def test_kill_never_loses_an_acknowledged_checkpoint(tmp_path: Path, begin: Begin) -> None:
    acknowledged, choice = 0, random.Random(1)
    for _ in range(6):
        saver = begin([sys.executable, "-c", SAVER, str(tmp_path), str(acknowledged + 1)], cwd=ROOT, stdout=subprocess.PIPE)
        assert saver.stdout is not None
        acknowledged = int(saver.stdout.readline())
        time.sleep(choice.uniform(0, 0.1))
        os.kill(saver.pid, signal.SIGKILL)
        acknowledged = int([str(acknowledged), *saver.stdout.read().split()][-1])
        saver.wait()
        loaded, problems = checkpoint.load_latest(tmp_path)
        assert loaded and loaded.counters["number"] >= acknowledged and not problems
        assert same(loaded, snapshot(loaded.counters["number"]))
    checkpoint.save(tmp_path, 10**7, snapshot(10**7))
    assert not list(tmp_path.glob(checkpoint.UNFINISHED + "*"))


@pytest.mark.parametrize(
    "edit",
    [
        lambda tensors: tensors.update(gnir=tensors.pop("ring")),
        lambda tensors: tensors["ring"]["pieces"].pop(),
        lambda tensors: tensors["ring"]["pieces"].reverse(),
        lambda tensors: tensors["ring"]["pieces"].pop(0),
        lambda tensors: tensors["ring"].update(pieces=[]),
        lambda tensors: tensors["ring"].update(shape=[16, 5]),
    ],
)
def test_an_edited_manifest_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[dict[str, Any]], None]) -> None:
    monkeypatch.setattr(checkpoint, "PIECE", 80)
    checkpoint.save(tmp_path, 1, ring(7))
    path = checkpoint.save(tmp_path, 2, ring(8)) / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest["tensors"])
    path.write_text(json.dumps(manifest))
    loaded, problems = checkpoint.load_latest(tmp_path)
    assert loaded and same(loaded, ring(7)) and problems == ["checkpoint 000000000002: manifest.json is not what was written"]


@pytest.mark.parametrize("content", ["[" * 100_000, '{"files":' * 100_000, "[]", "7", "null", ""])
def test_a_manifest_that_is_none_is_detected(tmp_path: Path, content: str) -> None:
    checkpoint.save(tmp_path, 1, snapshot(1))
    (checkpoint.save(tmp_path, 2, snapshot(2)) / "manifest.json").write_text(content)
    loaded, problems = checkpoint.load_latest(tmp_path)
    assert loaded and same(loaded, snapshot(1)) and len(problems) == 1


def test_the_manifest_describes_every_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "PIECE", 80)
    described = json.loads((checkpoint.save(tmp_path, 1, ring(7)) / "manifest.json").read_text())["tensors"]
    assert described.keys() == ring(7).tensors.keys()
    assert described["ring"]["shape"] == [7, 10] and described["ring"]["dtype"] == "float32" and len(described["ring"]["pieces"]) == 4


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, number: float) -> None:
    checkpoint.save(tmp_path, 1, snapshot(1))
    ruined = ring(7)
    ruined.tensors["ring"][3, 3] = number
    with pytest.raises(FloatingPointError, match=r"^ring is not finite at checkpoint 2, which is not written$"):
        checkpoint.save(tmp_path, 2, ruined)
    assert [path.name for path in tmp_path.iterdir()] == ["000000000001"]
