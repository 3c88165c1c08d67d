"""Readers for text, JSON, TOML and CSV files from any program. Imports no torch."""

import codecs
import csv
import io
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from plasticity_rl.checks import UsageError, nearest

SEPARATORS = ",;\t"


def read_text(path: Path) -> str:
    r"""The text of a file in UTF-8, with or without a byte-order mark, or in UTF-16 with one. Each line ends in \n.

    Raises UsageError for a file that cannot be read and for any other encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not content.startswith(codecs.BOM_UTF32_LE)
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        where = "is damaged UTF-16" if utf16 else f"is not UTF-8 in line {line} (byte 0x{content[error.start]:02x})"
        raise UsageError(f"{path} {where}; save it as UTF-8") from error
    if "\0" in text:
        raise UsageError(f"{path} is not UTF-8 text: it holds bytes of value 0, as UTF-16 without a byte-order mark does; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_json(text: str) -> Any:
    """The value that JSON text describes. Raises ValueError for anything else, and for brackets nested deeper than Python can follow."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def read_toml(path: Path) -> dict[str, Any]:
    """Table in a TOML file. Raises UsageError if the file is not TOML."""
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deep") from error


def read_table(path: Path) -> tuple[str, str]:
    """Text of a CSV file, and its separator: the comma, semicolon or tab that the header has most of. Lines above the header that begin
    with # are blank, so that lines keep their numbers.
    """
    lines = read_text(path).split("\n")
    notes = next((at for at, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    text = "\n".join([""] * notes + lines[notes:])
    return text, max(SEPARATORS, key=text.lstrip("\n").partition("\n")[0].count)


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header of a CSV file (see `read_table`), and each non-blank row with its line number; cells are stripped.

    Raises UsageError for a file without a header, and for a row of another length than the header.
    """
    text, separator = read_table(path)
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise UsageError(f"{path}, row {reader.line_num}: not CSV: {error}") from error
    if not rows:
        raise UsageError(f"{path} is empty: its first row should name its columns")
    (_, header), *rows = rows
    for number, row in rows:
        if len(row) != len(header):
            raise UsageError(f"{path}, row {number}: {len(row)} cells in {len(header)} columns")
    return header, rows


def choose_columns(path: Path, header: Iterable[str], columns: Iterable[str]) -> list[str]:
    """Header in the spelling of `columns`, compared without case. Raises UsageError unless it has exactly those columns, in any order."""
    columns, found = list(columns), []
    for name in header:
        if name.lower() not in columns:
            raise UsageError(f"{path}: unknown column {name!r}; {nearest(name, columns)}")
        if name.lower() in found:
            raise UsageError(f"{path}: the column {name} appears twice")
        found.append(name.lower())
    if absent := [name for name in columns if name not in found]:
        raise UsageError(f"{path} lacks the column{'s' * (len(absent) > 1)} {', '.join(absent)}")
    return found
