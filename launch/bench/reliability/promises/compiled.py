"""Promise: a run whose updates are compiled can be killed and resumed as well as an eager one."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from launch.bench.reliability.promise import Outcome, Promise
from launch.bench.reliability.promises.resume import killed_runs
from launch.bench.reliability.runs import Twins, kinds


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """Runs of every kind, compiled."""
    return killed_runs(Twins(folder, ()), kinds(), random)


PROMISE = Promise("The same holds if updates are compiled", "all", trials)
