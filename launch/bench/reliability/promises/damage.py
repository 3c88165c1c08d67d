"""Promise: a damaged checkpoint is noticed, and the one before it is used."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

from launch.bench.reliability.promise import Outcome, Promise
from launch.bench.reliability.promises.saving import snapshot
from plasticity_rl.records import checkpoint


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """A flipped bit, a cut or a missing file in the newest of two checkpoints."""
    whole, piece = folder / "whole", checkpoint.PIECE
    checkpoint.PIECE = 16
    try:
        for number in (1, 2):
            checkpoint.save(whole, number, snapshot(number))
    finally:
        checkpoint.PIECE = piece
    while True:
        place = folder / "damaged"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(whole, place)  # copies, where checkpoints share files
        target = random.choice(sorted(path for path in (place / f"{2:012d}").iterdir()))
        content, kind = bytearray(target.read_bytes()), random.choices(["flip", "cut", "remove"], [10, 2, 1])[0]
        if kind == "flip":
            at = random.randrange(len(content))
            content[at] ^= 1 << random.randrange(8)
            target.write_bytes(content)
        elif kind == "cut":
            target.write_bytes(content[: random.randrange(len(content))])
        else:
            target.unlink()
        loaded, problems = checkpoint.load_latest(place)
        held = loaded is not None and loaded.counters == {"number": 1} and len(problems) == 1
        yield Outcome(held, f"{kind} in {target.name}" + ("" if held else f": {loaded and loaded.counters}, {problems}"))


PROMISE = Promise("A damaged checkpoint is noticed, and the one before it is used", "all", trials)
