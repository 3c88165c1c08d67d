"""Append-only CSV tables of a run, and their readers, which tolerate damage. Imports no torch."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Row, refuse_number

TAIL = 2**16  # bytes read from the end of a growing table
LARGEST = 2**63  # upper limit of counts


class CsvLog:
    """An append-only CSV file of one kind of row. No value holds a comma, a quote or a line break."""

    def __init__(self, path: Path, row: type[Row]) -> None:
        self._hash = hashlib.sha256(path.read_bytes() if path.exists() else b"")
        self._file = open(path, "ab")  # noqa: SIM115 - closed by close()
        if self._file.tell() == 0:
            self._write(_header(row) + b"\n")

    @property
    def digest(self) -> str:
        """The sha256 of everything written so far."""
        return self._hash.hexdigest()

    def append(self, *rows: Row) -> None:
        """Append all rows or none. Raises FloatingPointError for a non-finite value."""
        for row in rows:
            refuse_number(row)
        self._write("".join(",".join(map(str, row[:-1])) + f",{row[-1]!r}\n" for row in rows).encode())

    def sync(self) -> None:
        """Flush to disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        if not self._file.closed:
            self.sync()
        self._file.close()

    def _write(self, content: bytes) -> None:
        self._hash.update(content)
        self._file.write(content)


def write_table(path: Path, row: type[Row], rows: Iterable[Row]) -> None:
    """Write a CSV file at once."""
    table = CsvLog(path, row)
    table.append(*rows)
    table.close()


def truncate(path: Path, length: int, digest: str) -> None:
    """Drop the rows written after a checkpoint. Raises UsageError unless the rows before it are those of `digest`."""
    if not path.exists() or path.stat().st_size < length:
        raise UsageError(f"{path} is shorter than its checkpoint says: rows are missing, so the run cannot be resumed")
    if digest_of(path, length) != digest:
        raise UsageError(f"{path} holds other rows than at its checkpoint: they were edited, so the run cannot be resumed")
    with open(path, "r+b") as file:
        file.truncate(length)
        os.fsync(file.fileno())


def digest_of(path: Path, length: int | None = None) -> str:
    """The sha256 of a file, or of its first `length` bytes."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(length)).hexdigest() if length is not None else hashlib.file_digest(file, "sha256").hexdigest()


def read_rows(path: Path, row: type[Row]) -> tuple[list[Any], list[str]]:
    """Read the whole rows of a CSV file; returns them and one line per problem (a torn last row, a wrong header).

    Reading stops at the first row that cannot be read: later rows are not trusted.
    """
    try:
        *lines, torn = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], [f"{path.name} is missing"]
    except OSError as error:
        return [], [f"{path.name} cannot be read: {error.strerror}"]
    problems = [f"{path.name}: the last row is torn and was left out"] if torn else []
    if not lines or lines[0] != _header(row):
        return [], [f"{path.name}: not the columns of a run"]
    rows = _parse(lines[1:], row)
    if (after := len(lines) - 2 - len(rows)) >= 0:
        problems.append(f"{path.name}: row {len(rows) + 2} cannot be read; it and the {after} after it were left out")
    return rows, problems


def newest_rows(path: Path, row: type[Row]) -> tuple[list[Any], list[str]]:
    """Read the last 64 KiB of a file that may be growing, as `read_rows` does; a missing file or a torn last row is no problem."""
    try:
        with open(path, "rb") as file:
            start = max(file.seek(0, os.SEEK_END) - TAIL, 0)
            file.seek(start)
            *lines, torn = file.read().split(b"\n")
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{path.name} cannot be read: {error.strerror}"]
    header = _header(row)
    if (not start and not (lines[0] == header if lines else header.startswith(torn))) or (start and not lines):
        return [], [f"{path.name}: not the columns of a run"]
    rows = _parse(lines[1:], row)  # the first line is the header, or part of a row
    left = len(lines) - 1 - len(rows)
    return rows, [f"{path.name}: row {left} from the end cannot be read"] if left > 0 else []


def _header(row: type[Row]) -> bytes:
    return ",".join(row._fields).encode()


def _parse(lines: Sequence[bytes], row: type[Row]) -> list[Any]:
    """Parse lines up to the first that cannot be read."""
    kinds = [row.__annotations__[field] for field in row._fields]
    rows: list[Any] = []
    for line in lines:
        try:
            cells = [kind(cell) for kind, cell in zip(kinds, line.decode("utf-8", "replace").split(","), strict=True)]
        except ValueError:
            break
        if any(kind is int and abs(cell) >= LARGEST for kind, cell in zip(kinds, cells, strict=True)):
            break
        rows.append(row(*cells))
    return rows
