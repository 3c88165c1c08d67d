"""A summary in Markdown, for a paper's appendix: the same tables and methods as on the page."""

import re
from collections.abc import Iterable, Sequence

from analysis.report.tables import Cell, Table


def heading(text: str, level: int) -> list[str]:
    return [f"{'#' * level} {escape(text)}", ""]


def table(made: Table, level: int) -> list[str]:
    """One table, with its title and what its numbers are."""
    lines = heading(made.title, level) if made.title else []
    lines.append("| " + " | ".join(escape(f"{each.title} ({each.small})" if each.small else each.title) for each in made.headings) + " |")
    lines.append("|---" + "|---:" * (len(made.headings) - 1) + "|")
    for line in made.lines:
        label = escape(line.label) + (f" ({line.mark})" if line.mark else "")
        cells = [f"**{label}**" if line.mark == "best" else label, *map(_cell, line.cells)]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, "", escape(made.text), ""]


def _cell(cell: Cell) -> str:
    note = f"({cell.note})" if cell.note else ""
    return escape(f"{cell.text} {note}".strip())


def listed(lines: Iterable[tuple[str, str]] | Sequence[str]) -> list[str]:
    """A list of sentences, or of names with text."""
    made = [f"- {escape(line)}" if isinstance(line, str) else f"- **{escape(line[0])}**: {escape(line[1])}" for line in lines]
    return [*made, ""]


def escape(text: str) -> str:
    """As plain text, whatever a name holds."""
    return re.sub(r"([\\`*_{}\[\]<>#|&])", r"\\\1", " ".join(text.split()))
