"""Numbers as people and programs read them: cells of tables, the CSV files, and the verdict in a terminal."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from analysis.consistency import count
from analysis.scores import member_ratios
from analysis.sections import Section
from analysis.sequential import MEASURES, Comparison
from analysis.statistics import Estimate


def number(value: float) -> str:
    """Three significant decimals for fractions, fewer the larger it is."""
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.3f}"


def cell(found: Estimate) -> tuple[str, str]:
    """A value with its interval, and the small print: how many members, and why something is not there."""
    if not found.defined:
        return "not defined", found.note
    interval = "" if found.low is None or found.high is None else f" [{number(found.low)}, {number(found.high)}]"
    members = f"{found.runs} of {found.of} members" if found.runs < found.of else ""
    return number(found.value) + interval, "; ".join(filter(None, [members, found.note]))


def headings(section: Section) -> list[tuple[str, str]]:
    """Of the verdict table: what a column shows, and of which visits."""
    first, last = section.spans
    return [
        ("Chain", ""),
        ("Members", "complete"),
        ("First visits", f"mean of {first}"),
        ("Last visits", f"mean of {last}"),
        ("IQM", "all visits"),
        ("Plasticity ratio", f"visits {last}" if "-" in last else f"visit {last}"),
    ]


def sequence_headings(section: Section) -> list[tuple[str, str]]:
    """Of the sequence's table: what a column shows, and of how much."""
    small = {"retention": "{} of task and later visit", "relearning_time": "{}, over the visit before", "later_over_first": "{}, by area"}
    measures = section.sequence[0].measures
    return [("Chain", "")] + [
        (MEASURES[name], small[name].format(count(len(compared.at), compared.noun.removesuffix("s"))))
        for name, compared in measures.items()
    ]


def sequence_cell(compared: Comparison) -> tuple[str, str]:
    """The mean over all columns with its interval, a dash where it is not defined; and the small print."""
    value, note = cell(compared.overall)
    reached = compared.counts() if compared.overall.defined else None
    small = [f"{reached[0]} of {reached[1]} reached it" if reached else "", note]
    return value if compared.overall.defined else "\N{EN DASH}", "; ".join(filter(None, small))


def terminal(sections: Sequence[Section]) -> Group:
    """The verdict tables for a terminal of 80 columns or more: `rich.print(terminal(report.sections))`."""
    parts: list[Any] = []
    for section in sections:
        table = Table(title=Text(section.name), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
        for number, (heading, visits) in enumerate(headings(section)):
            text = Text(f"{heading}\n{visits}".strip())
            table.add_column(text, justify="right" if number else "left", overflow="fold", min_width=13 if number > 1 else None)
        reasons: list[str] = []
        for row in section.rows:
            found = (row.first, row.last, row.overall, row.plasticity)
            name = Text(row.label, style="bold" if row.best else "") + Text(" (best)" if row.best else "")
            table.add_row(name, f"{row.members} of {row.of}", *map(_lines, found))
            reasons += [f"not defined: {one.note}" for one in found if not one.defined]
        parts += [table, *(Text(reason, style="dim") for reason in dict.fromkeys(reasons)), Text(section.reading)]
        parts += [Text(section.banner, style="bold red")] if section.banner else []
        parts += [Text("Missing: nothing" if not section.missing else "Missing:\n" + "\n".join(f"- {line}" for line in section.missing))]
    return Group(*parts)


def _lines(found: Estimate) -> Text:
    """A cell, its interval below the value; why something is not defined stands below the table."""
    value, note = cell(found)
    return Text(value.replace(" [", "\n[").replace(", ", ",")) + Text(f"\n{note}" if note and found.defined else "", style="dim")


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _plain(value: float | None) -> str:
    """A number as a cell; empty where there is none."""
    return "" if value is None or not math.isfinite(value) else f"{value:.10g}"


def scores_csv(sections: Sequence[Section]) -> str:
    """A row for each setting, chain, seed, member and visit. Empty cells are missing scores; `no_ratio` says why there is no ratio."""
    header = ["setting", "benchmark", "chain", "fresh_control", "seed", "member", "visit", "task", "cycle", "kind"]
    rows: list[list[Any]] = []
    for setting in (section.setting for section in sections):
        spec = setting.spec
        for chain in setting.chains:
            ratios, shown = member_ratios(setting, chain), setting.shown(chain.area)
            for run, (seed, member) in enumerate(setting.pairs):
                for visit, described in enumerate(spec.visits):
                    where = [spec.setting, spec.benchmark, chain.label, chain.fresh_control, seed, member, visit]
                    where += [described["task"], described["cycle"], setting.kind]
                    normalised = shown[run, visit] if setting.normalised else None
                    numbers = [_plain(value) for value in (chain.area[run, visit], normalised, ratios[run, visit])]
                    rows.append([*where, *numbers, setting.no_ratio[visit]])
    return _csv([*header, "area", "human_normalised_area", "ratio", "no_ratio"], rows)


def summary_csv(sections: Sequence[Section]) -> str:
    """The verdict table: a row for each setting and chain; each estimate with its interval, its members, and its note."""
    header = ["setting", "benchmark", "chain", "fresh_control", "best", "members", "of", "first_visits", "last_visits"]
    estimates = ("first", "last", "kept", "overall", "plasticity")
    for name in ("first", "last", "last_over_first", "iqm", "plasticity_ratio"):
        header += [name, f"{name}_low", f"{name}_high", f"{name}_members", f"{name}_note"]
    rows: list[list[Any]] = []
    for section in sections:
        spec = section.setting.spec
        for row in section.rows:
            line: list[Any] = [spec.setting, spec.benchmark, row.label, row.fresh_control, row.best, row.members, row.of, *section.spans]
            for found in (getattr(row, name) for name in estimates):
                line += [_plain(found.value), _plain(found.low), _plain(found.high), found.runs, found.note]
            rows.append(line)
    return _csv(header, rows)


def sequence_csv(sections: Sequence[Section]) -> str:
    """A row for each setting, chain, measure, task and visit; and one without task and visit, the mean over those that are defined.

    The measures are those of sequential.py. `reached` of `attempts`: in how many visits of members the level was reached.
    """
    header = ["setting", "benchmark", "chain", "fresh_control", "measure", "task", "visit"]
    header += ["value", "low", "high", "members", "of", "reached", "attempts", "note"]
    rows: list[list[Any]] = []
    for section in sections:
        spec = section.setting.spec
        for row in section.sequence:
            for name, compared in row.measures.items():
                cells = [(("", ""), compared.overall, compared.counts())]
                cells += [
                    (at, found, compared.counts(column)) for column, (at, found) in enumerate(zip(compared.at, compared.each, strict=True))
                ]
                for at, found, reached in cells:
                    line = [spec.setting, spec.benchmark, row.label, row.fresh_control, name, *at]
                    line += [_plain(found.value), _plain(found.low), _plain(found.high), found.runs, found.of]
                    rows.append([*line, *(reached or ("", "")), found.note])
    return _csv(header, rows)
