"""The report of a set of runs: one self-contained page, CSV files and the figures. The same runs give the same bytes.

A section for each setting, opened by its verdict and closed by what is missing. Nothing is written where the input is wrong.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Group

from analysis import tables
from analysis.consistency import count
from analysis.drawing import Picture, looks
from analysis.load import load
from analysis.scores import settings
from analysis.sections import Section, draw, methods, scale, section, sequence_scale
from plasticity_rl.checks import UsageError


class Report(NamedTuple):
    """What was written, and what it says."""

    page: Path
    sections: tuple[Section, ...]


def write_report(folders: Sequence[Path], out: Path) -> Report:
    """Read all runs at or below `folders`; write report.html, scores.csv, summary.csv and the figures into `out`;
    and sequence.csv, where there is a sequence of games whose tasks are evaluated after they were left, or met again.

    Raises UsageError for runs that cannot be reported (load.py), and for an `out` that is no folder or cannot be written to.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is not a folder: name a new one for the report")
    loaded = load([Path(folder) for folder in folders])
    benchmarks = [run.spec.benchmark for run in {run.spec.setting: run for run in loaded.runs}.values()]
    found = {run.spec.setting: run.spec.benchmark for run in loaded.runs}
    sections = tuple(section(loaded, key, alone=benchmarks.count(found[key]) == 1) for key in settings(loaded))
    control = next((run.spec.label for run in loaded.runs if run.spec.fresh_control), None)
    drawn = looks((run.spec.label for run in loaded.runs), control)
    pictures = [draw(part, loaded, drawn, number) for number, part in enumerate(sections, start=1)]
    files = {
        "report.html": _page(sections, pictures).encode(),
        "scores.csv": tables.scores_csv(sections).encode(),
        "summary.csv": tables.summary_csv(sections).encode(),
        **({"sequence.csv": tables.sequence_csv(sections).encode()} if any(part.sequence for part in sections) else {}),
        **{one.name: one.png for some in pictures for one in some},
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (out / name).write_bytes(content)
    except OSError as error:
        raise UsageError(f"cannot write the report to {out}: {error.strerror}") from error
    return Report(out / "report.html", sections)


def terminal_table(report: Report) -> Group:
    """The verdict tables for a terminal: `rich.print(terminal_table(report))`."""
    return tables.terminal(report.sections)


def _page(sections: Sequence[Section], pictures: Sequence[Sequence[Picture]]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(cell=tables.cell, headings=tables.headings, methods=methods, scale=scale, count=count, inline=_inline)
    environment.globals.update(
        sequence_scale=sequence_scale, sequence_cell=tables.sequence_cell, sequence_headings=tables.sequence_headings
    )
    return environment.get_template("report.html").render(parts=list(zip(sections, pictures, strict=True)))


def _inline(svg: bytes) -> str:
    """A picture as an address that holds it."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
