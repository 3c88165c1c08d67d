"""Incomparable runs are refused in one line."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Score
from tests.analysis.data.test_load import AREAS, FRESH, NONE, edit, missing, respec, two_chains
from tests.fake_runs import online, spec

REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "an empty folder": (lambda root: [shutil.rmtree(root / NONE), shutil.rmtree(root / FRESH)], "no run in "),
    "no such folder": (lambda root: shutil.rmtree(root), "no such folder: "),
    "a file": (lambda root: [shutil.rmtree(root), root.write_text("")], "no such folder: "),
    "no rows in any run": (
        lambda root: [(root / name / "scores.csv").write_text(",".join(Score._fields) + "\n") for name in (NONE, FRESH)],
        "no scores to report in any of the runs found (2); the first: ",
    ),
    "the same run twice": (lambda root: shutil.copytree(root / NONE, root / "copy"), "the same run appears twice: "),
    "two runs of one chain and seed": (
        lambda root: [shutil.copytree(root / NONE, root / "copy"), respec(root / "copy", key="other")],
        "two runs of one setting, chain and seed: ",
    ),
    "one label for two chains": (
        lambda root: [online(root, "none", AREAS, seed=1, experiment={"chain": [["redo", {}]]})],
        "one label for two different chains: ",
    ),
    "two fresh controls": (lambda root: online(root, "reset", AREAS, fresh_control=True), f"setting {spec().setting} has 2 fresh controls"),
    "mixed fingerprints": (
        lambda root: respec(root / NONE, fingerprint="else"),
        "these claim the same setting, seed and members but met different data: ",
    ),
    "mixed visits": (
        lambda root: respec(root / NONE, visits=[{"index": 0, "task": "a", "cycle": 0, "budget": 7}]),
        "these claim the same setting but differ in benchmark, visits, unit or references: ",
    ),
    "mixed units": (
        lambda root: respec(root / NONE, unit="frames"),
        "these claim the same setting but differ in benchmark, visits, unit or ",
    ),
    "kinds that differ between runs": (
        lambda root: edit(root / NONE / "scores.csv", lambda lines: [line.replace("online", "return") for line in lines]),
        f"runs of setting {spec().setting} report scores of different kinds: online, return",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    spoil, line = REFUSED[case]
    root = tmp_path / "runs"
    two_chains(root)
    spoil(root)
    with pytest.raises(UsageError) as refusal:
        missing(root)
    assert line in str(refusal.value) and "\n" not in str(refusal.value)
