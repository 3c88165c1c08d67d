"""Policies that stopped exploring versus networks that cannot fit, on runs with a known answer."""

from pathlib import Path

import numpy as np
import pytest

from analysis.data.load import load
from analysis.report.page import write_report
from analysis.scores.policies import EXPLORES, FITS, policies, ratio
from analysis.scores.setting import score as scored
from analysis.scores.setting import settings
from analysis.statistics.intervals import ALIKE, Estimate
from plasticity_rl.records.events import Metric
from tests.fake_runs import episode_rows, spec, write_run

MEMBERS, VISITS, BUDGET = 6, 4, 400
REFERENCES = {task: {"random": 0.0} for task in "abcd"}
HEALTHY = np.array([0.5, 0.4, 0.6, 0.45, 0.55, 0.5])
SATURATED = np.array([1e-6, 0.0, 2e-3, 0.0, 1e-4, 0.0])
GOOD = np.array([0.02, 0.1, 0.04, 0.03, 0.08, 0.05])
BAD = np.array([0.5, 0.7, 0.4, 1.9, 0.6, 0.3])
UNTRAINED = 0.05


def rows(
    described, entropy: np.ndarray, policy: np.ndarray | None, value: np.ndarray | None, information: np.ndarray | None = None
) -> list[Metric]:
    """Rows of four quarters of each visit; only the last half has these numbers, the first shows the opposite."""
    found: list[Metric] = []
    for visit in described.visits:
        for quarter in range(1, 5):
            updates = visit["index"] * 1000 + 250 * quarter
            for member in range(MEMBERS):
                where = (member, visit["index"], visit["task"], visit["cycle"], 0, updates, updates)
                late = quarter > 2
                found += [
                    Metric(*where, "policy_entropy", float(entropy[member] if late else 0.3)),
                    Metric(*where, "policy_entropy_fresh", 0.7 if quarter != 4 else 0.6),
                    Metric(*where, "smallest_probability", float(entropy[member] / 3)),
                    Metric(*where, "logit_scale", 10.0 + member),
                ]
                if information is not None:
                    found.append(Metric(*where, "policy_information", float(information[member] if late else 0.0)))
                    found.append(Metric(*where, "policy_information_fresh", 0.5))
                for name, losses in (("probe_policy", policy), ("probe_value", value)):
                    if losses is not None and quarter == 4:
                        found += [
                            Metric(*where, f"{name}/scaled", float(losses[member])),
                            Metric(*where, f"{name}_fresh/scaled", UNTRAINED),
                            Metric(*where, f"{name}/teacher", 77.0),
                            Metric(*where, f"{name}_fresh/teacher", 0.1),
                        ]
    return found


def run(
    root: Path,
    label: str,
    entropy: np.ndarray,
    policy: np.ndarray | None = GOOD,
    value: np.ndarray | None = GOOD,
    information: np.ndarray | None = None,
) -> None:
    described = spec(label, 0, "abcd", BUDGET, unit="frames", members=MEMBERS, benchmark="continual-cartpole", references=REFERENCES)
    levels = np.full((MEMBERS, VISITS), 9.3 if entropy.mean() < 0.1 else 300.0) + np.arange(MEMBERS)[:, None]
    write_run(root, described, episode_rows(described, levels), rows(described, entropy, policy, value, information))


def diagnosed(root: Path) -> dict[str, str]:
    loaded = load([root])
    (key,) = settings(loaded)
    return {row.label: row.diagnosis for row in policies(loaded, scored(loaded, key))}


def words(root: Path) -> list[str]:
    loaded = load([root])
    (key,) = settings(loaded)
    return [row.word for row in policies(loaded, scored(loaded, key))]


def test_each_of_the_four_is_told_from_the_others(tmp_path: Path) -> None:
    run(tmp_path, "none", SATURATED)
    run(tmp_path, "redo", HEALTHY, GOOD, BAD)
    run(tmp_path, "nap", SATURATED, BAD, BAD)
    run(tmp_path, "l2-init", HEALTHY)
    run(tmp_path, "fresh", HEALTHY, None, None)
    assert diagnosed(tmp_path) == {
        "none": "does not explore",
        "redo": "cannot fit (value)",
        "nap": "cannot fit (policy and value) and does not explore",
        "l2-init": "can fit and explores",
        "fresh": "explores; not probed",
    }
    assert words(tmp_path) == ["does not explore", "can fit and explores", "both", "cannot fit", "undecided"]  # by label, the control last


def test_a_policy_that_draws_other_actions_may_learn_nothing_from_them(tmp_path: Path) -> None:
    none, open_ = np.zeros(MEMBERS), np.where(np.arange(MEMBERS) < 5, 0.0, 0.3)
    run(tmp_path, "none", HEALTHY, information=none)
    run(tmp_path, "redo", HEALTHY, BAD, information=none)
    run(tmp_path, "nap", HEALTHY, information=open_)
    run(tmp_path, "l2-init", SATURATED, information=none)
    run(tmp_path, "fresh", HEALTHY, information=HEALTHY)
    assert diagnosed(tmp_path) == {
        "none": "gets no gradient",
        "redo": "cannot fit (policy) and gets no gradient",
        "nap": "can fit and explores; undecided whether it gets a gradient",
        "l2-init": "does not explore",
        "fresh": "can fit and explores",
    }
    loaded = load([tmp_path])
    found = {row.label: row for row in policies(loaded, scored(loaded, settings(loaded)[0]))}
    assert {label: row.word for label, row in found.items()} == {
        "none": "gets no gradient",
        "redo": "both",
        "nap": "undecided",
        "l2-init": "does not explore",
        "fresh": "can fit and explores",
    }
    assert found["fresh"].information.value == pytest.approx(HEALTHY.mean() / 0.5)
    (table,) = [made for made in write_report([tmp_path], tmp_path / "out").parts[0].tables if made.title.startswith("Policies")]
    assert table.headings[-2].title == "Fisher information" and table.lines[0].cells[-2].value.startswith("0")
    assert ",policy_information_ratio," in (tmp_path / "out" / "policies.csv").read_text()


def test_what_the_interval_does_not_decide_is_left_open(tmp_path: Path) -> None:
    some = np.where(np.arange(MEMBERS) < 5, 0.0, 0.6)
    run(tmp_path, "none", some)
    run(tmp_path, "redo", SATURATED, np.array([0.05, 0.6, 0.01, 0.5, 0.07, 0.4]))
    assert diagnosed(tmp_path) == {
        "none": "can fit; undecided whether it explores: 5 of 6 members do not",
        "redo": "does not explore; undecided whether it can fit",
    }
    assert words(tmp_path) == ["undecided", "does not explore"]


def test_the_numbers_are_of_the_second_halves_of_the_last_visits(tmp_path: Path) -> None:
    run(tmp_path, "none", HEALTHY, BAD, GOOD)
    loaded = load([tmp_path])
    (key,) = settings(loaded)
    (found,) = policies(loaded, scored(loaded, key))
    assert found.entropy.value == pytest.approx(HEALTHY.mean())
    assert found.share.value == pytest.approx(HEALTHY.mean() / 0.65)  # untrained: 0.7 and 0.6
    assert found.scale.value == pytest.approx(12.5) and found.still == 0
    shares = (0.5 + 0.3 + 0.6 + 0.0 + 0.4 + 0.7) / 6  # a loss above 1: no learning
    assert found.probes["policy"].value == pytest.approx(shares / 0.95)
    assert found.probes["value"].value == pytest.approx((1 - GOOD.mean()) / 0.95)


def test_nothing_is_said_of_visits_that_have_not_begun(tmp_path: Path) -> None:
    described = spec("none", 0, "abcd", BUDGET, unit="frames", members=MEMBERS, references=REFERENCES)
    early = [row for row in rows(described, SATURATED, GOOD, GOOD) if row.visit == 0]
    scores = [row for row in episode_rows(described, np.full((MEMBERS, VISITS), 9.3)) if row.visit == 0]
    write_run(tmp_path / "runs", described, scores, early, done=False)
    assert diagnosed(tmp_path / "runs") == {"none": "not known: no member has all of it"}
    assert "Policies" not in write_report([tmp_path / "runs"], tmp_path / "out").parts[0].reading


def test_sides_of_a_level() -> None:
    assert [Estimate(0.5, low, high).side(0.4) for low, high in ((0.41, 0.6), (0.3, 0.6), (0.1, 0.39))] == [1, 0, -1]
    assert [Estimate(value, members=6, note=ALIKE).side(0.4) for value in (0.0, 1.0)] == [-1, 1]
    assert Estimate(0.0, members=1, note="no interval: one member").side(0.4) == 0
    assert ratio(np.array([[1.0, 3.0], [2.0, 2.0]]), np.array([[4.0, 4.0], [2.0, 6.0]])) == 0.5


def test_the_report_says_it_in_words(tmp_path: Path) -> None:
    run(tmp_path / "runs", "none", SATURATED)
    run(tmp_path / "runs", "fresh", HEALTHY)
    report = write_report([tmp_path / "runs"], tmp_path / "out")
    (part,) = report.parts
    assert part.reading.endswith("Policies and networks of none at the end: does not explore.")
    (table,) = [made for made in part.tables if made.title.startswith("Policies")]
    assert [line.cells[-1].value for line in table.lines] == ["does not explore", "can fit and explores"]
    assert table.lines[0].cells[0].value.startswith("11.8") and "of untrained" in table.lines[0].cells[3].note
    assert f"{EXPLORES:.0%}" in table.caption and f"{FITS:.0%}" in table.caption
    lines = (tmp_path / "out" / "policies.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 6 and ",does not explore,6,entropy," in lines[1]


def valued(
    root: Path, label: str, losses: np.ndarray | None, level: float = 300.0, target: str = "scaled", fresh: float = UNTRAINED
) -> None:
    """A value-based agent's run, which has a probe of one network and no entropy."""
    described = spec(label, 0, "abcd", BUDGET, unit="frames", members=MEMBERS, benchmark="bandit", references=REFERENCES)
    found: list[Metric] = []
    for visit in described.visits:
        for member in range(MEMBERS):
            where = (member, visit["index"], visit["task"], visit["cycle"], 0, updates := (visit["index"] + 1) * 1000, updates)
            found.append(Metric(*where, "loss", 1.0))
            if losses is not None:
                found += [Metric(*where, f"probe_final/{target}", float(losses[member]))]
                found += [Metric(*where, f"probe_final_fresh/{target}", UNTRAINED)]
    levels = np.full((MEMBERS, VISITS), level) + np.arange(MEMBERS)[:, None] * (level > 0)
    write_run(root, described, episode_rows(described, levels), found)


def test_value_based_agents_say_whether_they_can_fit(tmp_path: Path) -> None:
    valued(tmp_path, "none", BAD)
    valued(tmp_path, "nap", GOOD)
    valued(tmp_path, "redo", np.array([0.05, 0.6, 0.01, 0.5, 0.07, 0.4]))
    valued(tmp_path, "fresh", None)
    assert diagnosed(tmp_path) == {
        "none": "cannot fit",
        "nap": "can fit",
        "redo": "undecided whether it can fit",
        "fresh": "not probed",
    }
    assert words(tmp_path) == ["cannot fit", "can fit", "undecided", "not probed"]
    loaded = load([tmp_path])
    found = {row.label: row for row in policies(loaded, scored(loaded, settings(loaded)[0]))}
    assert found["nap"].probes["network"].value == pytest.approx((1 - GOOD.mean()) / 0.95)
    part = write_report([tmp_path], tmp_path / "out").parts[0]
    assert part.reading.endswith("Networks of none at the end: cannot fit.")
    (table,) = [made for made in part.tables if made.title == "Networks: can they fit?"]
    assert [heading.title for heading in table.headings] == ["Chain", "Last visits", "Probe", "Diagnosis"]


def test_older_runs_of_value_based_agents_have_another_probe_and_some_have_none(tmp_path: Path) -> None:
    valued(tmp_path / "older", "none", BAD, target="teacher")
    assert diagnosed(tmp_path / "older") == {"none": "cannot fit"}
    valued(tmp_path / "without", "none", None)
    valued(tmp_path / "without", "fresh", None)
    assert diagnosed(tmp_path / "without") == {}


def test_a_budget_in_which_the_control_learns_nothing_either_is_no_loss(tmp_path: Path) -> None:
    valued(tmp_path / "late", "none", GOOD, level=0.0)
    valued(tmp_path / "late", "fresh", GOOD, level=0.0)
    told = "had no time: its control did not learn within a visit either; can fit"
    assert diagnosed(tmp_path / "late") == {"none": told, "fresh": told} and words(tmp_path / "late") == ["had no time"] * 2
    valued(tmp_path / "lost", "none", BAD, level=0.0)
    valued(tmp_path / "lost", "fresh", GOOD)
    assert diagnosed(tmp_path / "lost") == {"none": "cannot fit", "fresh": "can fit"}
