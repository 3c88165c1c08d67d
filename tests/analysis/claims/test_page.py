"""The page of claims on known results: its text on gates, parts, arms, and missing runs."""

from pathlib import Path

import numpy as np
import pytest

from analysis.claims.figure import _series
from analysis.claims.page import Choice, Entry, write_page
from analysis.claims.predicates import All, Any, Finding, Gate, Verdict
from analysis.claims.results import MEASURES, Result
from analysis.scores.learning_rates import RateCurve, RatePoint
from analysis.statistics.intervals import Estimate

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


def part(value: float, error: float = 0.01) -> Finding:
    found = Estimate(value, None, None, 7, 7, "", error, 6).at(0.95)
    return Finding("score - other > 0", found, True, 0.02)


def test_what_a_claim_came_to(tmp_path: Path) -> None:
    results = {ADAM: result([0.4, 0.3, 0.2, 0.1], 0.5), FIXED: result([0.4] * 4, 0.25)}
    scores = {"lifetime": {"1e-3": 0.4, "3e-3": 0.3, "1": -np.inf}, "10%": {"1e-3": 0.4, "3e-3": 0.5, "1": -np.inf}}
    choices = {ADAM: Choice({"rate": "1e-3"}, scores), FIXED: Choice({}, {})}
    gates = (Gate("fresh control finishes", 0.97, True),)
    parts = (part(0.3), All("both", (part(0.5), part(0.1))))
    curve = RateCurve(ADAM, False, tuple(RatePoint(rate, results[ADAM].curve) for rate in (1e-3, 3e-3, 1e-2)))
    whole = entry(
        4,
        shows=("score", "dead_fraction"),
        arms={key: ("", key) for key in results},
        verdict=Verdict(gates, parts, ("held", "open")),
        results=results,
        choices=choices,
        common="at rate 1e-3 for all arms",
        beside=Verdict(gates, parts, ("held", "not held")),
        curves={"": [curve]},
        members=7,
        seconds=7.0,
        where="a machine",
        selectors="Chosen.",
    )
    page = write_page([entry(1), whole, entry(7, missing="A run is missing.")], tmp_path, "small")
    assert page.headlines == {1: "not run", 4: "open at this scale: 1 of 2 parts hold", 7: "not run"}
    text = page.path.read_text()
    assert "| [1. Claim 1](#claim-1) | not run | - |" in text and "Total: 0 minutes" in text
    assert "| [4. Claim 4](#claim-4) | open at this scale: 1 of 2 parts hold | 7 s |" in text
    assert "**Not run.** A run is missing." in text and "> It is so (A paper)" in text
    assert "- fresh control finishes: 0.970, **passes**" in text and "Settings here are chosen by `lifetime`." in text
    interval = "[0.276, 0.324]"  # 2.447 standard errors of 0.01 to either side, with six degrees of freedom
    assert f"- score - other > 0: 0.300 {interval}; matters from 0.020, **holds**" in text and "- both, **open**" in text
    assert "At rate 1e-3 for all arms: inconsistent at this scale: 1 of 2 parts hold." in text
    assert "- both: does not hold, open at the chosen values" in text
    (row,) = (line for line in text.splitlines() if line.startswith("| adam |"))
    assert row.startswith("| adam | 0.350 [0.34") and "| 0.150 [0.14" in row and "| 0.250 [0.24" in row and row.endswith("| rate 1e-3 |")
    assert "`python -m launch claims 4`: 7 s on a machine. Reported: 7 members an arm. Chosen." in text
    assert "| adam (rate) | 1e-3: 0.400; 3e-3: 0.300; 1: diverged | 1e-3 | 3e-3 |" in text
    assert "![Claim 4: score, dead_fraction by visit for adam, adam, beta2 = 0.9, epsilon = 1e-3](claims/claim4.png)" in text
    for name in ("claim4.png", "claim4-rates.png"):
        assert f"(claims/{name})" in text and (tmp_path / "claims" / name).read_bytes().startswith(b"\x89PNG")


def test_a_closed_gate_is_the_headline(tmp_path: Path) -> None:
    results = {ADAM: result([0.4, 0.3], 0.5)}
    found = Verdict((Gate("fresh control finishes", 0.5, False),), (part(0.3),), ("held",))
    fields = dict(arms={ADAM: ("", ADAM)}, verdict=found, results=results, choices={ADAM: Choice({}, {})}, members=7)
    page = write_page([entry(4, **fields)], tmp_path, "paper", "10%")
    assert page.path.name == "claims-paper-tuned-10.md" and page.path.with_suffix("").is_dir()
    assert page.headlines == {4: "not applicable at this scale: not so that fresh control finishes"}
    text = page.path.read_text()
    assert "- fresh control finishes: 0.500, **fails**" in text and "`python -m launch claims 4 --scale paper --tuned-on 10%`" in text


def test_of_many_alternatives_the_likeliest_are_listed(tmp_path: Path) -> None:
    """Nine alternatives, of which the surest three are shown."""
    options = Any("one of nine", tuple(part(0.1 * place) for place in range(1, 10)))
    results = {ADAM: result([0.4, 0.3], 0.5)}
    fields = dict(arms={ADAM: ("", ADAM)}, results=results, choices={ADAM: Choice({}, {})}, members=7)
    page = write_page([entry(8, verdict=Verdict((), (options,), ("held",)), **fields)], tmp_path, "small")
    lines = [line for line in page.path.read_text().splitlines() if "score - other" in line]
    assert [line.split(": ")[1].split(" ")[0] for line in lines] == ["0.900", "0.800", "0.700"]


def test_a_control_of_fewer_visits_is_drawn_at_its_mean() -> None:
    two, five = result([0.4, 0.6], 0.3), result([0.4] * 5, 0.3)
    at, values = _series(two, "score", 5)
    assert at.tolist() == [0, 1, 2, 3, 4] and values.mean(axis=0).tolist() == pytest.approx([0.5] * 5)
    assert _series(five, "dead_fraction", 5)[1].shape == (10, 5)
    at, values = _series(two, "score", 2)
    assert at[-1] == two.updates and values.shape == (10, 20), "of two visits alone, over updates"
