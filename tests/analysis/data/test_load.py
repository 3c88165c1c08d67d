"""Runs read, refused or named: no fault passes in silence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.data.load import load
from analysis.data.provenance import contexts
from analysis.report.sections import section
from analysis.scores.setting import score, settings
from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Metric, Score
from plasticity_rl.records.tables import write_table
from tests.fake_runs import diagnostic_rows, episode_rows, online, online_rows, spec, write_run

AREAS = np.array([[0.5, 0.4, 0.3], [0.6, 0.5, 0.4], [0.7, 0.6, 0.5]])


def two_chains(root: Path) -> None:
    """These runs have no faults."""
    for label in ("none", "fresh"):
        described = spec(label)
        write_run(root, described, online_rows(described, AREAS), diagnostic_rows(described, every=100))


def missing(root: Path) -> list[str]:
    """All names in a report."""
    loaded = load([root])
    return [line.what for line in loaded.missing] + [line for key in settings(loaded) for line in score(loaded, key).missing]


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Change the lines of a file."""
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def respec(folder: Path, **fields: object) -> None:
    """Change fields of a spec.json."""
    path = folder / "spec.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_tidy_tables_of_everything(tmp_path: Path) -> None:
    two_chains(tmp_path)
    loaded = load([tmp_path, tmp_path / "none-0"])  # a repeated folder is read once
    assert [run.name for run in loaded.runs] == ["fresh, seed 0", "none, seed 0"]
    assert list(loaded.scores) == ["run", "setting", "benchmark", "label", "seed", *Score._fields]
    assert list(loaded.metrics) == ["run", "setting", "benchmark", "label", "seed", *Metric._fields]
    assert len(loaded.scores) == 2 * 3 * 6 and not loaded.scores.isna().to_numpy().any()
    assert loaded.scores.score.dtype == float and loaded.scores.updates.dtype == int
    assert missing(tmp_path) == []


def test_the_order_of_folders_plays_no_part(tmp_path: Path) -> None:
    two_chains(tmp_path)
    here, there = load([tmp_path / "none-0", tmp_path / "fresh-0"]), load([tmp_path / "fresh-0", tmp_path / "none-0"])
    assert here.scores.equals(there.scores) and here.missing == there.missing


def set_line(number: int, cell: int, value: str) -> Callable[[list[str]], list[str]]:
    def change(lines: list[str]) -> list[str]:
        cells = lines[number].rstrip("\n").split(",")
        cells[cell] = value
        return [*lines[:number], ",".join(cells) + "\n", *lines[number + 1 :]]

    return change


NONE, FRESH = "none-0", "fresh-0"
NAMED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a score that is not a number": (
        lambda root: edit(root / NONE / "scores.csv", set_line(1, 8, "nan")),
        "none, seed 0: scores.csv: non-finite score of member 0, visit 0",
    ),
    "an infinite score": (
        lambda root: edit(root / NONE / "scores.csv", set_line(2, 8, "inf")),
        "none, seed 0: visit 0 of member 1: no score, a score that is not a number",
    ),
    "a torn last row": (
        lambda root: (root / NONE / "scores.csv").write_bytes((root / NONE / "scores.csv").read_bytes()[:-3]),
        "none, seed 0: scores.csv: the last row is torn and was left out",
    ),
    "a torn last row leaves its cell without a score": (
        lambda root: (root / NONE / "scores.csv").write_bytes((root / NONE / "scores.csv").read_bytes()[:-3]),
        "none, seed 0: visit 2 of member 2: no score, 50 of 100 updates",
    ),
    "a row that cannot be read": (
        lambda root: edit(root / NONE / "scores.csv", set_line(16, 8, "much")),
        "none, seed 0: scores.csv: row 17 cannot be read; it and the 2 after it were left out",
    ),
    "a missing visit": (
        lambda root: edit(root / NONE / "scores.csv", lambda lines: lines[:13]),
        "none, seed 0: visit 2 of members 0-2: no score, not begun",
    ),
    "a missing member": (
        lambda root: edit(root / NONE / "scores.csv", lambda lines: [line for line in lines if not line.startswith("1,")]),
        "none, seed 0: visits 0-2 of member 1: no score, not begun",
    ),
    "a missing end of a visit in the middle": (
        lambda root: edit(root / NONE / "scores.csv", lambda lines: [*lines[:4], *lines[7:]]),
        "none, seed 0: visit 0 of members 0-2: no score, 50 of 100 updates",
    ),
    "the same rows twice": (
        lambda root: edit(root / NONE / "scores.csv", lambda lines: [*lines, *lines[-4:]]),
        "none, seed 0: scores.csv: 4 rows more than once; counted once",
    ),
    "two different scores of one member at one time": (
        lambda root: edit(root / NONE / "scores.csv", lambda lines: [*lines, lines[-1].replace(",0.5", ",0.9")]),
        "none, seed 0: left out whole: scores.csv contradicts spec.json: member 2 has two different scores after the same updates",
    ),
    "rows out of order": (
        lambda root: edit(root / NONE / "scores.csv", lambda lines: [lines[0], *lines[10:], *lines[1:10]]),
        "none, seed 0: left out whole: scores.csv contradicts spec.json: visits or updates of member 0 run backwards",
    ),
    "a member too many": (
        lambda root: edit(root / NONE / "scores.csv", set_line(1, 0, "3")),
        "none, seed 0: left out whole: scores.csv contradicts spec.json: member 3 of 3 members",
    ),
    "a visit too many": (
        lambda root: edit(root / NONE / "scores.csv", set_line(18, 1, "3")),
        "none, seed 0: left out whole: scores.csv contradicts spec.json: visit 3 of 3 visits",
    ),
    "another task": (
        lambda root: edit(root / NONE / "scores.csv", set_line(1, 2, "z")),
        "none, seed 0: left out whole: scores.csv contradicts spec.json: visit 0 is called z, cycle 0",
    ),
    "an unknown kind": (
        lambda root: edit(root / NONE / "scores.csv", set_line(1, 7, "sum")),
        "none, seed 0: left out whole: scores.csv contradicts spec.json: unknown kind of score 'sum'",
    ),
    "two kinds in a run": (
        lambda root: edit(root / NONE / "scores.csv", set_line(18, 7, "return")),
        "none, seed 0: left out whole: scores.csv contradicts spec.json: scores of two kinds",
    ),
    "bytes that are no text": (
        lambda root: (root / NONE / "scores.csv").write_bytes((root / NONE / "scores.csv").read_bytes() + b"\xff\x00,\n"),
        "none, seed 0: scores.csv: row 20 cannot be read; it and the 0 after it were left out",
    ),
    "an empty file": (
        lambda root: (root / NONE / "scores.csv").write_bytes(b""),
        "none, seed 0: scores.csv: not the columns of a run",
    ),
    "line ends of another system": (
        lambda root: edit(root / NONE / "scores.csv", lambda lines: [line.replace("\n", "\r\n") for line in lines]),
        "none, seed 0: scores.csv: not the columns of a run",
    ),
    "episodes that were all cut": (
        lambda root: [
            edit(root / name / "scores.csv", lambda lines: [line.replace("online", "cut") for line in lines]) for name in (NONE, FRESH)
        ],
        "none, seed 0: visits 0-2 of members 0-2: no score, no finished episode",
    ),
    "all episodes of one member cut": (
        lambda root: [
            edit(root / NONE / "scores.csv", lambda lines: [line.replace("online", ("return", "cut")[line[:2] == "1,"]) for line in lines]),
            edit(root / FRESH / "scores.csv", lambda lines: [line.replace("online", "return") for line in lines]),
        ],
        "none, seed 0: visits 0-2 of member 1: no score, no finished episode",
    ),
    "a cell with too much": (
        lambda root: edit(root / NONE / "scores.csv", set_line(1, 8, "0.5,0.5")),
        "none, seed 0: scores.csv: row 2 cannot be read; it and the 17 after it were left out",
    ),
    "a count that is no whole number": (
        lambda root: edit(root / NONE / "scores.csv", set_line(3, 6, "50.0")),
        "none, seed 0: scores.csv: row 4 cannot be read; it and the 15 after it were left out",
    ),
    "another cycle": (
        lambda root: edit(root / NONE / "scores.csv", set_line(1, 3, "1")),
        "none, seed 0: left out whole: scores.csv contradicts spec.json: visit 0 is called a, cycle 1",
    ),
    "no context.json": (
        lambda root: (root / NONE / "context.json").unlink(),
        "the runs were made by 2 versions of the code: c0ffee, unknown",
    ),
    "a context.json that is none": (
        lambda root: (root / NONE / "context.json").write_text("[1]"),
        "the runs were made by 2 versions of the code: c0ffee, unknown",
    ),
    "no rows": (lambda root: edit(root / NONE / "scores.csv", lambda lines: lines[:1]), "none, seed 0: scores.csv: no rows"),
    "a folder for scores.csv": (
        lambda root: [(root / NONE / "scores.csv").unlink(), (root / NONE / "scores.csv").mkdir()],
        "none, seed 0: scores.csv cannot be read: Is a directory",
    ),
    "a blank line at the end": (
        lambda root: edit(root / NONE / "scores.csv", lambda lines: [*lines, "\n"]),
        "none, seed 0: scores.csv: row 20 cannot be read; it and the 0 after it were left out",
    ),
    "a count that no column holds": (
        lambda root: edit(root / NONE / "scores.csv", set_line(3, 6, "9" * 30)),
        "none, seed 0: scores.csv: row 4 cannot be read; it and the 15 after it were left out",
    ),
    "no scores.csv": (lambda root: (root / NONE / "scores.csv").unlink(), "none, seed 0: scores.csv is missing"),
    "other columns": (
        lambda root: edit(root / NONE / "scores.csv", lambda lines: ["a,b\n", *lines[1:]]),
        "none, seed 0: scores.csv: not the columns of a run",
    ),
    "no metrics.csv": (lambda root: (root / NONE / "metrics.csv").unlink(), "none, seed 0: metrics.csv is missing"),
    "a metric that is no number": (
        lambda root: edit(root / NONE / "metrics.csv", set_line(1, 8, "nan")),
        "none, seed 0: metrics.csv: 1 value left out: no number",
    ),
    "metrics of another run": (
        lambda root: edit(root / NONE / "metrics.csv", set_line(1, 0, "9")),
        "none, seed 0: metrics.csv was left out: it contradicts spec.json: member 9 of 3 members",
    ),
    "an unfinished run": (lambda root: (root / NONE / "DONE").unlink(), "none, seed 0: not finished: in visit 2 of 0-2"),
    "no fresh control": (lambda root: shutil.rmtree(root / FRESH), "no fresh control: performance is not defined"),
    "unequal seeds": (lambda root: online(root, "none", AREAS, seed=1), "fresh: no members 0-2 of seed 1, which other chains have"),
    "unequal members": (lambda root: online(root, "nap", AREAS[:2]), "nap: no member 2 of seed 0, which other chains have"),
    "unequal members: data unchecked": (
        lambda root: online(root, "nap", AREAS[:2]),
        "seed 0 has runs of 2 and 3 members: that they met the same data cannot be checked",
    ),
    "several versions of the code": (
        lambda root: (root / NONE / "context.json").write_text('{"code": "abc"}'),
        "the runs were made by 2 versions of the code: abc, c0ffee",
    ),
    "several versions of a module": (
        lambda root: made_of(root, {"agents.dqn": ("1", "2"), "seeds": ("3", "3")}),
        "the runs were made by different code: agents.dqn",
    ),
    "several versions of many modules": (
        lambda root: made_of(root, {name: ("1", "2") for name in "dbace"}),
        "the runs were made by different code: a, b, c and 2 other modules",
    ),
}


def made_of(root: Path, modules: dict[str, tuple[str, str]]) -> None:
    """Set module hashes: these for the runs `none` and `fresh`, and a module of its own for each."""
    for run, place in ((NONE, 0), (FRESH, 1)):
        context = {"code": f"c0ffee{place}", "modules": {f"own{place}": "4"} | {name: pair[place] for name, pair in modules.items()}}
        (root / run / "context.json").write_text(json.dumps(context))


def test_runs_may_import_different_modules(tmp_path: Path) -> None:
    two_chains(tmp_path)
    made_of(tmp_path, {"seeds": ("3", "3")})
    assert not any("code" in line for line in missing(tmp_path))
    told = dict(contexts(load([tmp_path]).runs))
    assert told["code"] in (f"2 values among the runs: {one} | {other}" for one, other in (("c0ffee0", "c0ffee1"), ("c0ffee1", "c0ffee0")))


@pytest.mark.parametrize("case", NAMED)
def test_what_is_wrong_is_named(tmp_path: Path, case: str) -> None:
    spoil, line = NAMED[case]
    two_chains(tmp_path)
    spoil(tmp_path)
    assert line in missing(tmp_path)


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "not JSON": (lambda root: (root / NONE / "spec.json").write_text("{"), "is not a run's description"),
    "another JSON": (lambda root: (root / NONE / "spec.json").write_text("[1]"), "is not a run's description"),
    "a folder for a spec": (lambda root: [(root / NONE / "spec.json").unlink(), (root / NONE / "spec.json").mkdir()], "cannot read "),
    "no text": (lambda root: respec(root / NONE, label=3), "must be text"),
    "an unknown unit": (lambda root: respec(root / NONE, unit="steps"), "its unit must be 'updates' or 'frames', not 'steps'"),
    "no members": (lambda root: respec(root / NONE, members=0), "members must be a whole number in [1, 4096]"),
    "members without end": (lambda root: respec(root / NONE, members=10**8), "members must be a whole number in [1, 4096]"),
    "a seed without end": (lambda root: respec(root / NONE, seed=10**30), "the seed one in [0, 2147483647]"),
    "members times visits without end": (
        lambda root: respec(
            root / NONE, members=4_096, visits=[{"index": at, "task": "a", "cycle": 0, "budget": 5} for at in range(2_000)]
        ),
        "its 4,096 members have 2,000 visits; at most 4,194,304 together can be read",
    ),
    "a negative seed": (lambda root: respec(root / NONE, seed=-1), "the seed one in [0, 2147483647]"),
    "an experiment that is none": (lambda root: respec(root / NONE, experiment=[]), "its experiment must be an object"),
    "no visits": (lambda root: respec(root / NONE, visits=[]), "its visits must be numbered from 0"),
    "a visit without a budget": (
        lambda root: respec(root / NONE, visits=[{"index": 0, "task": "a", "cycle": 0}]),
        "its visits must be numbered",
    ),
    "an unknown field of a spec": (lambda root: respec(root / NONE, more=1), "is not a run's description"),
    "bytes that are no text": (lambda root: (root / NONE / "spec.json").write_bytes(b"\xff\xfe"), "is not a run's description"),
    "visits in another order": (
        lambda root: respec(root / NONE, visits=[{"index": 1, "task": "a", "cycle": 0, "budget": 5}]),
        "its visits must be numbered from 0",
    ),
    "a budget of nothing": (
        lambda root: respec(root / NONE, visits=[{"index": 0, "task": "a", "cycle": 0, "budget": 0}]),
        "and a budget above 0",
    ),
    "members by truth": (lambda root: respec(root / NONE, members=True), "members must be a whole number in [1, 4096]"),
    "a fresh control by word": (lambda root: respec(root / NONE, fresh_control="no"), "fresh_control and tasks_alike true or false"),
    "references that are no numbers": (lambda root: respec(root / NONE, references={"a": {"random": float("nan")}}), "its references must"),
    "an unknown normaliser": (
        lambda root: respec(root / NONE, references={"a": {"random": 1.0, "record": 9.0}}),
        "its references must give each task a random score and a different human one, and no other normaliser",
    ),
    "references without a scale": (
        lambda root: respec(root / NONE, references={"a": {"random": 1.0, "human": 1.0}}),
        "its references must give each task a random score and a different human one",
    ),
    "a part that is none": (
        lambda root: respec(root / NONE, experiment={"agent": ["ppo.PPO", 3]}),
        "each part of its experiment must be a name with an object of fields",
    ),
    "a chain that is none": (lambda root: respec(root / NONE, experiment={"chain": 3}), "each part of its experiment must be a name"),
    "a seed that no column holds": (lambda root: respec(root / NONE, seed=2**63), "the seed one in [0, 2147483647]"),
    "brackets without end": (lambda root: (root / NONE / "spec.json").write_text("[" * 100_000), "is not a run's description"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_run_that_cannot_be_read_is_left_out_by_name_and_the_others_are_read(tmp_path: Path, case: str) -> None:
    spoil, line = UNREADABLE[case]
    two_chains(tmp_path)
    spoil(tmp_path)
    (told,) = [each for each in missing(tmp_path) if each.startswith("a run is left out: ")]
    assert line in told and str(tmp_path / NONE / "spec.json") in told and "\n" not in told
    loaded = load([tmp_path])
    assert [run.name for run in loaded.runs] == ["fresh, seed 0"]
    assert told in loaded.lacking(spec().setting) and told in section(loaded, spec().setting, alone=True).missing
    with pytest.raises(UsageError, match=r"spec\.json") as refusal:
        load([tmp_path / NONE])
    assert line in str(refusal.value)


def test_no_folder_at_all() -> None:
    with pytest.raises(UsageError, match="no folder was named"):
        load([])


def test_unequal_members_are_still_compared_on_those_they_share(tmp_path: Path) -> None:
    two_chains(tmp_path)
    online(tmp_path, "nap", AREAS[:2])
    loaded = load([tmp_path])
    nap = next(chain for chain in score(loaded, spec().setting).chains if chain.label == "nap")
    np.testing.assert_allclose(nap.area, [*AREAS[:2], [np.nan] * 3])


@pytest.mark.parametrize("kind", ["online", "return"])
def test_a_file_cut_at_every_byte_loses_rows_but_never_invents_any(tmp_path: Path, kind: str) -> None:
    levels = np.array([[0.125, 0.25], [0.5, 0.75]])
    described = spec(tasks=("a", "b"), members=2, unit="updates" if kind == "online" else "frames")
    if kind == "online":
        rows = online_rows(described, levels, shape=[0.5, 1.5])
    else:
        rows = episode_rows(described, levels, length=40, rng=np.random.default_rng(0))
    folder = write_run(tmp_path, described, rows)
    whole = score(load([folder]), described.setting).chains[0].area
    content = (folder / "scores.csv").read_bytes()
    for length in range(len(content)):
        (folder / "scores.csv").write_bytes(content[:length])
        lines = content[:length].count(b"\n") - 1
        if lines < 1:
            with pytest.raises(UsageError, match="no scores to report"):
                load([folder])
            continue
        loaded = load([folder])
        assert [tuple(row) for row in loaded.scores[list(Score._fields)].itertuples(index=False)] == rows[:lines]
        torn = content[length - 1 : length] != b"\n"
        assert any("torn" in line.what for line in loaded.missing) == torn, length
        setting = score(loaded, described.setting)
        area = setting.chains[0].area
        there = np.isfinite(area)
        np.testing.assert_array_equal(area[there], whole[there])  # a score is whole or absent
        assert there.all() or any("no score" in line for line in setting.missing)


def test_a_table_of_many_rows_is_read_back(tmp_path: Path) -> None:
    described = spec(members=1, tasks=("a",), budget=3000)
    rows = [Score(0, 0, "a", 0, 0, update, update, "online", update / 7) for update in range(1, 3001)]
    folder = write_run(tmp_path, described, rows)
    write_table(folder / "again.csv", Score, rows)
    assert load([tmp_path]).scores.score.tolist() == [row.score for row in rows]
