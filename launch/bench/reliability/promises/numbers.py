"""Promise: a number that is not finite ends a run within an update, and reaches no score and no checkpoint."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch

from launch.bench.reliability import faulty_methods
from launch.bench.reliability.processes import last_line, run
from launch.bench.reliability.promise import Outcome, Promise
from launch.bench.reliability.promises import environments
from launch.bench.reliability.runs import MEMBERS, STREAM, Twins, the_run
from plasticity_rl.records import checkpoint
from plasticity_rl.records.events import Score

STREAM_UPDATES = 180


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """NaN or infinity in an observation, a reward or a weight, at a random step."""
    twins, log = Twins(folder), folder / "faults"
    while True:
        root, kind = twins.empty(), random.choice(["observation-nan", "observation-inf", "reward", "weight nan", "weight inf"])
        log.unlink(missing_ok=True)
        if kind.startswith("weight"):
            at, value = random.randrange(1, STREAM_UPDATES), kind.split()[1]
            poison = f"{faulty_methods.__name__}.Poison:at={at},value={value}"
            words = [*STREAM, *MEMBERS, "--chain", poison, "--plugin", faulty_methods.__name__]
        else:
            at = random.randrange(1, 150)
            words = environments.words(log, kind, at, random.choice(environments.AGENTS))
        code, said = run(twins.words(words, root), root / "log")
        wrong = "" if code == 6 and sum(line.startswith("error:") for line in said.splitlines()) == 1 else f"code {code}: {last_line(said)}"
        if not list(root.glob("*/*/spec.json")):
            yield Outcome(False, f"{kind}: {wrong}")
            continue
        folder_of_run = the_run(root)
        rows, problems = folder_of_run.read_rows(Score)
        if problems or not all(math.isfinite(row.score) for row in rows):
            wrong = f"scores: {problems}"
        if kind.startswith("weight") and rows and max(row.updates for row in rows) > at + 1:
            wrong = f"went on to update {max(row.updates for row in rows)}"
        last, problems = checkpoint.load_latest(folder_of_run.checkpoints)
        if problems or (last and not all(torch.isfinite(each).all() for each in last.tensors.values() if each.is_floating_point())):
            wrong = f"checkpoint: {problems}"
        yield Outcome(not wrong, f"{kind} at {at}" + (f": {wrong}" if wrong else ""))
        shutil.rmtree(root)


PROMISE = Promise(
    "A number that is not finite ends a run within an update with exit code 6, and reaches no score and no checkpoint", "all", trials
)
