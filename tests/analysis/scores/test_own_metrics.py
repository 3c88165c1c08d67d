"""Metrics of people's own modules in reports: a column, a panel and a file, with CONTRIBUTING's example as it stands in metrics.csv."""

from pathlib import Path

import numpy as np
import pytest

from analysis.data.load import load
from analysis.report.page import write_report
from analysis.scores.own_metrics import own_metrics, own_names
from analysis.scores.setting import score, settings
from plasticity_rl.records.events import Metric
from tests.fake_runs import diagnostic_rows, online_rows, spec, write_run

NAME = "my_metrics.Above"
MEMBERS = (0.0, 0.1, 0.2)


def write(root: Path, own: bool) -> None:
    """Values 0.1 a visit, 1 in every visit's first half, and in hidden1 0.2 more than in hidden0; untrained networks have -0.5."""
    for label in ("none", "redo"):
        run = spec(label, 0, "abcd", 1000)
        found: list[Metric] = []
        for visit in run.visits:
            for updates, value in ((500, 1.0), (1000, 0.1 * visit["index"])):
                for member, more in enumerate(MEMBERS):
                    at = visit["index"] * 1000 + updates
                    where = (member, visit["index"], visit["task"], 0, 0, at, at)
                    found += [Metric(*where, f"{NAME}/hidden{layer}", value + more + 0.2 * layer) for layer in (0, 1)]
                    found.append(Metric(*where, f"{NAME}_fresh/hidden0", -0.5))
        rows = [*diagnostic_rows(run), *(found if own else [])]
        write_run(root, run, online_rows(run, np.full((3, 4), 0.5)), sorted(rows, key=lambda row: row.updates))


def test_values_at_the_end(tmp_path: Path) -> None:
    write(tmp_path, own=True)
    loaded = load([tmp_path])
    rows = own_metrics(loaded, score(loaded, settings(loaded)[0]))
    assert [row.label for row in rows] == ["none", "redo"]
    # The last two of four visits, 2 and 3: 0.25, and 0.1 for the layers' mean, and 0.1 for the members'.
    assert rows[0].values[NAME].value == pytest.approx(0.25 + 0.1 + 0.1) and rows[0].values[NAME].members == 3
    assert rows[0].untrained[NAME].value == pytest.approx(-0.5)


def test_reports_have_a_column_a_panel_and_a_file(tmp_path: Path) -> None:
    write(tmp_path / "own", own=True)
    write(tmp_path / "plain", own=False)
    (part,), (plain,) = (write_report([tmp_path / name], tmp_path / f"{name}-report").parts for name in ("own", "plain"))
    table = part.tables[-1]
    assert table.title == "Metrics of own modules" and [each.title for each in table.headings] == ["Chain", NAME]
    assert [line.cells[0].value for line in table.lines] == ["0.450", "0.450"] and "untrained -0.500" in table.lines[0].cells[0].note
    drawn = {figure.alt: figure.svg for figure in part.figures if "diagnostics" in figure.name}
    assert all(NAME in alt for alt in drawn) and all(NAME.encode() in svg for svg in drawn.values()) and len(drawn) == 1
    assert (tmp_path / "own-report" / "own-metrics.csv").read_text().count(NAME) == 4
    assert plain.tables[-1].title != table.title and not (tmp_path / "plain-report" / "own-metrics.csv").exists()


def test_names() -> None:
    assert own_names(["loss", "my_metrics.Above", "my_metrics.Above_fresh", "weight_norm", "a.b.C"]) == ["a.b.C", "my_metrics.Above"]
