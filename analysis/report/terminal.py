"""The verdict tables in a terminal; a narrow one omits the last columns."""

from collections.abc import Sequence
from itertools import compress
from typing import Any, NamedTuple

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from analysis.format import UNDEFINED
from analysis.report import tables
from analysis.report.tables import Cell

MOST = 12
"""lines of what is missing; the page has all"""
CELL = 14
"""characters of a column: an interval such as [-0.124,0.747] on a line of its own"""
LABEL = 10
"""characters of a chain's name before it folds"""


def verdict(name: str, made: tables.Table, reading: str, banner: str, missing: Sequence[str]) -> Group:
    """One part of the report."""
    shown = [heading.terminal for heading in made.headings[1:]]
    reasons = dict.fromkeys(
        f"not defined: {cell.note}" for line in made.lines for cell in compress(line.cells, shown) if cell.value == UNDEFINED and cell.note
    )
    parts: list[Any] = [Text(name, style="bold"), *([Text(banner, style="bold red")] if banner else []), Text(f"{reading}\n")]
    parts += [_Fitted(made), Text(made.intervals, style="dim"), *(Text(reason, style="dim") for reason in reasons)]
    more = [f"- and {len(missing) - MOST} more, on the page"] if len(missing) > MOST else []
    parts.append(Text("\n".join(["Missing:", *(f"- {line}" for line in missing[:MOST]), *more]) if missing else "Missing: nothing"))
    return Group(*parts, Text())


class _Fitted(NamedTuple):
    """A table in as many columns as the terminal has room for."""

    made: tables.Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = [number for number, heading in enumerate(self.made.headings[1:]) if heading.terminal]
        room = max(1, (options.max_width - LABEL) // CELL)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
        table.add_column(_heading(self.made.headings[0]), overflow="fold")
        for number in shown[:room]:
            table.add_column(_heading(self.made.headings[number + 1]), justify="right", overflow="fold", min_width=CELL)
        for line in self.made.lines:
            label = Text(line.label, style="bold" if line.mark == "best" else "") + Text(f" ({line.mark})" if line.mark else "")
            table.add_row(label, *(_lines(line.cells[number]) for number in shown[:room]))
        yield table
        if omitted := [self.made.headings[number + 1].title for number in shown[room:]]:
            yield Text(f"not in this narrow terminal: {', '.join(omitted)}", style="dim")


def _heading(heading: tables.Heading) -> Text:
    return Text(f"{heading.title}\n{heading.small}".strip())


def _lines(cell: Cell) -> Text:
    """A cell, its interval below the value; why something is not defined stands below the table."""
    interval = f"\n{cell.interval.replace(', ', ',')}" if cell.interval else ""
    note = f"\n{cell.note}" if cell.note and cell.value != UNDEFINED else ""
    return Text(cell.value + interval) + Text(note, style="dim")
