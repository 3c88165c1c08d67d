"""Promise: a full disk ends a run in one line with exit code 5, and once there is room the same command goes on."""

import resource
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from random import Random

from launch.bench.reliability.processes import last_line, run
from launch.bench.reliability.promise import Outcome, Promise
from launch.bench.reliability.runs import Twins, digest, kinds, the_run

KINDS = ("dqn, control", "ppo, control", "redo", "continual-backprop")


def small(limit: int) -> None:
    """Let no file of this process grow beyond `limit` bytes, as a full disk would."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """Runs with limits of random size for their files, then without."""
    twins = Twins(folder)
    for name in cycle(KINDS):
        words = kinds()[name]
        expected, _ = twins.whole(words)
        root, limit = twins.empty(), int(2 ** random.uniform(9, 17))
        code, said = run(twins.words(words, root), folder / "log", partial(small, limit))
        (folder / "log").unlink()
        errors = [line for line in said.splitlines() if line.startswith("error:")]
        wrong = ""
        if code not in (0, 5):
            wrong = f"code {code}: {last_line(said)}"
        elif (code == 5 and len(errors) != 1) or "Traceback" in said:
            wrong = f"said {said[-2000:]!r}"
        if not wrong:
            code, said = run(twins.words(words, root), folder / "log")
            wrong = "" if code == 0 and digest(root) == expected else f"resumed with code {code}: {last_line(said)}"
        if wrong and list(root.glob("*/*/spec.json")):
            wrong += f", {sum(1 for _ in the_run(root).path.rglob('*'))} files"
        yield Outcome(not wrong, f"{name}, files of at most {limit} bytes" + (f": {wrong}" if wrong else ""))
        shutil.rmtree(root)


PROMISE = Promise("A full disk ends a run in one line with exit code 5, and the same command goes on exactly", "all", trials)
