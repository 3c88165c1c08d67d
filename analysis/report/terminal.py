"""The verdict tables in a terminal of 80 columns or more."""

from collections.abc import Sequence
from itertools import compress
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from analysis.format import UNDEFINED
from analysis.report import tables
from analysis.report.tables import Cell

MOST = 12
"""lines of what is missing; the page has all"""


def verdict(name: str, made: tables.Table, reading: str, banner: str, missing: Sequence[str]) -> Group:
    """One part of the report."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    shown = [heading.terminal for heading in made.headings[1:]]
    for number, heading in enumerate(compress(made.headings, [True, *shown])):
        text = Text(f"{heading.title}\n{heading.small}".strip())
        table.add_column(text, justify="right" if number else "left", overflow="fold", min_width=14 if number else None)
    for line in made.lines:
        label = Text(line.label, style="bold" if line.mark == "best" else "") + Text(f" ({line.mark})" if line.mark else "")
        table.add_row(label, *map(_lines, compress(line.cells, shown)))
    reasons = dict.fromkeys(
        f"not defined: {cell.note}" for line in made.lines for cell in compress(line.cells, shown) if cell.value == UNDEFINED and cell.note
    )
    parts: list[Any] = [Text(name, style="bold"), *([Text(banner, style="bold red")] if banner else []), Text(f"{reading}\n")]
    parts += [table, Text(made.intervals, style="dim"), *(Text(reason, style="dim") for reason in reasons)]
    more = [f"- and {len(missing) - MOST} more, on the page"] if len(missing) > MOST else []
    parts.append(Text("\n".join(["Missing:", *(f"- {line}" for line in missing[:MOST]), *more]) if missing else "Missing: nothing"))
    return Group(*parts, Text())


def _lines(cell: Cell) -> Text:
    """A cell, its interval below the value; why something is not defined stands below the table."""
    interval = f"\n{cell.interval.replace(', ', ',')}" if cell.interval else ""
    note = f"\n{cell.note}" if cell.note and cell.value != UNDEFINED else ""
    return Text(cell.value + interval) + Text(note, style="dim")
