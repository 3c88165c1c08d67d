"""Data types of a paper's claim: arms in words, a grid, and their values at a scale. The claims are in `papers`."""

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from analysis.statistics.decisions import LOOKS

SELECTED = 1
"""seed of the selection runs"""
REPORTED = (0, 2)
"""seed of the reported members of each look"""
SELECTORS = 3
"""members per cell of the grid"""

LABELS = "random-labels:images=300,tasks=15,updates=2000"
"""random labels that are learned before they change, and on which plain Adam loses most of its score at every rate of the grid: settled by
a pilot with the gates alone"""
FRESH = {"chain": ["reset"], "benchmark": "{fresh}"}
"""words of a fresh control"""
TWO = {"fresh": "random-labels:images=300,tasks=2,updates=2000"}
"""its benchmark: tasks are alike, so two show what a new network reaches"""
RATES = ("5e-4", "1e-3", "2e-3")
UNSEEN = 1_000_000
"""updates between diagnostics of selection runs, of which only scores are read"""

Values = dict[str, str]
"""placeholder -> value"""


@dataclass(frozen=True)
class Arm:
    """One arm of a claim. Words may hold placeholders, such as `weight-decay:strength={decay}`; the grid's placeholders are selected."""

    name: str
    words: Mapping[str, Any]
    """fields of an experiment, which override the scale's"""
    panel: str = ""
    """name of the panel in which the arm is drawn"""
    like: str = ""
    """key of another arm, from which this one takes selected values and the record: {moments}, {factors}, {layer_factors}"""

    @property
    def key(self) -> str:
        """Name of the arm in verdicts."""
        return f"{self.panel}: {self.name}" if self.panel else self.name


@dataclass(frozen=True)
class Scale:
    """Size of a claim's runs. Selection runs are as long as reported ones, so that every rule of selection can read them."""

    words: Mapping[str, Any]
    """fields of an experiment common to all arms"""
    size: Mapping[str, str] = field(default_factory=dict)
    """placeholders in the words that this scale fixes"""
    grid: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """placeholder -> candidate values, which replace the claim's"""
    looks: tuple[int, ...] = LOOKS
    """reported members at each look; the next is made where one leaves a part open"""


@dataclass(frozen=True)
class Claim:
    """A paper's claim and its test."""

    title: str
    says: str
    """the claim, paraphrased"""
    paper: str
    notes: str
    """departures of the small scale from the paper"""
    grid: Mapping[str, Sequence[str]]
    """placeholder -> candidate values"""
    arms: tuple[Arm, ...]
    scales: Mapping[str, Scale]
    common: Mapping[str, str] = field(default_factory=dict)
    """values of the grid at which all arms are reported too, beside the chosen ones, such as one learning rate"""
    shows: tuple[str, ...] = ("score",)
    """rows of the figure: `score`, or a measure of analysis.claims.results"""
    score: str = "online accuracy"
    """meaning of a score"""
    census: bool = False
    """whether dead units are counted on all images, in the last checkpoint of each run"""
    sweep: str = ""
    """file of the sweep that trains the claim's runs; empty if the command `claims` does"""


def cells(claim: Claim, scale: Scale, arm: Arm) -> Iterator[Values]:
    """Yield every combination of grid values for the arm's placeholders; one empty combination if it has none."""
    grid = {**claim.grid, **scale.grid}
    names = [name for name in grid if name in placeholders({**scale.words, **arm.words})]
    for values in product(*(grid[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def fill(scale: Scale, arm: Arm, values: Mapping[str, str], members: int, seed: int) -> dict[str, Any]:
    """Return the experiment in words of an arm with these values."""
    said = {name: _filled(text, {**scale.size, **values}) for name, text in {**scale.words, **arm.words}.items()}
    return said | {"members": members, "seed": seed} | ({"diagnose_every": UNSEEN} if seed == SELECTED else {})


def added(looks: tuple[int, ...]) -> list[tuple[int, int]]:
    """Members that each look adds, and their seed."""
    return [(members - before, seed) for members, before, seed in zip(looks, (0, *looks), REPORTED, strict=False)]


def placeholders(words: Mapping[str, Any]) -> set[str]:
    """Return all names in braces in the words."""
    texts = [text for value in words.values() for text in (value if isinstance(value, list | tuple) else [value]) if isinstance(text, str)]
    return {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}


def _filled(value: Any, standing: Mapping[str, str]) -> Any:
    if isinstance(value, list | tuple):
        return [_filled(each, standing) for each in value]
    return value.format(**standing) if isinstance(value, str) else value
