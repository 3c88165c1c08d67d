"""Checkpoints: a folder each, whole or absent, hashed, no pickle.

checkpoints/000012000/
  tensors.safetensors    every tensor by name
  facts.json             the counters that go with them
  manifest.json          the sha256 of the two
"""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from plasticity_rl.runs import Metric, Score, Tick, sync_folder

FILES = ("tensors.safetensors", "facts.json")
UNFINISHED = ".unfinished-"


class Snapshot(NamedTuple):
    """Everything a run needs to go on from here. The tensors are the run's own: save them before the run goes on."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    """JSON; what the run counts"""


Event = Score | Metric | Tick | Snapshot
"""What a run reports, one after the other."""


def save(folder: Path, number: int, snapshot: Snapshot, keep: int = 3) -> Path:
    """Write checkpoint `number` (a count of updates or steps, growing) and, once it is read back whole, drop all but the last `keep`.

    A crash at any moment leaves the checkpoints before it as they were. Raises OSError where the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clean(folder)
    beside, place = folder / f"{UNFINISHED}{number:012d}", folder / f"{number:012d}"
    beside.mkdir()
    try:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in snapshot.tensors.items()}
        save_file(tensors, beside / FILES[0])
        (beside / FILES[1]).write_text(json.dumps(snapshot.facts, allow_nan=False), encoding="utf-8")
        manifest = {name: _sha256(beside / name) for name in FILES}
        (beside / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        for path in beside.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        sync_folder(beside)
        if place.exists():  # left by a run that went on from an older one
            shutil.rmtree(place)
        os.rename(beside, place)
        sync_folder(folder)
    except SafetensorError as error:  # how safetensors reports a full disk
        raise OSError(errno.EIO, f"cannot write a checkpoint: {error}", str(place)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    if not problem(place):
        for old in checkpoints(folder)[:-keep]:
            shutil.rmtree(old)
    return place


def load_latest(folder: Path) -> tuple[Snapshot | None, list[str]]:
    """The newest checkpoint that is whole, or None; and one line for each newer one that is not."""
    problems = []
    for path in reversed(checkpoints(folder)):
        if found := problem(path):
            problems.append(f"checkpoint {path.name}: {found}")
        else:
            return Snapshot(load_file(path / FILES[0]), json.loads((path / FILES[1]).read_text(encoding="utf-8"))), problems
    return None, problems


def checkpoints(folder: Path) -> list[Path]:
    """The finished checkpoints, oldest first."""
    return sorted(path for path in folder.glob("*") if path.name.isdigit()) if folder.is_dir() else []


def problem(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None if it is byte for byte what was written."""
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        for name in FILES:
            if manifest[name] != _sha256(path / name):
                return f"{name} is not what was written"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"it cannot be read ({type(error).__name__})"
    return None


def clean(folder: Path) -> None:
    """Remove what a crash left half-written."""
    for path in folder.glob(UNFINISHED + "*"):
        shutil.rmtree(path)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
