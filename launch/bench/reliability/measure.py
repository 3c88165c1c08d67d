"""Count how often each promise held, and write the table."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from launch.bench.reliability.promise import Outcome, Promise
from launch.bench.reliability.promises import (
    compiled,
    damage,
    disk,
    environments,
    mistakes,
    numbers,
    races,
    readers,
    remote,
    repeats,
    reports,
    resume,
    saving,
    signals,
    tables,
    views,
)

PROMISES: dict[str, Promise] = {
    "repeats": repeats.PROMISE,
    "resume": resume.PROMISE,
    "compiled": compiled.PROMISE,
    "remote": remote.PROMISE,
    "saving": saving.PROMISE,
    "damage": damage.PROMISE,
    "environments": environments.PROMISE,
    "signals": signals.PROMISE,
    "disk": disk.PROMISE,
    "numbers": numbers.PROMISE,
    "races": races.PROMISE,
    "views": views.PROMISE,
    "tables": tables.PROMISE,
    "readers": readers.PROMISE,
    "reports": reports.PROMISE,
    "mistakes": mistakes.PROMISE,
}

EVERY = 10.0  # seconds between two lines of progress


@dataclass
class Count:
    """Trials of one promise."""

    tried: int = 0
    held: int = 0
    longest: float | None = None
    """seconds"""
    failures: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.tried += 1
        self.held += outcome.held
        if outcome.seconds is not None:
            self.longest = max(self.longest or 0.0, outcome.seconds)
        if not outcome.held:
            self.failures.append(outcome.tried)


def measure(only: Sequence[str], trials: int, seed: int) -> dict[str, Count]:
    """Try each promise at most `trials` times; print every failure and a line for each promise."""
    found: dict[str, Count] = {}
    for word in only or PROMISES:
        began, count = time.monotonic(), found.setdefault(word, Count())
        told = began
        with TemporaryDirectory() as folder:
            for outcome in islice(PROMISES[word].trials(Path(folder), Random(f"{word} {seed}")), trials):
                count.add(outcome)
                if not outcome.held:
                    print(f"  did not hold: {outcome.tried}", flush=True)
                if time.monotonic() - told > EVERY:
                    told = time.monotonic()
                    print(f"  {count.held} of {count.tried} held so far", flush=True)
        print(f"{word}: {count.held} of {count.tried} held, {time.monotonic() - began:.0f} s", flush=True)
    return found


def table(found: dict[str, Count]) -> str:
    """The counts as a table in Markdown."""
    lines = ["| promise | aim | tried | held | longest |", "|---|---|---|---|---|"]
    for word, count in found.items():
        promise = PROMISES[word]
        longest = "" if count.longest is None else f"{count.longest:.2f} s"
        lines.append(f"| {promise.says} (`{word}`) | {promise.aim} | {count.tried:,} | {count.held:,} | {longest} |")
    return "\n".join(lines)
