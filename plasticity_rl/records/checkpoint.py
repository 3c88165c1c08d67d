"""Checkpoints: one folder each, written atomically, hashed, without pickle.

checkpoints/000012000/
  tensors.safetensors    tensors by name, except large ones
  3f2a...safetensors     a piece of a large tensor, such as a replay buffer; unchanged pieces are links to the previous checkpoint's file
  counters.json          counters of the same moment
  manifest.json          the format's version; the sha256 of all these files; name, dtype and shape of every tensor, and the pieces of
                         large ones; and the sha256 of all of that
"""

import errno
import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from plasticity_rl.files import parse_json
from plasticity_rl.records.events import Snapshot
from plasticity_rl.records.folder import COUNTERS, sync_folder

FILES = ("tensors.safetensors", COUNTERS)
MANIFEST = "manifest.json"
FORMAT = 1
"""version of what a checkpoint's files hold; other versions are refused"""
UNFINISHED = ".unfinished-"
PIECE = 2**26
"""bytes; larger tensors are split along axis 0"""


def save(folder: Path, number: int, snapshot: Snapshot, keep: int = 3) -> Path:
    """Write checkpoint `number` (an increasing count of updates or steps), verify it, and then delete all but the last `keep`.

    A crash at any moment leaves earlier checkpoints intact. Checkpoints share unchanged pieces of large tensors, so damage to a shared
    piece affects all of them. Raises OSError if the disk fails, and FloatingPointError for numbers that are not finite: a run could only
    resume from them to fail again.
    """
    for name, tensor in snapshot.tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise FloatingPointError(f"{name} is not finite at checkpoint {number}, which is not written")
    folder.mkdir(parents=True, exist_ok=True)
    clean(folder)
    place = _write(folder, number, snapshot, *checkpoints(folder)[-1:])
    if problem(place):  # a piece shared with the checkpoint before is damaged
        _write(folder, number, snapshot)
    if not problem(place):
        for old in checkpoints(folder)[:-keep]:
            shutil.rmtree(old)
    return place


def _write(folder: Path, number: int, snapshot: Snapshot, before: Path | None = None) -> Path:
    """Write one checkpoint atomically. Pieces that the checkpoint `before` has are linked, not written again."""
    beside, place = folder / f"{UNFINISHED}{number:012d}", folder / f"{number:012d}"
    beside.mkdir()
    try:
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in snapshot.tensors.items()}
        large = {name: whole.pop(name) for name in [name for name, tensor in whole.items() if tensor.nbytes > PIECE and len(tensor) > 1]}
        save_file(whole, beside / FILES[0])
        (beside / FILES[1]).write_text(json.dumps(snapshot.counters, allow_nan=False), encoding="utf-8")
        known = {}  # hashes of linked pieces when they were written
        if before is not None:
            with suppress(OSError, ValueError, KeyError):
                known = _manifest(before)["files"]
        tensors = {name: _described(tensor) for name, tensor in (whole | large).items()}
        for name, tensor in large.items():
            tensors[name]["pieces"] = [_piece(piece, beside, before, known) for piece in _cut(tensor)]
        hashes = {path.name: known[path.name] if path.stat().st_nlink > 1 else _sha256(path) for path in sorted(beside.iterdir())}
        manifest = {"format": FORMAT, "files": hashes, "tensors": tensors}
        (beside / MANIFEST).write_text(json.dumps(manifest | {"sha256": _digest(manifest)}), encoding="utf-8")
        for path in beside.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        sync_folder(beside)
        if place.exists():  # left by a run that resumed from an older checkpoint
            shutil.rmtree(place)
        os.rename(beside, place)
        sync_folder(folder)
    except SafetensorError as error:  # how safetensors reports a full disk
        raise OSError(errno.EIO, f"cannot write a checkpoint: {error}", str(place)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return place


def _cut(tensor: Tensor) -> tuple[Tensor, ...]:
    """Split along axis 0, always at the same rows, so that the parts of a ring buffer that were not overwritten stay unchanged."""
    return tensor.split(max(PIECE * len(tensor) // tensor.nbytes, 1))


def _piece(piece: Tensor, beside: Path, before: Path | None, known: dict[str, str]) -> str:
    """The piece's file name, derived from its content; the file is linked from the checkpoint `before` if there, else written."""
    digest = hashlib.sha256(f"{piece.dtype} {tuple(piece.shape)}".encode())
    digest.update(piece.reshape(-1).view(torch.uint8).numpy().data)
    name = f"{digest.hexdigest()}.safetensors"
    if before is not None and name in known and not (beside / name).exists():
        with suppress(OSError):  # missing, or a file system without links
            os.link(before / name, beside / name)
    if not (beside / name).exists():
        save_file({"piece": piece}, beside / name)
    return name


def load_latest(folder: Path) -> tuple[Snapshot | None, list[str]]:
    """The newest intact checkpoint, or None; and one line per newer checkpoint that is damaged."""
    problems = []
    for path in reversed(checkpoints(folder)):
        if found := problem(path):
            problems.append(f"checkpoint {path.name}: {found}")
        else:
            return read(path), problems
    return None, problems


def read(path: Path) -> Snapshot:
    """Read a checkpoint, unverified; see `problem`."""
    cut = {name: tensor["pieces"] for name, tensor in _manifest(path)["tensors"].items() if "pieces" in tensor}
    large = {name: torch.cat([load_file(path / file)["piece"] for file in files]) for name, files in cut.items()}
    return Snapshot(load_file(path / FILES[0]) | large, read_counters(path))


def read_counters(path: Path) -> dict[str, Any]:
    """Read the counters of a checkpoint alone."""
    return parse_json((path / FILES[1]).read_text(encoding="utf-8"))


def checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(path for path in folder.glob("*") if path.name.isdigit()) if folder.is_dir() else []


def problem(path: Path) -> str | None:
    """Describe what is wrong with a checkpoint; None if it is byte for byte as written."""
    try:
        manifest = parse_json((path / MANIFEST).read_text(encoding="utf-8"))
        if manifest.pop("sha256", None) != _digest(manifest):
            return f"{MANIFEST} is not what was written"
        if manifest.get("format") != FORMAT:
            return f"it was written in format {manifest.get('format')!r}, and this version reads format {FORMAT}"
        for name, expected in manifest["files"].items():
            if expected != _sha256(path / name):
                return f"{name} is not what was written"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"it cannot be read ({type(error).__name__})"
    return None


def clean(folder: Path) -> None:
    """Remove unfinished checkpoints that a crash left."""
    for path in folder.glob(UNFINISHED + "*"):
        shutil.rmtree(path)


def _manifest(path: Path) -> dict[str, Any]:
    return parse_json((path / MANIFEST).read_text(encoding="utf-8"))


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
