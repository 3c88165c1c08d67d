"""The page of claims on known results: its text on each part, each arm, and missing runs."""

from pathlib import Path

import numpy as np

from analysis.claims.page import Choice, Entry, write_page
from analysis.claims.results import MEASURES, Result

NOISE = np.linspace(-0.01, 0.01, 10)
ADAM, FIXED = "adam", "adam, beta2 = 0.9, epsilon = 1e-3"


def result(scores: list[float], dead: float) -> Result:
    """A score for each visit, and a share of dead units over an untrained network's tenth."""
    visits = len(scores)
    curve = np.broadcast_to(np.array(scores)[:, None], (10, visits, 10)) + NOISE[:, None, None]
    measures = {name: np.full((10, visits), 0.1) for name in MEASURES} | {"dead_fraction": dead + np.tile(NOISE[:, None], visits)}
    series = {name: (np.array([50, 100]), measures[name][:, :2]) for name in MEASURES}
    return Result(curve, measures, series, tuple(f"task{visit}" for visit in range(visits)), 100)


def entry(number: int, **fields) -> Entry:
    described = {"shows": ("score",), "score": "accuracy", "arms": {}} | fields
    return Entry(number=number, title=f"Claim {number}", says="It is so", paper="A paper", notes="Small.", **described)


def test_what_a_claim_came_to(tmp_path: Path) -> None:
    results = {ADAM: result([0.4, 0.3, 0.2, 0.1], 0.5), FIXED: result([0.4] * 4, 0.25)}
    choices = {ADAM: Choice({"rate": "1e-3"}, {"1e-3": 0.4, "1": -np.inf}), FIXED: Choice({}, {})}
    arms = {key: ("", key) for key in results}
    whole = entry(
        4,
        shows=("score", "dead_fraction"),
        arms=arms,
        results=results,
        choices=choices,
        members=10,
        seconds=7.0,
        where="a machine",
        selectors="Chosen.",
    )
    page = write_page([entry(1), whole, entry(7, missing="A run is missing.")], tmp_path, "small")
    assert page.verdicts == {1: "not run", 4: "not reproduced", 7: "not run"}
    text = page.path.read_text()
    assert (
        "| [1. Claim 1](#claim-1) | not run | - |" in text
        and "Total: 0 minutes." in text
        and "| [4. Claim 4](#claim-4) | not reproduced | 7 s |" in text
    )
    assert "**Not run.** A run is missing." in text and "> It is so (A paper)" in text
    lines = text.splitlines()
    (all_of,) = (line for line in lines if line.startswith("- all of:"))
    assert all_of == "- all of: **contradicted**"
    parts = [line for line in lines if line.startswith("  - ")]
    assert "- 0.1 > 0: 0.300 [0.29" in parts[0] and parts[0].endswith("**holds**")  # 0.5 - 0.1 - 0.1
    assert "- 0.1 < 0: 0.050 [0.04" in parts[1] and parts[1].endswith("**contradicted**")  # 0.25 - 0.1 - 0.1
    (row,) = (line for line in lines if line.startswith("| adam |"))
    assert row.startswith("| adam | 0.350 [0.34") and "| 0.150 [0.14" in row and "| 0.250 [0.24" in row and row.endswith("| rate 1e-3 |")
    assert "`python -m launch claims 4`: 7 s on a machine." in text and "| adam (rate) | 1e-3: 0.400; 1: diverged |" in text
    assert "![Claim 4: score, dead_fraction by visit for adam, adam, beta2 = 0.9, epsilon = 1e-3](claims/claim4.png)" in text
    assert (tmp_path / "claims" / "claim4.png").read_bytes().startswith(b"\x89PNG")


def test_of_many_alternatives_those_that_hold_are_named(tmp_path: Path) -> None:
    """Seven methods alike but for one swapped pair: 1 of 42 ordered pairs holds; the other 19 pairs are ordered alike."""
    levels = dict(zip("abcdefg", np.arange(1, 8) / 10, strict=True))
    results = {f"Adam: {name}": result([level] * 2, 0.1) for name, level in levels.items()}
    results |= {f"SGD: {name}": result([level] * 2, 0.1) for name, level in (levels | {"a": 0.2, "b": 0.1}).items()}
    arms = {key: tuple(key.split(": ")) for key in results}
    choices = {key: Choice({}, {}) for key in results}
    page = write_page([entry(8, arms=arms, results=results, choices=choices, members=10)], tmp_path, "paper")
    assert page.path.name == "claims-paper.md" and page.verdicts == {8: "reproduced"}
    text = page.path.read_text()
    assert "  - 1 hold, 41 are contradicted, 0 are open" in text
    assert "  - b before a under Adam and behind it under SGD **holds**" in text
    assert "`python -m launch claims 8 --scale paper`" in text and "claims-paper/claim8.png" in text
