"""Promise: of several processes that begin the same run, one writes it and the others are refused."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

from launch.bench.reliability.processes import Command
from launch.bench.reliability.promise import Outcome, Promise
from launch.bench.reliability.runs import Twins, digest, kinds

RACERS = 4


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """Four processes at once."""
    twins, words = Twins(folder), kinds()["ppo, control"]
    expected, _ = twins.whole(words)
    while True:
        root = twins.empty()
        commands = [Command(twins.words(words, root), root / f"log{number}") for number in range(RACERS)]
        codes = sorted(command.wait() for command in commands)
        wrote = sum("done: " in command.said for command in commands)
        held = codes[0] == 0 and set(codes) <= {0, 3} and wrote == 1 and digest(root) == expected
        yield Outcome(
            held, f"{RACERS} processes" + ("" if held else f": codes {codes}, {wrote} wrote, {[c.said[-200:] for c in commands]}")
        )
        shutil.rmtree(root)


PROMISE = Promise(
    "One of several processes that begin the same run writes it, and the others are refused", "one winner, exit code 3", trials
)
