"""Claims of papers: arms in words, a grid, and their values at a scale. Files claimN_*.py beside this one are claims."""

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

SELECTED, REPORTED = 1, 0
"""seeds: what chooses, and what is reported"""
SELECTORS = 3
"""members of each cell of the grid"""

Values = dict[str, str]
"""placeholder -> what stands in its place"""


@dataclass(frozen=True)
class Arm:
    """One network's treatment. Words may hold placeholders, `weight-decay:strength={decay}`; those in the grid are chosen."""

    name: str
    words: Mapping[str, Any]
    """fields of an experiment, on top of the scale's"""
    panel: str = ""
    """arms that are drawn together"""
    like: str = ""
    """key of another arm, whose chosen values this one takes, and whose record: {moments}, {factors}, {layer_factors}"""

    @property
    def key(self) -> str:
        """Name in verdicts."""
        return f"{self.panel}: {self.name}" if self.panel else self.name


@dataclass(frozen=True)
class Scale:
    """Size of a claim's runs."""

    words: Mapping[str, Any]
    """fields of an experiment that all arms share"""
    reported: Mapping[str, str]
    """placeholders of the reported runs, such as {"tasks": "20"}"""
    selected: Mapping[str, str]
    """the same of the runs that choose: the first tenth of the tasks"""
    grid: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """placeholder -> values to choose from, in place of the claim's"""
    members: int = 10


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, tried."""

    title: str
    says: str
    """the claim, in our words"""
    paper: str
    notes: str
    """in what the small scale departs from the paper"""
    grid: Mapping[str, Sequence[str]]
    """placeholder -> values to choose from"""
    arms: tuple[Arm, ...]
    scales: Mapping[str, Scale]
    shows: tuple[str, ...] = ("score",)
    """what the figure has a row for: `score`, or a measure of analysis.claims.results"""
    score: str = "online accuracy"
    """what a score is"""


def cells(claim: Claim, scale: Scale, arm: Arm) -> Iterator[Values]:
    """Every combination of the values that the arm's words ask for; one without any where they ask for none."""
    grid = {**claim.grid, **scale.grid}
    names = [name for name in grid if name in placeholders({**scale.words, **arm.words})]
    for values in product(*(grid[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def fill(scale: Scale, arm: Arm, values: Mapping[str, str], reported: bool) -> dict[str, Any]:
    """The experiment, in words, of an arm with some values."""
    standing = {**(scale.reported if reported else scale.selected), **values}
    said = {name: _filled(text, standing) for name, text in {**scale.words, **arm.words}.items()}
    return said | {"members": scale.members if reported else SELECTORS, "seed": REPORTED if reported else SELECTED}


def placeholders(words: Mapping[str, Any]) -> set[str]:
    """The names in braces, wherever in the words."""
    texts = [text for value in words.values() for text in (value if isinstance(value, list | tuple) else [value]) if isinstance(text, str)]
    return {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}


def _filled(value: Any, standing: Mapping[str, str]) -> Any:
    if isinstance(value, list | tuple):
        return [_filled(each, standing) for each in value]
    return value.format(**standing) if isinstance(value, str) else value
