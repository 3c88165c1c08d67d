"""Data sets that people bring: .npz, .csv and .parquet files, and functions of plugins. Imports no torch.

All are checked for shape, dtype, NaN and classes before anything else is done with them.
"""

import csv
import importlib
import io
import os
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plasticity_rl import plugins
from plasticity_rl.checks import UsageError, nearest
from plasticity_rl.files import read_table

SUFFIXES: tuple[str, ...] = (".npz", ".csv", ".parquet")
LABEL = "label"
"""column of the classes in .csv and .parquet files"""
MAX_NUMBERS, MAX_CLASSES = 1_000_000, 10_000  # of an example; of a data set
LARGEST = 1e15  # its square is far from float32's largest number


class Arrays(NamedTuple):
    """A labelled data set; `x_test` and `y_test` may have no examples."""

    x: np.ndarray
    """training examples, (n, ...)"""
    y: np.ndarray
    """classes of the training examples, (n,) int64"""
    x_test: np.ndarray
    y_test: np.ndarray


def is_own(name: str) -> bool:
    """True if a dataset's name is the path of a file that is read here, or of a plugin's function, `module.function`."""
    return _is_file(name) or ("." in name and not os.path.exists(name) and plugins.is_path(name))


def _is_file(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def refuse_file(name: str) -> None:
    """Raise UsageError if the name is the path of another kind of file or of a folder."""
    if os.path.exists(name):
        raise UsageError(f"{name} is not one of the files that hold data sets: {', '.join(SUFFIXES)}")


def stamp(name: str) -> tuple[int, ...]:
    """Numbers that change when a file does; empty for anything else. Raises UsageError for a file that cannot be read."""
    if not _is_file(name):
        return ()
    try:
        found = Path(name).stat()
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def read(name: str) -> Arrays:
    """The data set in a file or returned by a plugin's function, checked. Raises UsageError in one line."""
    return _read(name, stamp(name))


@lru_cache(maxsize=2)
def _read(name: str, stamp: tuple[int, ...]) -> Arrays:
    readers = dict(zip(SUFFIXES, (_npz, _csv, _parquet), strict=True))
    reader = readers[Path(name).suffix.lower()] if _is_file(name) else _call
    return checked(name, reader(name))


def _npz(name: str) -> dict[str, np.ndarray]:
    try:
        with open(name, "rb") as file:
            if file.read(2) != b"PK":  # the beginning of every zip
                raise UsageError(f"{name} is not an .npz file; numpy.savez(path, x=..., y=...) writes one")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return {each: arrays[each] for each in arrays.files}
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror or error}") from error
    except Exception as error:  # a damaged zip fails in many ways
        if isinstance(error, ValueError) and "pickle" in str(error):
            raise UsageError(f"{name} holds Python objects; its arrays must hold numbers") from error
        raise UsageError(f"{name} is damaged: {error}") from error


def _csv(name: str) -> dict[str, np.ndarray]:
    import pandas.errors

    text, separator = read_table(Path(name))
    head, _, body = text.lstrip("\n").partition("\n")
    header = next(csv.reader([head], delimiter=separator, skipinitialspace=True), [])
    if not body.strip():
        raise UsageError(f"{name} has no rows: its first names its columns, and each other is an example")
    try:
        frame = pandas.read_csv(io.StringIO(body), sep=separator, header=None, skipinitialspace=True, low_memory=False)
    except pandas.errors.ParserError as error:
        raise UsageError(f"{name}, below its header: {' '.join(str(error).split())}") from error
    if frame.shape[1] != len(header):
        raise UsageError(f"{name} has {frame.shape[1]} cells in its rows, and {len(header)} columns")
    return _columns(name, frame.set_axis(header, axis=1))


def _parquet(name: str) -> dict[str, np.ndarray]:
    import pandas

    try:
        importlib.import_module("pyarrow")
    except ImportError as error:
        raise UsageError(f"{name}: .parquet files are read by pyarrow, which is not installed: pip install pyarrow") from error
    try:
        frame = pandas.read_parquet(name, engine="pyarrow")
    except Exception as error:  # a damaged file fails in many ways
        raise UsageError(f"{name} is not a readable .parquet file: {str(error) or type(error).__name__}") from error
    return _columns(name, frame)


def _columns(name: str, frame: Any) -> dict[str, np.ndarray]:
    """The column `label` as y, and all others, which must hold numbers, as x."""
    import pandas

    columns = [str(each).strip().lower() for each in frame.columns]
    if columns.count(LABEL) != 1:
        found = "several columns" if LABEL in columns else "no column"
        raise UsageError(f"{name} has {found} {LABEL}: it holds the classes, 0 to k-1, and all other columns are inputs")
    for number, column in enumerate(columns):
        values = frame.iloc[:, number]
        if not pandas.api.types.is_numeric_dtype(values):
            example = int(np.isnan(np.asarray(pandas.to_numeric(values, errors="coerce"), float)).argmax())
            raise UsageError(f"{name}: column {column} holds {values.iloc[example]!r} in example {example} (from 0), not a number")
    numbers = frame.to_numpy(dtype=np.float64, na_value=np.nan)
    label = columns.index(LABEL)
    with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, and are refused as such
        return {"x": np.delete(numbers, label, axis=1).astype(np.float32), "y": numbers[:, label]}


def _call(name: str) -> dict[str, np.ndarray]:
    """The arrays that a plugin's function returns: (x, y), or (x, y, x_test, y_test)."""
    function = plugins.function(name)
    try:
        found = function()
        arrays = [np.asarray(each) for each in found] if isinstance(found, tuple) else []
    except Exception as error:  # a user's function may fail in any way
        raise UsageError(f"{name} failed: {type(error).__name__}: {error}") from error
    if len(arrays) not in (2, 4):
        raise UsageError(f"{name} must return arrays: (x, y) or (x, y, x_test, y_test)")
    return dict(zip(Arrays._fields, arrays, strict=False))


def checked(name: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays of a data set. Raises UsageError, which begins with `name`, for the first that is missing or not as it should be."""
    for each in arrays:
        if each not in Arrays._fields:
            raise UsageError(f"{name} has an unknown array {each!r}; {nearest(each, Arrays._fields)}")
    wanted = ("x", "y", *(("x_test", "y_test") if {"x_test", "y_test"} & set(arrays) else ()))
    if absent := [each for each in wanted if each not in arrays]:
        raise UsageError(f"{name} lacks {' and '.join(absent)}: it needs x (n, ...) and y (n,), and may have x_test and y_test")
    x, y = _inputs(f"{name}: x", arrays["x"]), arrays["y"]
    labels = _labels(f"{name}: y", y, len(x))
    classes = int(labels.max()) + 1
    present = np.bincount(labels, minlength=classes) > 0
    if not present.all():
        raise UsageError(f"{name}: y must be the classes 0 to k-1, but of 0 to {classes - 1} class {present.argmin()} has no example")
    if "x_test" not in arrays:
        return Arrays(x, labels, x[:0], labels[:0])
    x_test = _inputs(f"{name}: x_test", arrays["x_test"])
    if x_test.shape[1:] != x.shape[1:]:
        raise UsageError(f"{name}: examples of x_test have shape {x_test.shape[1:]}, those of x {x.shape[1:]}")
    y_test = _labels(f"{name}: y_test", arrays["y_test"], len(x_test))
    if y_test.max() >= classes:
        raise UsageError(f"{name}: y_test holds class {y_test.max()}, but y only 0 to {classes - 1}")
    return Arrays(x, labels, x_test, y_test)


def _inputs(where: str, x: np.ndarray) -> np.ndarray:
    if x.dtype.kind not in "buif":
        raise UsageError(f"{where} has dtype {x.dtype}; it must hold numbers, uint8 or float")
    if not 2 <= x.ndim <= 4 or 0 in x.shape:
        raise UsageError(f"{where} has shape {x.shape}; it must be (n, ...), n examples of one to three dimensions")
    if prod(x.shape[1:]) > MAX_NUMBERS:
        raise UsageError(f"{where} has examples of shape {x.shape[1:]}; one has at most {MAX_NUMBERS} numbers")
    if x.dtype.kind == "f":
        for start in range(0, len(x), 1000):
            most = np.abs(x[start : start + 1000]).reshape(-1, prod(x.shape[1:])).max(1)
            if not (most <= LARGEST).all():
                raise UsageError(f"{where}[{start + (~(most <= LARGEST)).argmax()}] holds NaN, infinity or a number beyond {LARGEST:g}")
    return x


def _labels(where: str, y: np.ndarray, examples: int) -> np.ndarray:
    if y.shape != (examples,):
        raise UsageError(f"{where} has shape {y.shape}; {examples} examples need ({examples},)")
    if y.dtype.kind not in "buif":
        raise UsageError(f"{where} has dtype {y.dtype}; it must hold classes, whole numbers from 0")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise UsageError(f"{where}[{(~np.isfinite(y)).argmax()}] is NaN or infinity")
    wrong = (y < 0) | (y >= MAX_CLASSES) | (y != np.floor(y))
    if wrong.any():
        example = int(wrong.argmax())
        raise UsageError(f"{where}[{example}] is {y[example].item()!r}; labels must be classes, 0 to k-1, at most {MAX_CLASSES}")
    return y.astype(np.int64)
