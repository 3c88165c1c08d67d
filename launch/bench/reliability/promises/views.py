"""Promise: TensorBoard's files may be damaged or lost; scores do not change, and the files are made anew."""

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from launch.bench.reliability.processes import Command, last_line, run
from launch.bench.reliability.promise import Outcome, Promise
from launch.bench.reliability.runs import Twins, digest, kinds, the_run


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """A run that is killed, loses or damages its view, and goes on; then its view is rebuilt from tables."""
    twins, words = Twins(folder), kinds()["redo"]
    expected, seconds = twins.whole(words)
    while True:
        root, kind = twins.empty(), random.choice(["flip", "cut", "remove"])
        command = Command(twins.words(words, root), root / "log")
        time.sleep(random.uniform(0.5, 1) * seconds)
        command.send(signal.SIGKILL)
        command.wait()
        for path in root.glob("run/*/tb/events.*"):
            content = bytearray(path.read_bytes())
            if kind == "flip" and content:
                content[random.randrange(len(content))] ^= 255
                path.write_bytes(content)
            elif kind == "cut":
                path.write_bytes(content[: random.randrange(len(content) + 1)])
            elif kind == "remove":
                path.unlink()
        code, said = run(twins.words(words, root), root / "log")
        wrong = f"code {code}: {last_line(said)}" if code else "" if digest(root) == expected else "other tensors or scores"
        if not wrong:
            shutil.rmtree(the_run(root).tensorboard)
            code, said = run(["rebuild-board", str(the_run(root))], root / "log")
            made = list(the_run(root).tensorboard.glob("events.*"))
            wrong = f"rebuilt with code {code}: {last_line(said)}" if code or not made or digest(root) != expected else ""
        yield Outcome(not wrong, kind + (f": {wrong}" if wrong else ""))
        shutil.rmtree(root)


PROMISE = Promise("TensorBoard's files may be damaged or lost: scores do not change, and the files are made anew", "all", trials)
