"""Promise: the same command gives the same tensors and scores, whatever the number of threads."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

from agents.acting import actor
from agents.loops import base, evaluation
from launch.bench.reliability.processes import last_line, run
from launch.bench.reliability.promise import Outcome, Promise
from launch.bench.reliability.runs import Twins, digest, in_turn, kinds
from launch.run import runner


def other_threads() -> None:
    """Step and learn with other numbers of threads than usual."""
    for module in (actor, base, evaluation):
        vars(module)["THREADS"] = 3
    runner.THREADS = 1 if runner.THREADS > 1 else 2
    runner.prepare.__defaults__ = ("cpu", runner.THREADS, None, False)  # bound when it was defined


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """A run of each kind in turn, as before or with other numbers of threads."""
    twins = Twins(folder)
    for name, words in in_turn(kinds(), random):
        expected, _ = twins.whole(words)
        root, threads = twins.empty(), random.random() < 0.5
        code, said = run(twins.words(words, root), root / "log", other_threads if threads else None)
        held = code == 0 and digest(root) == expected
        how = "with other numbers of threads" if threads else "again"
        yield Outcome(held, f"{name}, {how}" + ("" if held else f": code {code}, {last_line(said)}"))
        shutil.rmtree(root)


PROMISE = Promise("The same command gives the same tensors and scores, whatever the number of threads", "all", trials)
