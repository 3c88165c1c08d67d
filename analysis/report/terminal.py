"""The verdict tables in a terminal of 80 columns or more."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from analysis.format import UNDEFINED
from analysis.report.tables import Cell, Grid

COLUMNS = 4
"""of numbers; the page has all"""
MOST = 12
"""lines of what is missing; the page has all"""


def verdict(name: str, grid: Grid, reading: str, banner: str, missing: Sequence[str]) -> Group:
    """One part of the report."""
    table = Table(title=Text(name), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for number, (heading, small) in enumerate(grid.headings[: COLUMNS + 1]):
        text = Text(f"{heading}\n{small}".strip())
        table.add_column(text, justify="right" if number else "left", overflow="fold", min_width=14 if number else None)
    for line in grid.lines:
        label = Text(line.label, style="bold" if line.mark == "best" else "") + Text(f" ({line.mark})" if line.mark else "")
        table.add_row(label, *map(_lines, line.cells[:COLUMNS]))
    reasons = dict.fromkeys(
        f"not defined: {cell.note}" for line in grid.lines for cell in line.cells[:COLUMNS] if cell.value == UNDEFINED and cell.note
    )
    parts: list[Any] = [table, *(Text(reason, style="dim") for reason in reasons), Text(reading)]
    parts += [Text(banner, style="bold red")] if banner else []
    more = [f"- and {len(missing) - MOST} more, on the page"] if len(missing) > MOST else []
    parts.append(Text("\n".join(["Missing:", *(f"- {line}" for line in missing[:MOST]), *more]) if missing else "Missing: nothing"))
    return Group(*parts)


def _lines(cell: Cell) -> Text:
    """A cell, its interval below the value; why something is not defined stands below the table."""
    interval = f"\n{cell.interval.replace(', ', ',')}" if cell.interval else ""
    note = f"\n{cell.note}" if cell.note and cell.value != UNDEFINED else ""
    return Text(cell.value + interval) + Text(note, style="dim")
