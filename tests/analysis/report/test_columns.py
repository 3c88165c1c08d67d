"""The verdict's columns: one row of columns.py is one number everywhere in the report."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from analysis.report.columns import AGGREGATES, SEQUENCE, SUITE, VERDICT, Column
from analysis.report.page import terminal_table, write_report
from analysis.scores.sequential import MEASURES
from analysis.statistics.intervals import Estimate
from tests.fake_runs import online

DOCUMENTED = (Path(__file__).parents[3] / "docs" / "report.md").read_text()


@pytest.mark.parametrize("column", VERDICT, ids=lambda column: column.name)
def test_every_column_has_its_line_in_the_documentation(column: Column) -> None:
    assert any(line.startswith(f"| {column.title}") and f"| `{column.name}` |" in line for line in DOCUMENTED.splitlines())


def test_names_are_told_apart_and_a_terminal_has_room() -> None:
    for table in (VERDICT, SUITE):
        assert len({column.name for column in table}) == len({column.title for column in table}) == len(table)
        assert sum(column.terminal for column in table) <= 4
    assert {column.name for column in SUITE} == {*AGGREGATES, "plasticity_kept", "performance"}
    assert set(SEQUENCE) == set(MEASURES)


@pytest.mark.usefixtures("undrawn")
def test_a_new_column_is_one_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A sum over visits, computed here: it reaches every output of the report without another edit."""
    total = Column(
        "total",
        "Sum of visits",
        lambda part: f"of {len(part.setting.tasks)}",
        lambda part, row: Estimate(float(part.setting.shown(row.chain.area).mean(axis=0).sum()), 1.0, 2.0, 2, 2),
        lambda part: "The scores of all visits, added up.",
    )
    more = (*(replace(column, terminal=False) for column in VERDICT), total)
    for module in ("export", "methods", "tables"):
        monkeypatch.setattr(f"analysis.report.{module}.VERDICT", more)
    online(tmp_path / "runs", "none", np.array([[0.4, 0.5, 0.6], [0.2, 0.3, 0.4]]))
    written = write_report([tmp_path / "runs"], tmp_path / "out")
    (row,) = csv.DictReader(io.StringIO((tmp_path / "out" / "verdict.csv").read_text()))
    assert float(row["total"]) == pytest.approx(0.3 + 0.4 + 0.5) and (row["total_low"], row["total_high"], row["total_members"]) == (
        "1",
        "2",
        "2",
    )
    html, markdown = ((tmp_path / "out" / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert (
        '<th scope="col">Sum of visits<small>of 3</small></th>' in html
        and '<td>1.200<small class="interval">[1.000, 2.000]</small></td>' in html
    )
    assert "<dt>Sum of visits</dt><dd>The scores of all visits, added up.</dd>" in html
    assert "| Sum of visits (of 3) |" in markdown and "**Sum of visits**: The scores of all visits, added up." in markdown
    console = Console(file=io.StringIO(), width=80)
    console.print(terminal_table(written))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Sum of visits" in shown and "1.200" in shown and "First visits" not in shown
