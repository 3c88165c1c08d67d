"""Promise: a signal ends a run soon, after a checkpoint, and the same command goes on from there."""

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from launch.bench.reliability.processes import Command, last_line
from launch.bench.reliability.promise import Outcome, Promise
from launch.bench.reliability.runs import Twins, digest, in_turn, kinds

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LIMIT = 30.0  # seconds


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """A run of each kind in turn, stopped once at a random moment and resumed."""
    twins = Twins(folder)
    for name, words in in_turn(kinds(), random):
        expected, seconds = twins.whole(words)
        root, number = twins.empty(), random.choice(STOPS)
        command = Command(twins.words(words, root), root / "log")
        time.sleep(random.uniform(0.3, 1) * seconds)  # earlier, nothing has begun that could be stopped
        command.send(number)
        sent = time.monotonic()
        code, took = command.wait(), time.monotonic() - sent
        wrong = "" if code in (0, 128 + number) else f"code {code}: {last_line(command.said)}"
        if code and "Traceback" in command.said:
            wrong = "a traceback"
        again = Command(twins.words(words, root), root / "log")
        if not wrong and (code := again.wait()):
            wrong = f"resumed with code {code}: {last_line(again.said)}"
        wrong = wrong or ("" if digest(root) == expected else "other tensors or scores") or ("" if took < LIMIT else f"{took:.0f} s")
        yield Outcome(not wrong, f"{name}, {number.name}" + (f": {wrong}" if wrong else ""), took)
        shutil.rmtree(root)


PROMISE = Promise("SIGINT, SIGTERM or SIGHUP ends a run after a checkpoint, from which the same command goes on exactly", "30 s", trials)
