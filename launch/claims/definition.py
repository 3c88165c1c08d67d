"""Data types of a paper's claim: arms in words, a grid, and their values at a scale. The claims are in the files claimN_*.py."""

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

SELECTED, REPORTED = 1, 0
"""seeds of the selection runs and of the reported runs"""
SELECTORS = 3
"""members per cell of the grid"""

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
    """Size of a claim's runs."""

    words: Mapping[str, Any]
    """fields of an experiment common to all arms"""
    reported: Mapping[str, str]
    """placeholders of the reported runs, such as {"tasks": "20"}"""
    selected: Mapping[str, str]
    """placeholders of the selection runs: the first tenth of the tasks"""
    grid: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """placeholder -> candidate values, which replace the claim's"""
    members: int = 10


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
    shows: tuple[str, ...] = ("score",)
    """rows of the figure: `score`, or a measure of analysis.claims.results"""
    score: str = "online accuracy"
    """meaning of a score"""


def cells(claim: Claim, scale: Scale, arm: Arm) -> Iterator[Values]:
    """Yield every combination of grid values for the arm's placeholders; one empty combination if it has none."""
    grid = {**claim.grid, **scale.grid}
    names = [name for name in grid if name in placeholders({**scale.words, **arm.words})]
    for values in product(*(grid[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def fill(scale: Scale, arm: Arm, values: Mapping[str, str], reported: bool) -> dict[str, Any]:
    """Return the experiment in words of an arm with these values."""
    standing = {**(scale.reported if reported else scale.selected), **values}
    said = {name: _filled(text, standing) for name, text in {**scale.words, **arm.words}.items()}
    return said | {"members": scale.members if reported else SELECTORS, "seed": REPORTED if reported else SELECTED}


def placeholders(words: Mapping[str, Any]) -> set[str]:
    """Return all names in braces in the words."""
    texts = [text for value in words.values() for text in (value if isinstance(value, list | tuple) else [value]) if isinstance(text, str)]
    return {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}


def _filled(value: Any, standing: Mapping[str, str]) -> Any:
    if isinstance(value, list | tuple):
        return [_filled(each, standing) for each in value]
    return value.format(**standing) if isinstance(value, str) else value
