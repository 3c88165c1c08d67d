"""Promise: a run that was killed and resumed is a run that was never stopped."""

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from launch.bench.reliability.processes import Command, last_line
from launch.bench.reliability.promise import Outcome, Promise
from launch.bench.reliability.runs import Twins, digest, in_turn, kinds

KILLS = 3  # of one run


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """Runs of every kind, updated eagerly and acting in their own process."""
    return killed_runs(Twins(folder), kinds(), random)


def killed_runs(twins: Twins, kinds: dict[str, list[str]], random: Random) -> Iterator[Outcome]:
    """A run of each kind in turn, killed at `KILLS` random moments."""
    for name, words in in_turn(kinds, random):
        expected, seconds = twins.whole(words)
        root, killed = twins.empty(), 0
        for _ in range(KILLS):
            command = Command(twins.words(words, root), root / "log")
            time.sleep(random.uniform(0, seconds))
            command.send(signal.SIGKILL)
            killed += command.wait() == -signal.SIGKILL
        last = Command(twins.words(words, root), root / "log")
        code = last.wait()
        found = digest(root) if code == 0 else f"code {code}: {last_line(last.said)}"
        yield Outcome(found == expected, f"{name}, killed {killed} times" + ("" if found == expected else f": {found}"))
        shutil.rmtree(root)


PROMISE = Promise("A run that was killed and resumed has the tensors and scores of one that was never stopped", "all", trials)
