"""The cache on this machine, below XDG_CACHE_HOME or ~/.cache: data sets, one .npz file each, and other files. Imports no torch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from plasticity_rl.checks import UsageError


def folder(name: str) -> Path:
    """A folder of the cache, there or not. Raises UsageError if the user has no home folder."""
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise UsageError(f"there is no home folder to keep {name} in; XDG_CACHE_HOME may name another") from error
    return home / "plasticity-rl" / name


def path(name: str) -> Path:
    """File of a data set, there or not. Raises UsageError if the user has no home folder."""
    return folder("data") / f"{name}.npz"


def read(name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Images and labels of a data set; None if its file is missing or damaged."""
    try:
        with open(path(name), "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return arrays["x"], arrays["y"]
    except Exception:  # a damaged zip fails in many ways
        return None


def write(name: str, images: np.ndarray, labels: np.ndarray) -> Path:
    """Keep a data set, whole or not at all. Returns its file. Raises OSError."""
    with whole(file := path(name)) as opened:
        np.savez_compressed(opened, x=images, y=labels)
    return file


@contextmanager
def whole(file: Path) -> Iterator[BinaryIO]:
    """Write a file whole or not at all: under another name first, then renamed. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as opened:
            yield opened
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)
