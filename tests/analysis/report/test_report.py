"""The report, as seen by readers and programs."""

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console

from analysis.data.load import load
from analysis.figures.style import FigureFiles
from analysis.mechanisms.page import write_page
from analysis.report import markdown
from analysis.report.methods import methods
from analysis.report.page import Report, terminal_table, write_report
from analysis.report.sections import section
from analysis.report.tables import Cell, Table, cell
from analysis.scores.ratios import plain_control, trend
from analysis.scores.setting import settings
from analysis.statistics.intervals import Estimate
from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Metric
from tests.analysis.report import table
from tests.fake_runs import atari, diagnostic_rows, games, online, online_rows, spec, supervised, write_run

SPREAD = np.linspace(-0.01, 0.01, 5)[:, None]
ATARI = {"pong": {"random": -20.0, "human": 20.0}, "boxing": {"random": 0.0, "human": 10.0}}


def three_chains(root: Path) -> None:
    """Without intervention half of the score is lost, with ReDo none, and the control scores 0.4 throughout."""
    for label, areas in (("none", [0.4, 0.4, 0.4, 0.3, 0.2, 0.2, 0.2]), ("nap + redo", [0.6] * 7), ("fresh", [0.4] * 7)):
        described = spec(label, 0, "abcdefg", members=5)
        noise = np.random.default_rng(len(label)).normal(scale=0.002, size=(5, 7))
        write_run(root, described, online_rows(described, areas + SPREAD + noise), diagnostic_rows(described, every=100))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    root = tmp_path_factory.mktemp("report")
    three_chains(root / "runs")
    return root, write_report([root / "runs"], root / "out")


def printed(report: Report, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(terminal_table(report))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_table_with_intervals_names_their_method_once(written: tuple[Path, Report], tmp_path: Path) -> None:
    root, report = written
    atari(tmp_path / "runs", {label: np.full((2, 2), 0.5) for label in ("none", "nap")}, 3)
    suite = write_report([tmp_path / "runs"], tmp_path / "out").parts[0]
    methods = [made.intervals for part in (*report.parts, suite) for made in part.tables if _has_intervals(made)]
    assert {method.partition(". ")[0] for method in methods} == {
        "95% t intervals over members.",
        "95% t intervals over the members of all tasks.",
        "95% intervals by stratified percentile bootstrap",
    }
    page, text = report.page.read_text(), (root / "out" / "report.md").read_text()
    for part in report.parts:
        for made in filter(_has_intervals, part.tables):
            assert page.count(made.text.replace("'", "&#39;")) == 1 and markdown.escape(made.text) in text
    assert printed(report).count("95% t intervals over members.") == 1
    for name in ("verdict", "comparisons", "aggregates"):
        assert {row["intervals"] for row in table(root / "out" / f"{name}.csv")} == {"t intervals over members"}
    aggregates = {(row["over"], row["intervals"]) for row in table(tmp_path / "out" / "aggregates.csv")}
    assert aggregates == {("tasks", "stratified percentile bootstrap"), ("visits", "t intervals over members")}


def _has_intervals(made: Table) -> bool:
    return any(cell.interval for line in made.lines for cell in line.cells)


def test_the_files_of_a_report(written: tuple[Path, Report]) -> None:
    root, report = written
    names = ["aggregates", "curves", "diagnostics", "efficiency", "improvement", "performance", "profiles", "scores", "verdict"]
    tables = ["aggregates", "comparisons", "costs", "runs", "scores", "verdict"]
    assert {path.name for path in (root / "out").iterdir()} == {
        *(f"1-random-labels-{name}.{kind}" for name in names for kind in ("pdf", "png")),
        *(f"{name}.{kind}" for name in tables for kind in ("csv", "parquet")),
        "report.html",
        "report.md",
    }
    assert report.page == root / "out" / "report.html"
    for name in names:
        assert (root / "out" / f"1-random-labels-{name}.png").read_bytes().startswith(b"\x89PNG")


def test_no_legend_covers_a_label(written: tuple[Path, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    covered: list[str] = []

    def looked_at(name: str, alt: str, figure: Figure) -> FigureFiles:
        figure.draw_without_rendering()
        boxes = [each.get_window_extent() for each in figure.legends]
        said: list[Text] = [*figure.texts, *(axes.xaxis.label for axes in figure.axes if axes.axison)]
        covered.extend(f"{name}: {text.get_text()}" for box in boxes for text in said if box.overlaps(text.get_window_extent()))
        return FigureFiles(name, alt, b"", b"", b"")

    monkeypatch.setattr("analysis.report.figures.render", looked_at)
    monkeypatch.setattr("analysis.mechanisms.page.render", looked_at)
    write_report([written[0] / "runs"], tmp_path / "out")
    write_page([written[0] / "runs"], tmp_path / "out")
    assert covered == []


def test_the_same_runs_give_the_same_bytes_wherever_they_lie(written: tuple[Path, Report], tmp_path: Path) -> None:
    root, _ = written
    (root / "runs").rename(tmp_path / "moved")
    write_report([tmp_path / "moved" / "none-0", tmp_path / "moved"], tmp_path / "again")
    (tmp_path / "moved").rename(root / "runs")
    for path in (root / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_the_page_needs_nothing_but_itself(written: tuple[Path, Report]) -> None:
    root, _ = written
    page = (root / "out" / "report.html").read_text()
    assert "http://" not in page and "https://" not in page and "<script" not in page and str(root) not in page
    addresses = re.findall(r'(?:src|srcset|href)="([^"]{0,30})', page)
    assert sum(address.startswith("data:image/svg+xml;base64,") for address in addresses) == 9 + 1  # each figure once, the first for phones
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page


def test_the_page_says_what_came_out(written: tuple[Path, Report]) -> None:
    root, _ = written
    page = (root / "out" / "report.html").read_text()
    assert re.search(r"Without intervention the agent keeps 50% \[(49|50), (50|51)\] of its plasticity over the last three visits;", page)
    assert re.search(r"the best score over the last three visits is that of nap \+ redo, 150% \[", page)
    assert re.search(r"nap \+ redo<span class=\"best\">best</span>", page) and page.count('class="best"') == 1
    assert "What is missing: 1 thing<" in page and "Budget too small" not in page


def test_the_summary_is_the_verdict(written: tuple[Path, Report]) -> None:
    root, _ = written
    none, redo, fresh = table(root / "out" / "verdict.csv")
    assert [row["chain"] for row in (none, redo, fresh)] == ["none", "nap + redo", "fresh"]
    assert (none["first_visits"], none["last_visits"], none["members"], none["of"]) == ("0-2", "4-6", "5", "5")
    assert float(none["first"]) == pytest.approx(0.4, abs=0.003) and float(none["last"]) == pytest.approx(0.2, abs=0.003)
    for name in ("performance", "plasticity_kept"):
        assert float(none[name]) == pytest.approx(0.5, abs=0.01)
        assert float(none[f"{name}_low"]) < float(none[name]) < float(none[f"{name}_high"])
    assert [row["own_control"] for row in (none, redo, fresh)] == ["fresh", "", ""]
    assert [row["best"] for row in (none, redo, fresh)] == ["False", "True", "False"]
    assert (fresh["performance"], fresh["performance_low"], fresh["performance_note"]) == ("1", "", "the reference")


def test_every_member_and_visit_has_its_row(written: tuple[Path, Report]) -> None:
    root, report = written
    rows = table(root / "out" / "scores.csv")
    assert len(rows) == 3 * 5 * 7
    chains = {chain.label: chain for chain in report.sections[0].setting.chains}
    fresh = chains["fresh"].area.mean(axis=0)
    for row in rows:
        area = chains[row["chain"]].area[int(row["member"]), int(row["visit"])]
        assert float(row["area"]) == pytest.approx(area, rel=1e-9)
        assert float(row["performance"]) == pytest.approx(area / fresh[int(row["visit"])], rel=1e-9)
        assert row["task"] == "abcdefg"[int(row["visit"])] and row["human_normalised_area"] == row["no_performance"] == ""


def test_the_terminal_shows_the_same_verdict(written: tuple[Path, Report]) -> None:
    text = printed(written[1])
    assert re.search(r"nap \+ redo \(best\) +[^ \w] +1\.5\d\d +0\.60\d +0\.60\d", text)
    assert re.search(r"^ +\[1\.\d+,1\.\d+\] +\[0\.\d+,0\.\d+\] +\[0\.\d+,0\.\d+\] *$", text, re.MULTILINE)
    assert max(map(len, printed(written[1], width=80).splitlines())) <= 80
    assert "Missing:\n- no own control of nap + redo" in text and "Without intervention" in text
    assert "narrow" not in printed(written[1], width=80)


def test_a_narrow_terminal_omits_whole_columns(written: tuple[Path, Report]) -> None:
    lines = printed(written[1], width=60).splitlines()
    assert max(map(len, lines)) <= 60 and "not in this narrow terminal: First visits" in lines
    intervals = [line for line in lines if re.fullmatch(r"( +\[\d\.\d+,\d\.\d+\])+ *", line)]
    assert intervals and {line.count("[") for line in intervals} <= {1, 2, 3}


def test_the_methods_tell_what_was_run(written: tuple[Path, Report]) -> None:
    told = dict(methods(written[1].sections[0]))
    assert told["Visits"] == "7, each of 100 updates per member; numbered from 0"
    assert told["Members"] == "5 independent networks of each chain, from 1 seed (0)"
    assert told["benchmark"] == "random-labels(visits=7)" and told["chain: nap + redo"] == "nap(); redo()"
    assert told["chain: none"] == "no intervention" and told["packages.torch"] == "2.13.0" and told["code"] == "c0ffee"
    assert told["Intervals"].startswith("95% t intervals over members") and "seed" not in told
    assert told["Hyper-parameters"] == "How they were chosen: not recorded; hyperparameters.txt beside the folders of the runs can say it"
    assert told["Task boundaries"] == "told to no chain"


@pytest.mark.usefixtures("undrawn")
def test_the_lost_half_is_found_in_a_noisy_run(tmp_path: Path) -> None:
    for label, last in (("none", 0.16), ("redo", 0.36), ("fresh", 0.36)):
        supervised(tmp_path / "runs", label, 0.36, last, visits=6)
    none, redo, _ = write_report([tmp_path / "runs"], tmp_path / "out").sections[0].rows
    assert none.change.high is not None and none.change.high < 1 and redo.best
    assert none.performance.high is not None and none.performance.high < 1 and none.kept == none.performance


def test_names_are_escaped_wherever_they_stand(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> & [bold]$x_$"
    described = spec(evil, 0, "ab", members=2, key="evil", benchmark='<img src="x" onerror="y">../..')
    write_run(tmp_path / "runs", described, online_rows(described, np.array([[0.4, 0.5], [0.5, 0.7]])), context={"<b>": "<i>"}, done=False)
    report = write_report([tmp_path / "runs"], tmp_path / "out")
    page = report.page.read_text()
    assert "<script" not in page and "<img src" not in page and "<b>" not in page and "<i>" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt; &amp; [bold]$x_$") == 8  # tables, methods, hashes, missing
    assert all(path.parent == tmp_path / "out" and re.fullmatch(r"[A-Za-z0-9.-]+", path.name) for path in (tmp_path / "out").iterdir())
    assert evil in printed(report)


def test_nothing_is_written_where_the_input_is_wrong(tmp_path: Path) -> None:
    three_chains(tmp_path / "runs")
    shutil.copytree(tmp_path / "runs" / "none-0", tmp_path / "runs" / "copy")
    with pytest.raises(UsageError, match="the same run appears twice"):
        write_report([tmp_path / "runs"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("undrawn")
def test_an_out_that_cannot_be_written_is_the_persons_mistake(tmp_path: Path) -> None:
    online(tmp_path / "runs", "none", [[0.4], [0.5]])
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="file is not a folder: name a new one for the report"):
            write_report([tmp_path / "runs"], out)


@pytest.mark.usefixtures("undrawn")
def test_games_with_a_tiny_budget_carry_a_banner(tmp_path: Path) -> None:
    for label, levels in (("none", [[-15.0, 2.0], [-13.0, 4.0]]), ("fresh", [[-8.1, -1.0], [-7.9, 1.0]])):
        games(tmp_path / "runs", label, levels, ["pong", "boxing"], references=ATARI)
    report = write_report([tmp_path / "runs"], tmp_path / "out")
    page = report.page.read_text()
    assert "Budget too small for conclusions: 1,000 frames a visit" in page and "Budget too small" in printed(report)
    assert "a fresh control that learned in 1 of 2 visits" in page
    assert "As far as so small a budget tells, " in page
    assert "no performance at visit 1: the fresh control did not learn in this budget" in page
    assert "<td>\N{EN DASH}<small>the fresh control did not learn in this budget</small></td>" in page
    rows = {(row["chain"], row["member"], row["visit"]): row for row in table(tmp_path / "out" / "scores.csv")}
    assert float(rows["none", "0", "0"]["human_normalised_area"]) == pytest.approx(5 / 40)
    assert float(rows["none", "0", "0"]["performance"]) == pytest.approx(5 / 12)
    assert (rows["none", "0", "1"]["performance"], rows["none", "0", "1"]["no_performance"]) == (
        "",
        "the fresh control did not learn in this budget",
    )


@pytest.mark.usefixtures("undrawn")
def test_no_banner_for_large_budgets_or_problems_without_human_scores(tmp_path: Path) -> None:
    tasks = ["pong"]
    games(tmp_path / "a", "none", [[1.0], [2.0]], tasks, references=ATARI, budget=1_000_000, setting="a" * 16)
    games(tmp_path / "a", "none", [[1.0], [2.0]], tasks, references={"pong": {"random": 0.5}}, setting="b" * 16, key="b")
    sections = write_report([tmp_path / "a"], tmp_path / "out").sections
    assert [section.banner for section in sections] == ["", ""]
    assert [section.name for section in sections] == ["atari (aaaaaaaa)", "atari (bbbbbbbb)"]


def test_one_member_without_control_is_said_to_prove_little(tmp_path: Path) -> None:
    online(tmp_path / "runs", "none", [[0.4, 0.3, 0.2, 0.1]])
    report = write_report([tmp_path / "runs"], tmp_path / "out")
    page = report.page.read_text()
    assert page.count("no interval: one member") >= 3 and "no fresh control: performance is not defined" in page
    names = ("aggregates", "curves", "efficiency", "profiles", "scores", "verdict")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [f"1-random-labels-{name}.png" for name in names]
    verdict = table(tmp_path / "out" / "verdict.csv")[0]
    assert (verdict["iqm"], verdict["iqm_low"], verdict["iqm_high"]) == ("0.25", "", "")


@pytest.mark.usefixtures("undrawn")
def test_members_that_are_missing_are_shown_as_n_of_n(tmp_path: Path) -> None:
    three_chains(tmp_path / "runs")
    scores = tmp_path / "runs" / "none-0" / "scores.csv"
    scores.write_text("".join(line for line in scores.read_text().splitlines(keepends=True) if not line.startswith("4,6,")))
    report = write_report([tmp_path / "runs"], tmp_path / "out")
    page = report.page.read_text()
    assert "Complete members: none 4 of 5, nap + redo 5 of 5." in page
    assert page.count("<small>4 of 5 members</small>") == 8  # both ratios, last visits, last over first, trend, IQM; two comparisons
    assert "none, seed 0: visit 6 of member 4: no score, not begun" in page and "What is missing: 2 things<" in page


def test_a_cell_says_how_many_members_it_is_of() -> None:
    assert cell(Estimate(0.5, 0.4, 0.6, 4, 5)) == Cell("0.500", "[0.400, 0.600]", "4 of 5 members")
    assert cell(Estimate(float("nan"), of=5, note="why")) == Cell("\N{EN DASH}", "", "why")


def test_nothing_of_a_sequence_is_shown_where_there_is_none(written: tuple[Path, Report], tmp_path: Path) -> None:
    games(tmp_path / "runs", "none", [[1.0, 2.0], [2.0, 3.0]], ["pong", "boxing"], references=ATARI)
    report = write_report([tmp_path / "runs"], tmp_path / "out")
    for page in (written[1].page, report.page):
        assert not re.search("sequence|retention|re-learning|evaluation", page.read_text(), re.IGNORECASE)
        assert not (page.parent / "sequence.csv").exists()


def test_a_setting_without_any_score_has_its_section_all_the_same(tmp_path: Path) -> None:
    online(tmp_path / "runs", "none", [[0.4], [0.5]])
    described = spec("none", 0, "ab", setting="f" * 16, key="begun", benchmark="Another")
    write_run(tmp_path / "runs", described, [], done=False)
    empty, _ = write_report([tmp_path / "runs"], tmp_path / "out").sections
    assert empty.name == "Another" and empty.reading == "Nothing can be said yet: no fresh control."
    assert "none, seed 0: scores.csv: no rows" in empty.missing and "none, seed 0: not finished" in empty.missing
    assert (empty.rows[0].members, empty.rows[0].of) == (0, 3) and not empty.rows[0].last.defined
    assert sorted(path.name for path in (tmp_path / "out").glob("1-*")) == []


@pytest.mark.usefixtures("undrawn")
def test_what_each_chain_needs_and_costs(tmp_path: Path) -> None:
    for label, speed, clock in (("none", 200.0, "update"), ("redo", 100.0, "update"), ("shrink", 160.0, "task")):
        described = spec(label, 0, "ab", members=2)
        described = described._replace(
            experiment=described.experiment | {"chain": [["redo", {"clock": clock}]], "agent": ["dqn", {"replay_at_switch": "clear"}]}
        )
        where = (0, 0, "a", 0, 0, 50)
        rows = [
            Metric(*where, 50 + at, "updates_per_second", value) for at, value in enumerate((1.0, speed, speed + 1))
        ]  # the first compiled
        rows += [Metric(*where, 50, "memory_mb", speed * 2), Metric(*where, 51, "memory_mb", speed)] if label == "none" else []
        write_run(tmp_path / "runs", described, online_rows(described, np.array([[0.4, 0.5], [0.5, 0.7]])), rows)
    (tmp_path / "runs" / "hyperparameters.txt").write_text("Each by a grid\nof its own.\n")
    written = write_report([tmp_path / "runs"], tmp_path / "out")
    needs = written.parts[0].tables[-1]
    assert [(line.label, *(cell.value for cell in line.cells)) for line in needs.lines] == [
        ("none", "no", "5.000", "200", "400 MB"),
        ("redo", "no", "10.0", "100", "not recorded"),
        ("shrink", "yes", "6.250", "160", "not recorded"),
    ]
    assert needs.lines[1].cells[1].note == "2.00 x none; by the clock" and needs.lines[2].cells[0].note == "redo"
    told = dict(written.parts[0].methods)
    assert told["Hyper-parameters"] == "How they were chosen: Each by a grid of its own."
    assert told["Task boundaries"] == "told to shrink (redo); in all chains, the replay is cleared at a change of task"


@pytest.mark.usefixtures("undrawn")
def test_trends_by_hand(tmp_path: Path) -> None:
    online(tmp_path / "runs", "none", [[0.5, 0.4, 0.3, 0.2], [0.7, 0.6, 0.5, 0.4]])
    online(tmp_path / "runs", "fresh", [[0.48] * 4, [0.52] * 4])
    (part,) = write_report([tmp_path / "runs"], tmp_path / "out").sections
    none = trend(part.setting, part.rows[0].chain, plain_control(part.setting))
    assert none.value == pytest.approx(-0.1 / 0.5)
    assert none.error == pytest.approx((0.1 / 0.48 - 0.1 / 0.52) / 2)  # either left out: half the distance


def test_published_scores_stand_with_their_source(tmp_path: Path) -> None:
    references = {"pong": {"random": -20.7, "human": 14.6}}
    games(tmp_path / "runs", "none", [[1.0], [2.0]], ["pong"], references=references)
    told = dict(methods(section(loaded := load([tmp_path / "runs"]), settings(loaded)[0], alone=True)))
    assert told["Reference scores"].endswith("pong random -20.7, human 14.6") and "Wang et al. 2016" in told["Reference scores"]


@pytest.mark.usefixtures("undrawn")
def test_a_small_budget_in_which_the_control_learned_carries_none(tmp_path: Path) -> None:
    """As from the console's RAM, where games are learned in far fewer frames than from images: here in three visits of four."""
    areas = [[-8.1, -8.1, -8.1, -1.0], [-7.9, -7.9, -7.9, 1.0]]
    for label in ("none", "fresh"):
        games(tmp_path / "runs", label, areas, ["pong", "pong", "pong", "boxing"], references=ATARI)
    assert write_report([tmp_path / "runs"], tmp_path / "out").parts[0].banner == ""


@pytest.mark.usefixtures("undrawn")
def test_the_most_conclusive_part_comes_first_and_a_small_budget_last(tmp_path: Path) -> None:
    """In the order of their names: games of a tiny budget, nothing defined, a ratio that may be 1, a ratio that is not."""
    references = {"a": {"random": 0.0, "human": 1.0}}
    for label in ("none", "fresh"):
        games(tmp_path, label, [[5.0], [6.0]], ["a"], benchmark="1-tiny", setting="1" * 16, key=f"1-{label}", references=references)
    online(tmp_path, "none", [[0.4, 0.4], [0.5, 0.5]], benchmark="2-nothing", setting="2" * 16, key="2-none")
    for number, last in (("3-open", 0.0), ("4-decided", 0.2)):
        fields = {"benchmark": number, "setting": number[0] * 16}
        spread = np.array([[0.02], [-0.02], [0.0], [0.01], [-0.01]])
        online(tmp_path, "none", np.array([0.5, 0.5 - last]) + np.hstack([spread, -spread]), key=f"{number[0]}-none", **fields)
        online(tmp_path, "fresh", np.array([0.5, 0.5]) + np.hstack([spread, spread]), key=f"{number[0]}-fresh", **fields)
    report = write_report([tmp_path], tmp_path / "out")
    assert [part.name for part in report.parts] == ["4-decided", "3-open", "2-nothing", "1-tiny"]
    text, markdown = printed(report), (tmp_path / "out" / "report.md").read_text()
    for told in (text, markdown):
        places = [told.index(f"{part.name}\n") for part in report.parts]
        assert places == sorted(places)
        assert told.index(report.parts[0].reading[:40]) < told.index("Performance")


@pytest.mark.usefixtures("undrawn")
def test_the_verdict_names_the_own_controls_and_lists_controls_apart(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for label, areas in (
        ("none", [0.4, 0.2]),
        ("nap", [0.6, 0.5]),
        ("redo", [0.4, 0.4]),
        ("fresh", [0.4, 0.4]),
        ("nap + reset", [0.6, 0.6]),
    ):
        online(tmp_path / "runs", label, np.array(areas) + random.normal(scale=1e-3, size=(5, 2)), tasks_alike=True)
    part = write_report([tmp_path / "runs"], tmp_path / "out").parts[0]
    verdict, controls = part.tables[:2]
    assert [line.label for line in verdict.lines] == ["none", "nap", "redo"]
    assert "Own control: fresh for none; nap + reset for nap; its first visit for redo." in verdict.caption
    assert [heading.title for heading in verdict.headings[1:3]] == ["Plasticity kept", "Performance"]
    assert controls.title == "Controls" and [(line.label, line.cells[0].value) for line in controls.lines] == [
        ("fresh", "none"),
        ("nap + reset", "nap"),
    ]
    assert [round(float(line.cells[4].value), 2) for line in controls.lines] == [0.0, 0.0]  # less the first visits of none and nap
    rows = {row["chain"]: row["own_control"] for row in table(tmp_path / "out" / "verdict.csv")}
    assert rows == {"none": "fresh", "nap": "nap + reset", "redo": "first visit", "fresh": "", "nap + reset": ""}
