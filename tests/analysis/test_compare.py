"""One answer on runs with a known answer; incomparable runs are refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.compare import answers
from analysis.statistics.power import visible
from launch.__main__ import main
from plasticity_rl.checks import UsageError
from tests.fake_runs import forgetful, games, online, online_rows, spec, supervised, write_run

CHANGES = np.array([0.02, 0.03, 0.05, 0.04, 0.06])
"""each of five members' advantage"""
BASE = np.array([0.3, 0.5, 0.7, 0.4, 0.6])


def two(root: Path, changes: np.ndarray = CHANGES, base: np.ndarray = BASE) -> None:
    """Members that differ far more than the two chains do; two visits, the second half as good."""
    online(root, "none", np.stack([base, base / 2], axis=1))
    online(root, "nap", np.stack([base + changes, base / 2 + changes], axis=1))


def test_pairs_decide_where_members_differ_more_than_chains(tmp_path: Path) -> None:
    two(tmp_path)
    (found,) = answers("none", "nap", tmp_path)
    before, after, ahead = found.leads["visit 1"]
    assert (before.value, after.value) == pytest.approx((0.25, 0.29)) and ahead.difference.value == pytest.approx(0.04)
    assert ahead.paired and ahead.improvement == 1.0 and ahead.p == pytest.approx(stats.ttest_1samp(CHANGES, 0.0).pvalue)
    assert ahead.difference.low == pytest.approx(0.04 - 2.7764451 * CHANGES.std(ddof=1) / 5**0.5)
    assert found.sentence.startswith("Yes: over visit 1 nap scores 0.290 and none 0.250, 0.040 more [0.0")
    assert found.leads["all visits"][2].difference.value == pytest.approx(0.04)
    assert "Paired: 5 members of the same seeds on the same data; 100% of them score more with nap than with none" in found.note
    seen = visible(5) * CHANGES.std(ddof=1)
    assert f"With such a spread, a true difference of {seen:.3f} is seen with 80% chance." in found.note and f"{seen:.3f}" == "0.027"
    (turned,) = answers("nap", "none", tmp_path)
    assert turned.sentence.startswith("No, it is worse: over visit 1 none scores 0.250 and nap 0.290, 0.040 less [0.0")


def test_strangers_are_less_sure(tmp_path: Path) -> None:
    online(tmp_path, "none", np.stack([BASE, BASE / 2], axis=1))
    online(tmp_path, "nap", np.stack([BASE, BASE / 2 + CHANGES], axis=1), seed=1)
    (found,) = answers("none", "nap", tmp_path)
    ahead = found.leads["visit 1"][2]
    assert not ahead.paired and ahead.difference.value == pytest.approx(0.04)
    assert found.note.startswith("Unpaired (no two members of the same seeds): 5 against 5 members")
    welch = stats.ttest_ind(BASE / 2 + CHANGES, BASE / 2, equal_var=False)
    assert ahead.p == pytest.approx(welch.pvalue) and "p is Welch's" in found.note
    assert found.sentence.startswith("Undecided, the difference may be chance: ")


def test_only_members_with_a_counterpart_are_paired(tmp_path: Path) -> None:
    two(tmp_path)
    online(tmp_path, "nap", np.ones((3, 2)), seed=7)
    (found,) = answers("none", "nap", tmp_path)
    assert found.leads["visit 1"][2].difference.value == pytest.approx(0.04) and "Left out: 3 members without a counterpart" in found.note


def test_unequal_numbers_of_members_of_a_seed_are_strangers(tmp_path: Path) -> None:
    online(tmp_path, "none", np.stack([BASE, BASE / 2], axis=1))
    online(tmp_path, "nap", np.stack([BASE, BASE / 2], axis=1)[:4])
    (found,) = answers("none", "nap", tmp_path)
    assert "Unpaired (seed 0 has 5 and 4 members: whether they met the same data is not known)" in found.note


def test_chance_and_too_few_members_are_said(tmp_path: Path) -> None:
    two(tmp_path / "chance", changes=np.array([0.02, -0.03, 0.05, -0.04, 0.01]))
    (found,) = answers("none", "nap", tmp_path / "chance")
    assert found.sentence.startswith("Undecided, the difference may be chance: ")
    two(tmp_path / "few", CHANGES[:3], BASE[:3])
    (found,) = answers("none", "nap", tmp_path / "few")
    assert found.sentence.startswith("Undecided with 3 members, minimum 5: ")
    two(tmp_path / "one", CHANGES[:1], BASE[:1])
    (found,) = answers("none", "nap", tmp_path / "one")
    assert found.sentence.startswith("Undecided with 1 member") and not found.leads["visit 1"][2].paired
    two(tmp_path / "alike", np.full(5, 0.1))
    (found,) = answers("none", "nap", tmp_path / "alike")
    assert found.sentence.startswith("Yes: ") or "[0.100, 0.100]" in found.sentence


def test_folders_are_compared_as_labels_are(tmp_path: Path) -> None:
    two(tmp_path)
    (by_label,) = answers("none", "nap", tmp_path)
    (by_folder,) = answers(str(tmp_path / "none-0"), str(tmp_path / "nap-0"), Path("nowhere"))
    assert by_folder.leads == {
        visits: (before, after, ahead.__class__(**{**vars(ahead), "label": str(tmp_path / "nap-0"), "reference": str(tmp_path / "none-0")}))
        for visits, (before, after, ahead) in by_label.leads.items()
    }


def test_the_same_chain_in_two_folders_is_compared_by_its_seeds(tmp_path: Path) -> None:
    online(tmp_path / "a", "none", np.full((5, 2), 0.2) + 0.01 * np.arange(5)[:, None], seed=0)
    online(tmp_path / "b", "none", np.full((5, 2), 0.5) + 0.01 * np.arange(5)[:, None], seed=1)
    (found,) = answers(str(tmp_path / "a"), str(tmp_path / "b"), Path("nowhere"))
    assert found.sentence.startswith("Yes: ") and not found.leads["visit 1"][2].paired


def test_games_are_shown_as_the_report_shows_them(tmp_path: Path) -> None:
    forgetful(tmp_path, "none", 0.1, 0.8)
    forgetful(tmp_path, "nap", 0.0, 0.9)
    (found,) = answers("none", "nap", tmp_path)
    before, after, _ = found.leads["visits 4-7"]
    shown = found.a.shown[:, 4:]
    assert before.value == pytest.approx(shown.mean()) and after.value > before.value and found.a.setting.normalised


def test_the_answer_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    supervised(tmp_path, "none", 0.8, 0.3)
    supervised(tmp_path, "nap", 0.8, 0.75)
    assert main(["compare", "none", "nap", "--runs", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("random-labels: is nap better than none?\n\nYes: over visits 17-19 nap scores 0.7")
    assert (
        "all visits" in printed
        and "[0." in printed
        and "Intervals are 95% t intervals over members; p is the paired t test's." in printed
        and "< 0.001" in printed
    )


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two(tmp_path)
    (tmp_path / "nap-0" / "DONE").unlink()
    assert main(["compare", "none", "nap", "--runs", str(tmp_path)]) == 0
    assert "Missing:\n- nap, seed 0: not finished: in visit 1 of 0-1" in capsys.readouterr().out


def other(root: Path, label: str = "nap", **changed: object) -> Path:
    described = spec(label, **{"setting": "another", **changed})
    return write_run(root, described, online_rows(described, np.full((3, 3), 0.5)))


def test_different_settings_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = {"benchmark": ["random-labels", {"tasks": 3}], "network": ["mlp", {"width": 64, "depth": 2}], "evaluate": 0}
    other(tmp_path, "none", setting="one", experiment=parts | {"chain": [], "seed": 0})
    more = parts | {"network": ["mlp", {"width": 128, "depth": 2}], "agent": ["dqn", {}], "evaluate": 3}
    other(tmp_path, "nap", setting="two", experiment=more | {"chain": [["nap", {}]], "seed": 1})
    with pytest.raises(UsageError) as caught:
        answers("none", "nap", tmp_path)
    said = "none and nap cannot be compared: network's width is 64 and 128; evaluate is 0 and 3; agent is None and dqn"
    assert str(caught.value) == said
    assert main(["compare", "none", "nap", "--runs", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {said}\n"


def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two(tmp_path)
    here = str(tmp_path)

    def said(a: str, b: str, runs: str = here) -> str:
        assert main(["compare", a, b, "--runs", runs]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
        return error

    assert "unknown folder or chain" in said("none", "npa") and "did you mean nap?" in said("none", "npa")
    assert "have a run in common" in said("none", "none") and "have a run in common" in said("none", f"{here}/none-0")
    assert "holds 2 chains (nap, none): name two of them, with --runs" in said(here, "none")
    assert "no such folder: no/where" in said("no/where", "none", "nowhere")
    assert "there is no folder of runs nowhere" in said("none", "nap", "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no run in" in said("none", f"{here}/empty")
    other(tmp_path / "elsewhere", "redo")
    assert "benchmark's visits is 2 and 3" in said("none", "redo")


def test_data_that_differ_under_one_setting_are_refused(tmp_path: Path) -> None:
    two(tmp_path)
    path = tmp_path / "nap-0" / "spec.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fingerprint": "other data"}))
    with pytest.raises(UsageError, match="met different data"):
        answers("none", "nap", tmp_path)


def test_tasks_without_a_common_scale_are_refused(tmp_path: Path) -> None:
    games(tmp_path, "none", np.full((5, 2), 3.0), ["pong", "chess"])
    games(tmp_path, "nap", np.full((5, 2), 4.0), ["pong", "chess"])
    with pytest.raises(UsageError, match="share no scale"):
        answers("none", "nap", tmp_path)


def test_two_settings_are_two_answers(tmp_path: Path) -> None:
    two(tmp_path)
    for label in ("none", "nap"):
        other(tmp_path / "more", label, key=f"{label}-more", benchmark="Other")
    found = answers("none", "nap", tmp_path)
    assert sorted(each.a.setting.spec.benchmark for each in found) == ["Other", "random-labels"]
    assert next(each for each in found if each.a.setting.spec.benchmark == "Other").sentence.startswith("Undecided with 3 members")
