"""Published scores: read, refused row by row, and shown beside the runs'."""

from pathlib import Path

import numpy as np
import pytest
from rliable import metrics

from analysis.published.scores import PublishedScores
from analysis.published.sources import read_published
from analysis.published.table import COLUMNS
from analysis.report.page import write_report
from plasticity_rl.checks import UsageError
from tests.fake_runs import atari

HEADER = ",".join(COLUMNS)
ROWS = ["Zoo,DQN,last 100 episodes,Game00,0,-10", "Zoo,DQN,last 100 episodes,Game00,1,-20", "Zoo,DQN,last 100 episodes,Game01,0,5"]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_agents_are_read_by_source_label_and_measure(tmp_path: Path) -> None:
    (dqn, rainbow) = read_published([str(write(tmp_path / "a.csv", HEADER, *ROWS, "Zoo,Rainbow,last 100 episodes,Game00,0,1e2"))])
    assert dqn == PublishedScores("Zoo", "DQN", "last 100 episodes", {"Game00": (-10.0, -20.0), "Game01": (5.0,)})
    assert rainbow.scores == {"Game00": (100.0,)}


@pytest.mark.parametrize("separator", [",", ", ", ";", "\t"])
def test_capitals_blanks_and_separators_make_no_difference(tmp_path: Path, separator: str) -> None:
    plain = read_published([str(write(tmp_path / "a.csv", HEADER, *ROWS))])
    other = write(tmp_path / "b.csv", HEADER.title().replace(",", separator), *(row.replace(",", separator) for row in ROWS))
    assert read_published([str(other)]) == plain


REFUSED = {
    "no file": (None, "cannot read"),
    "empty": ([""], "is empty: its first row should name its columns"),
    "a header alone, cut short": (["source"], "lacks the columns label"),
    "a column twice": ([HEADER.replace("run", "Task"), ROWS[0]], "the column Task appears twice"),
    "a decimal comma": ([HEADER.replace(",", ";"), "Zoo;DQN;last;Game00;0;1,5"], "row 2: '1,5' is not a finite score"),
    "an unknown column": ([HEADER.replace("score", "scores"), ROWS[0]], "unknown column 'scores'; did you mean score?"),
    "a column too few": (["source,label,measure,task,score", "a,b,c,d,1"], "lacks the column run"),
    "no row": ([HEADER], "has no row"),
    "no number": ([HEADER, ROWS[0].replace("-10", "much")], "row 2: 'much' is not a finite score"),
    "NaN": ([HEADER, ROWS[0], ROWS[1].replace("-20", "nan")], "row 3: 'nan' is not a finite score"),
    "infinite": ([HEADER, ROWS[0].replace("-10", "inf")], "row 2: 'inf' is not a finite score"),
    "a run twice": ([HEADER, ROWS[0], ROWS[0]], "row 3: run 0 of DQN on Game00 appears twice"),
    "a cell too few": ([HEADER, "Zoo,DQN,last,Game00,0"], "row 2: 5 cells in 6 columns"),
    "a cell too many": ([HEADER, ROWS[0] + ",1"], "row 2: 7 cells in 6 columns"),
    "an empty cell": ([HEADER, ROWS[0].replace("Zoo", "")], "row 2: every column needs a value"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_by_row(tmp_path: Path, case: str) -> None:
    lines, said = REFUSED[case]
    path = tmp_path / "published.csv"
    if lines is not None:
        write(path, *lines)
    with pytest.raises(UsageError) as caught:
        read_published([str(path)])
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(HEADER.encode() + b"\n\xff\xfe,1\n")
    with pytest.raises(UsageError, match="is not UTF-8 in line 2"):
        read_published([str(tmp_path / "a.csv")])


@pytest.mark.usefixtures("undrawn")
def test_they_stand_beside_the_runs_marked_as_published(tmp_path: Path) -> None:
    atari(tmp_path / "runs", {label: np.full((2, 1), level) for label, level in (("none", 0.1), ("nap", 0.2))}, 5)
    low, span = np.array([-50.0, -40.0]), np.array([20.0, 30.0])  # fake_runs.atari's
    normalised = np.array([[0.5, 2.0], [1.5, 1.0], [2.5, 3.0]])
    lines = [
        f"Zoo & co,DQN,at the end,Game0{task},{run},{low[task] + span[task] * normalised[run, task]}"
        for run in range(3)
        for task in range(2)
    ]
    some = write(tmp_path / "a.csv", HEADER, *lines, "Zoo & co,Half,at the end,Game00,0,1")
    written = write_report([tmp_path / "runs"], tmp_path / "out", [str(some)])
    verdict = written.parts[0].tables[0]
    marks = {line.label: line.mark for line in verdict.lines}
    assert marks == {"none": "", "nap": "best", "DQN": "published", "Half": "published"}  # far above ours, and still not best
    dqn, half = (
        {heading.title: cell for heading, cell in zip(verdict.headings[1:], line.cells, strict=True)} for line in verdict.lines[2:]
    )
    assert float(dqn["IQM"].value) == pytest.approx(metrics.aggregate_iqm(normalised), abs=5e-4) and dqn["IQM"].interval
    assert (
        float(dqn["Mean"].value) == pytest.approx(normalised.mean(), abs=5e-4)
        and dqn["Plasticity kept"].value == dqn["Performance"].value == ""
    )
    assert half["IQM"].note == "no score of Game01"
    page = written.page.read_text()
    assert page.count('<span class="published">published</span>') >= 2
    assert "Zoo &amp; co; at the end. Not compared, and never marked as best." in page
    assert "DQN" not in (tmp_path / "out" / "comparisons.csv").read_text()
    strange = write(tmp_path / "b.csv", HEADER, ROWS[0].replace("Game00", "Gam00"))
    with pytest.raises(UsageError, match=r"none of their tasks is one of the runs'.* Gam00 is no task of the runs; did you mean Game00\?"):
        write_report([tmp_path / "runs"], tmp_path / "again", [str(strange)])
    assert not (tmp_path / "again").exists()
