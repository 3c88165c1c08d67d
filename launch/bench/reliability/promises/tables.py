"""Promise: a table that was cut is read up to its last whole row."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from launch.bench.reliability.promise import Outcome, Promise
from plasticity_rl.records.events import Score
from plasticity_rl.records.tables import read_rows, write_table

ROWS = 40


def row(number: int, random: Random) -> Score:
    kind = random.choice(["return", "online", "cut"])
    frames = number * random.randrange(1, 9)
    return Score(
        number % 5, number // 10, f"task{number % 3}", 0, frames, number, number, kind, random.gauss(0, 10 ** random.randint(-5, 5))
    )


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """A table of random rows, cut at every byte."""
    while True:
        rows = [row(number, random) for number in range(ROWS)]
        whole, cut = folder / "whole.csv", folder / "cut.csv"
        whole.unlink(missing_ok=True)
        write_table(whole, Score, rows)
        content = whole.read_bytes()
        for length in range(len(content) + 1):
            cut.write_bytes(content[:length])
            found, problems = read_rows(cut, Score)
            lines = max(content[:length].count(b"\n") - 1, 0)
            held = found == rows[:lines] and bool(problems) == (not content[:length].endswith(b"\n"))
            yield Outcome(held, f"{length} of {len(content)} bytes" + ("" if held else f": {len(found)} rows, {problems}"))


PROMISE = Promise(
    "A table that was cut at any byte is read up to its last whole row, and what is missing is named", "0 invented rows", trials
)
