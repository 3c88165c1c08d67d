"""Weaknesses of a report are named on its page."""

import html
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.report.page import write_report
from tests.fake_runs import atari, games, online, spec


def renamed(root: Path, **changed: object) -> None:
    """Two games; the second with other settings of the benchmark."""
    atari(root, {"none": np.full((2, 1), 0.5), "fresh": np.full((2, 1), 0.6)}, 2)
    for path in root.rglob("*Game01*/spec.json"):
        described = json.loads(path.read_text())
        described["experiment"]["benchmark"][1] |= changed
        path.write_text(json.dumps(described))


def without(root: Path, pattern: str) -> None:
    """A comparison of two games that lacks some of its runs."""
    atari(root, {label: np.full((2, 1), 0.5) for label in ("none", "nap", "fresh")}, 3)
    for path in root.rglob(pattern):
        shutil.rmtree(path)


def referenced(root: Path, references: dict[str, dict[str, float]]) -> None:
    for label in ("none", "fresh"):
        games(root, label, np.array([[1.0, 2.0], [3.0, 4.0]]), ["pong", "boxing"], references=references)


FLAGGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a game is missing": (lambda root: without(root, "nap-Game01-*"), "nap: no run of Game01, which other chains have"),
    "a run of a game is missing": (
        lambda root: without(root, "nap-Game01-2"),
        "nap: fewer runs than the 3 runs of other tasks: Game01 (2)",
    ),
    "a seed of a game is missing": (
        lambda root: without(root, "nap-Game01-2"),
        "Game01: nap: no member 0 of seed 2, which other chains have",
    ),
    "few runs": (lambda root: without(root, "nothing"), "fewer than 5 members of some task: no chain is called best"),
    "the control of a game is missing": (
        lambda root: without(root, "fresh-Game01-*"),
        "Game01: no fresh control: performance is not defined",
    ),
    "mixed sticky actions": (
        lambda root: renamed(root, sticky=0.0),
        "reported apart from atari (00000000): benchmark's games is ['Game00'] and ['Game01']; benchmark's sticky is 0.25 and 0.0",
    ),
    "mixed action sets": (lambda root: renamed(root, full_actions=False), "benchmark's full_actions is None and False"),
    "mixed budgets": (
        lambda root: [
            atari(root / "a", {"none": np.full((1, 1), 0.5)}, 2),
            games(
                root / "b",
                "none",
                [[1.0], [2.0]],
                ["Game01"],
                setting="f" * 16,
                experiment={"benchmark": ["atari", {"games": ["Game01"]}]},
            ),
        ],
        "benchmark's frames is 1000000 and None",
    ),
    "mixed agents": (
        lambda root: [
            online(root / "a", "none", [[0.1], [0.2]]),
            online(
                root / "b",
                "none",
                [[0.1], [0.2]],
                setting="f" * 16,
                key="b",
                experiment=spec().experiment | {"agent": ["supervised", {}]},
            ),
        ],
        "agent is None and supervised",
    ),
    "no normaliser": (lambda root: referenced(root, {}), "no random score is known for boxing, pong: ratios are measured from 0 there"),
    "a normaliser of one game alone": (
        lambda root: referenced(root, {"pong": {"random": 0.0, "human": 9.0}}),
        "no random score is known for boxing: ratios are measured from 0 there",
    ),
    "one member": (lambda root: online(root, "none", [[0.4, 0.3]]), "none: no interval: one member"),
    "members that do not differ": (lambda root: online(root, "none", [[0.4, 0.3]] * 3), "none: no interval: members do not differ"),
    "a control that did not learn": (
        lambda root: [online(root, "none", [[0.4], [0.3]]), online(root, "fresh", [[0.0], [0.0]])],
        "no performance at visit 0: the fresh control did not learn in this budget",
    ),
    "HTML in a name": (
        lambda root: online(root, "<img src=x>", [[0.4], [0.3]], key="html"),
        "no fresh control: performance is not defined",
    ),
}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("case", FLAGGED)
def test_what_weakens_a_report_is_named_on_its_page(tmp_path: Path, case: str) -> None:
    spoil, line = FLAGGED[case]
    spoil(tmp_path / "runs")
    written = write_report([tmp_path / "runs"], tmp_path / "out")
    assert any(line in found for part in written.parts for found in part.missing)
    assert html.escape(line, quote=False).replace("'", "&#39;") in written.page.read_text() and "<img src=x" not in written.page.read_text()
