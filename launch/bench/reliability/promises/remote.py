"""Promise: a run with remote actors can be killed and resumed as well as one that acts in its own process."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from launch.bench.reliability.promise import Outcome, Promise
from launch.bench.reliability.promises.resume import killed_runs
from launch.bench.reliability.runs import Twins, acting_kinds


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """Runs of every agent with two actors on Ray. The kill takes the learner, and Ray's own processes with it."""
    return killed_runs(Twins(folder, ("--eager", "--actors", "2")), acting_kinds(), random)


PROMISE = Promise("The same holds with two remote actors on Ray", "all", trials)
