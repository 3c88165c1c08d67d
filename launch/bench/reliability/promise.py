"""Shape of a promise and of what a trial of it finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple


class Outcome(NamedTuple):
    """Result of one trial."""

    held: bool
    tried: str
    """what was done; where the promise did not hold, also what came of it"""
    seconds: float | None = None
    """time that the promise limits, if it limits one"""


@dataclass(frozen=True)
class Promise:
    """A promise of runs, and trials of it."""

    says: str
    aim: str
    trials: Callable[[Path, Random], Iterator[Outcome]]
    """Trials in an empty folder, one after another, without end or until nothing is left to try. Every choice is drawn from the random
    numbers given."""
