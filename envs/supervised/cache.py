"""The cache of data sets on this machine: one .npz file each, below XDG_CACHE_HOME or ~/.cache. Imports no torch."""

import os
from pathlib import Path

import numpy as np

from plasticity_rl.checks import UsageError


def path(name: str) -> Path:
    """File of a data set, there or not. Raises UsageError if the user has no home folder."""
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise UsageError("there is no home folder to keep data sets in; XDG_CACHE_HOME may name another") from error
    return home / "plasticity-rl" / "data" / f"{name}.npz"


def read(name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Images and labels of a data set; None if its file is missing or damaged."""
    try:
        with open(path(name), "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return arrays["x"], arrays["y"]
    except Exception:  # a damaged zip fails in many ways
        return None


def write(name: str, images: np.ndarray, labels: np.ndarray) -> Path:
    """Keep a data set, whole or not at all: under another name first, then renamed. Returns its file. Raises OSError."""
    file = path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as opened:
            np.savez_compressed(opened, x=images, y=labels)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)
    return file
