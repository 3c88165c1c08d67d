"""A report's files: the tables of a sequence of games, the same numbers in every format, and the hashes of runs."""

import hashlib
import re
from pathlib import Path

import pytest
from pyarrow import parquet

from analysis.report import markdown
from analysis.report.methods import methods
from analysis.report.page import Report, write_report
from tests.analysis.report import table
from tests.fake_runs import forgetful


@pytest.fixture(scope="module")
def forgotten(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """Four games, twice: without intervention each visit learns less and retains less; one member misses one evaluation."""
    root = tmp_path_factory.mktemp("sequence")
    none, *_ = [forgetful(root / "runs", *chain) for chain in (("none", 0.15, 0.5), ("nap", 0.0, 0.8), ("fresh", 0.0, 0.0))]
    scores = none / "scores.csv"
    scores.write_text(
        "".join(line for line in scores.read_text().splitlines(True) if not (line.startswith("3,2,Alien") and "evaluation" in line))
    )
    return root, write_report([root / "runs"], root / "out")


def test_a_sequence_of_games_has_a_table_of_its_own(forgotten: tuple[Path, Report]) -> None:
    page = forgotten[1].page.read_text()
    section = forgotten[1].sections[0]
    assert page.count("<h3>Sequence</h3>") == 1
    assert '<th scope="col">Retention<small>18 pairs of task and later visit</small></th>' in page
    interval = r'<small class="interval">\[0\.\d+, \d\.\d+\]</small>'
    assert re.search(rf"<td>0\.3\d\d{interval}<small>4 of 5 members</small></td>", page)
    assert re.search(rf"<td>1\.\d+{interval}<small>\d+ of 20 reached it</small></td>", page)
    none, nap, fresh = section.sequence
    assert none.later_over_first is not None and none.later_over_first.overall.value == pytest.approx(0.85**4, abs=0.25)
    for row, low, high in ((none, 0.2, 0.4), (nap, 0.6, 0.8), (fresh, -0.1, 0.1)):
        assert row.retention is not None and low < row.retention.overall.value < high
    assert (
        "none, seed 0: no evaluation of Alien at the end of visit 2 of member 3" in section.missing and len(section.missing) == 2
    )  # and no own control of nap
    told = dict(methods(section))
    assert {"Evaluation", "Retention", "Re-learning time", "Later over first visits"} <= set(told)
    assert "enters with the whole budget" in told["Re-learning time"]


def test_a_sequence_has_its_figures_and_its_file(forgotten: tuple[Path, Report]) -> None:
    root, report = forgotten
    assert {"1-atari-retention.png", "1-atari-evaluations.pdf", "sequence.csv", "sequence.parquet"} <= {
        path.name for path in (root / "out").iterdir()
    }
    rows = table(root / "out" / "sequence.csv")
    assert len(rows) == 3 * ((1 + 18) + (1 + 4) + (1 + 4) + (1 + 3))
    (chain,) = [row for row in rows if (row["chain"], row["measure"], row["visit"]) == ("none", "retention", "")]
    found = report.sections[0].sequence[0].retention
    assert found is not None and (chain["task"], chain["runs"], chain["of"], chain["reached"]) == ("", "4", "5", "")
    assert float(chain["value"]) == pytest.approx(found.overall.value) and float(chain["low"]) == pytest.approx(found.overall.low)
    visits = [row for row in rows if (row["chain"], row["measure"]) == ("nap", "relearning_time")]
    assert [(row["task"], row["visit"]) for row in visits] == [
        ("", ""),
        ("Alien", "4"),
        ("Boxing", "5"),
        ("Centipede", "6"),
        ("MsPacman", "7"),
    ]
    assert sum(int(row["reached"]) for row in visits[1:]) == int(visits[0]["reached"]) and visits[0]["attempts"] == "20"


def test_what_is_not_defined_in_a_sequence_is_a_dash_with_its_reason(tmp_path: Path) -> None:
    forgetful(tmp_path / "runs", "none", 0.0, 0.5)
    scores = tmp_path / "runs" / "none-0" / "scores.csv"
    scores.write_text("".join(line for line in scores.read_text().splitlines(True) if "evaluation" not in line or line[1:3] == ",0"))
    page = write_report([tmp_path / "runs"], tmp_path / "out").page.read_text()
    assert "<td>\N{EN DASH}<small>no evaluation</small></td>" in page
    assert not (tmp_path / "out" / "1-atari-retention.png").exists() and (tmp_path / "out" / "1-atari-evaluations.png").exists()


def test_tables_are_the_same_in_both_formats(forgotten: tuple[Path, Report]) -> None:
    out = forgotten[0] / "out"
    names = {path.stem for path in out.glob("*.csv")}
    assert (
        names
        == {path.stem for path in out.glob("*.parquet")}
        == {"aggregates", "comparisons", "costs", "runs", "scores", "sequence", "verdict"}
    )
    for name in names:
        read, found = table(out / f"{name}.csv"), parquet.read_table(out / f"{name}.parquet").to_pylist()
        assert len(read) == len(found) > 0 and all(list(one) == list(other) for one, other in zip(read, found, strict=True))
        for one, other in zip(read, found, strict=True):
            for column, value in other.items():
                same = one[column] == ("" if value is None else str(value))
                assert same or float(one[column]) == pytest.approx(value, rel=1e-9), (name, column)


def test_every_run_has_the_hash_of_its_files(forgotten: tuple[Path, Report]) -> None:
    root, written = forgotten
    rows = table(root / "out" / "runs.csv")
    assert [row["key"] for row in rows] == ["fresh-0", "nap-0", "none-0"] and len({row["sha256"] for row in rows}) == 3
    for row in rows:
        digest = hashlib.sha256()
        for name in ("spec.json", "context.json", "scores.csv", "metrics.csv"):
            content = (root / "runs" / row["key"] / name).read_bytes()
            digest.update(f"{name} {len(content)}\n".encode() + content)
        assert row["sha256"] == digest.hexdigest() and f"{row['key']}: {row['sha256'][:16]}" in written.page.read_text()
        assert (row["code"], row["dirty"], row["finished"]) == ("c0ffee", "False", "True")


def test_the_summary_in_markdown_has_the_same_tables(forgotten: tuple[Path, Report]) -> None:
    root, written = forgotten
    text = (root / "out" / "report.md").read_text()
    for made in written.parts[0].tables:
        assert f"### {made.title or 'Verdict'}\n" in text
        for line in made.lines:
            cells = [markdown.escape(f"{cell.value} {cell.interval}".strip()) for cell in line.cells]
            assert any(
                all(cell in row for cell in cells)
                for row in text.splitlines()
                if row.startswith(f"| {line.label} ") or f"**{line.label}" in row
            )
    assert markdown.escape("a|b <i>*_") == "a\\|b \\<i\\>\\*\\_"
    assert all(f"({figure.name}.png)" in text and (root / "out" / f"{figure.name}.png").exists() for figure in written.parts[0].figures)
