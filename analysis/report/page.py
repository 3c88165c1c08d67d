"""The report of a set of runs: one self-contained page, a summary in Markdown, tables and figures. The same runs give the same bytes.

A part for each setting, or for a suite of settings that differ in their tasks alone, the most conclusive first; each is opened by its
verdict, a figure and a table, and closed by what is missing. Nothing is written where the input is wrong.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Group

from analysis.data.load import load
from analysis.data.provenance import Origin, origins
from analysis.figures.style import FigureFiles, looks
from analysis.format import count
from analysis.published.scores import PublishedScores, obstacle, spelled, unknown
from analysis.published.sources import read_published
from analysis.report import export, markdown, tables, terminal
from analysis.report.figures import draw, draw_suite
from analysis.report.learning_rates import METHODS, rate_parts
from analysis.report.methods import Lines, methods, suite_methods
from analysis.report.own_metrics import own_table
from analysis.report.rewards import reward_table
from analysis.report.sections import Section, SuiteSection, conclusiveness, section, suite_section
from analysis.report.tables import Table
from analysis.scores.setting import settings
from analysis.scores.suites import apart, group, suite, task_name
from plasticity_rl.checks import UsageError
from plasticity_rl.records.folder import refuse_file

FEW = 4
"""most settings of a suite that keep parts of their own beside it"""


class Part(NamedTuple):
    """One setting or suite on the page."""

    name: str
    reading: str
    banner: str
    tables: tuple[Table, ...]
    """the verdict first"""
    figures: tuple[FigureFiles, ...]
    """the one that stands under the reading first"""
    methods: Lines
    hashes: tuple[tuple[str, str], ...]
    """(chain, `seed digest, seed digest, ...`)"""
    missing: tuple[str, ...]


class Report(NamedTuple):
    """The written report."""

    page: Path
    sections: tuple[Section, ...]
    """one for each setting, including those in suites"""
    suites: tuple[SuiteSection, ...]
    parts: tuple[Part, ...]


def write_report(folders: Sequence[Path], out: Path, published: Sequence[str] = ()) -> Report:
    """Read all runs at or below `folders`, and other people's scores (published/sources.py); write into `out` report.html, report.md,
    the tables of tables.py as .csv and .parquet, and the figures as .png and .pdf.

    Raises UsageError for runs and scores that cannot be reported (load.py, published/), and for an `out` that is no folder or cannot be
    written to.
    """
    loaded = load([Path(folder) for folder in folders])
    refuse_file(out, "report")
    tasks = {visit["task"] for run in loaded.runs for visit in run.spec.visits}
    others = tuple(spelled(each, tasks) for each in read_published(published))
    strange = unknown(others, tasks)
    if others and not any(tasks & set(each.scores) for each in others):
        raise UsageError(f"none of their tasks is one of the runs': {strange[0]}")
    keys, grouped = settings(loaded), group(loaded.runs)
    benchmarks = [run.spec.benchmark for run in {run.spec.setting: run for run in loaded.runs}.values()]
    found = {run.spec.setting: run.spec.benchmark for run in loaded.runs}
    elsewhere = dict(apart(loaded.runs))
    sections = {key: section(loaded, key, benchmarks.count(found[key]) == 1, elsewhere.get(key, ""), others) for key in keys}
    for key in chain.from_iterable(some for _, some in grouped):
        sections[key] = replace(sections[key], name=f"{found[key]}: {task_name(sections[key].setting)}")
    suites = tuple(
        suite_section(loaded, suite([sections[key].setting for key in some], field), [sections[key] for key in some], others)
        for field, some in grouped
    )
    hidden = {key for _, some in grouped if len(some) > FEW for key in some}
    control = next((run.spec.label for run in loaded.runs if run.spec.control_of == "none"), None)
    drawn = looks((run.spec.label for run in loaded.runs if run.spec.control_of in ("", "none")), control)
    read = origins(loaded.runs)
    shown = [part for key, part in sections.items() if key not in hidden]
    parts = [
        _part(part, number, tables.suite_tables(part), draw_suite(part, drawn, number), suite_methods(part), read)
        if isinstance(part, SuiteSection)
        else _part(part, number, _tables(part), draw(part, loaded, drawn, number), methods(part), read)
        for number, part in enumerate(sorted([*suites, *shown], key=conclusiveness), start=1)
    ]
    if left_out := [*strange, *_not_shown(others, tasks, [*suites, *shown], sections.values())]:
        parts[0] = parts[0]._replace(missing=(*left_out, *parts[0].missing))
    rates = rate_parts([part.setting for part in sections.values()], drawn)
    parts = [*(Part(name, said, "", (made,), (figure,), METHODS, (), ()) for name, said, made, figure in rates), *parts]
    files = {"report.html": _page(parts).encode(), "report.md": _summary(parts).encode()}
    for name, table in export.data_tables(list(sections.values()), suites, read).items():
        files |= {f"{name}.csv": table.csv(), f"{name}.parquet": table.parquet()}
    files |= dict(chain.from_iterable(figure.files.items() for part in parts for figure in part.figures))
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (out / name).write_bytes(content)
    except OSError as error:
        raise UsageError(f"cannot write the report to {out}: {error.strerror}") from error
    return Report(out / "report.html", tuple(sections.values()), suites, tuple(parts))


def _not_shown(
    others: Sequence[PublishedScores], tasks: set[str], shown: Sequence[Section | SuiteSection], sections: Iterable[Section]
) -> list[str]:
    """A line for each published agent with scores of the runs' tasks that stand in no part of the page, and why."""
    lines: list[str] = []
    for each in others:
        there = {task for part in shown if any(each is one for one, _ in part.published) for task in part.matrix.of}
        reasons: dict[str, list[str]] = {}
        for task in sorted(tasks & set(each.scores) - there):
            found = next((obstacle(part.matrix, each) for part in sections if task in part.matrix.of), "")
            reasons.setdefault(found or "its setting has no part of its own here; report its folders alone", []).append(task)
        lines += [f"published: {each.label}'s scores of {', '.join(some)} are not shown: {why}" for why, some in reasons.items()]
    return lines


def _tables(part: Section) -> list[Table]:
    """All tables of one setting: the verdict, the rewards of untold changes, the others, and metrics of own modules."""
    verdict, *others = tables.setting_tables(part)
    rewards = [reward_table(part.setting, part.rewards)] if part.rewards else []
    return [verdict, *rewards, *others, *([own_table(part)] if part.own_metrics else [])]


def _part(
    part: Section | SuiteSection, number: int, made: Sequence[Table], figures: Sequence[FigureFiles], told: Lines, read: Sequence[Origin]
) -> Part:
    own = {run.spec.key for run in part.runs}
    ordered = sorted((origin for origin in read if origin.run.spec.key in own), key=lambda origin: origin.run.spec.label)
    hashes = tuple(
        (label, ", ".join(f"{origin.run.spec.key}: {origin.digest[:16]}" for origin in some))
        for label, some in groupby(ordered, key=lambda origin: origin.run.spec.label)
    )
    return Part(part.name, part.reading, part.banner, tuple(made), tuple(figures), told, hashes, part.missing)


def terminal_table(report: Report) -> Group:
    """The verdict tables for a terminal: `rich.print(terminal_table(report))`."""
    return Group(*(terminal.verdict(part.name, part.tables[0], part.reading, part.banner, part.missing) for part in report.parts))


def _page(parts: Sequence[Part]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(count=count, inline=_inline)
    return environment.get_template("report.html").render(parts=parts)


def _inline(svg: bytes) -> str:
    """A figure as an address that holds it."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def _summary(parts: Sequence[Part]) -> str:
    lines = markdown.heading("Plasticity report", 1)
    for part in parts:
        lines += markdown.heading(part.name, 2)
        lines += [f"**{markdown.escape(part.banner)}**", ""] if part.banner else []
        lines += [markdown.escape(part.reading), ""]
        figures = [f"![{markdown.escape(figure.alt)}]({figure.name}.png)\n" for figure in part.figures]
        lines += figures[:1]
        for made in part.tables:
            lines += markdown.table(made if made.title else made._replace(title="Verdict"), 3)
        lines += figures[1:]
        lines += [*markdown.heading("Methods", 3), *markdown.listed(part.methods)]
        lines += [*markdown.heading("Runs", 3), "SHA-256 of each run's files, the first 16 digits; all in runs.csv.", ""]
        lines += markdown.listed(part.hashes)
        lines += [*markdown.heading("What is missing", 3), *markdown.listed(part.missing or ["Nothing."])]
    return "\n".join(lines).rstrip() + "\n"
