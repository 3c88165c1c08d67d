"""Promise: a mistake in a command is one line within a second, with exit code 2, and nothing is written."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from launch.bench.reliability.processes import launched
from launch.bench.reliability.promise import Outcome, Promise

LIMIT = 1.0  # seconds of processor time
KINDS = {"benchmark": "--benchmark", "agent": "--agent", "network": "--network", "optimizer": "--optimizer", "schedule": "--schedule"}
WORDS = (
    [["--name", name] for name in ("../x", "/x", "a/b", "", ".x", "x\ny", "x" * 101, "é", "-", "x\0y")]
    + [["--name", "x", "--members", count] for count in ("0", "-1", "4097", "1.5", "many", "", "nan", "1e3", "9" * 30)]
    + [["--name", "x", "--seed", seed] for seed in ("-1", "2147483648", "9" * 30, "x", "0.5")]
    + [["--name", "x", f"--{option}", "-1"] for option in ("diagnose-every", "checkpoint-every", "probe-every", "evaluate", "actors")]
    + [["--name", "x", f"--{option}", "x"] for option in ("diagnose-every", "checkpoint-every", "probe-every", "evaluate", "actors")]
    + [
        ["--name", "x", "--benchmark", word]
        for word in ("pong", "Pong", "ale", "random-label", "", ":", "atari:games=", "atari:games=pong")
    ]
    + [["--name", "x", "--chain", *words] for words in (["layer-norm", "nap:norm=rms"], ["redoo"], ["redo:tua=1"], ["redo", "redo:tau=2"])]
    + [
        ["--name", "x", *words]
        for words in (["--lerning-rate", "1"], ["--device", "gpu"], ["--file", "no.toml"], ["--plugin", "no_module"])
    ]
    + [[], ["--name"], ["--name", "x", "--name", "y"], ["--name", "x", "extra"], ["--name", "x", "--mirror", ""]]
)


def every_field() -> Iterator[list[str]]:
    """For every field of every part, a value that none takes; for every part, a field that it lacks."""
    from launch.config.parse import part_class
    from launch.config.show import words
    from plasticity_rl.checks import annotations

    for kind in (*KINDS, "method"):
        for word in words(kind):
            made = part_class(kind, word)
            begin = ["--name", "x", KINDS.get(kind, "--chain")]
            yield [*begin, f"{word}:no_such_field=1"]
            for name, hint, _ in annotations(made):
                if hint in (int, float, bool):
                    yield [*begin, f"{word}:{name}=abc"]
                    yield [*begin, f"{word}:{name}=nan"]


def _call(words: list[str], connection: Connection) -> None:
    said, told, began = StringIO(), StringIO(), time.process_time()
    with redirect_stderr(said), redirect_stdout(told):
        code = launched(words)
    connection.send((code, said.getvalue(), told.getvalue(), time.process_time() - began))


def call(words: list[str]) -> tuple[int, str, str, float]:
    """Exit code, stderr, stdout and processor seconds of a command, in a process that has imported no more than this one has."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(words, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """All of them once, in random order."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:  # reading the fields' types imports what a mistake shall not
        found = WORDS + pool.apply(_listed)
    random.shuffle(found)
    for words in found:
        code, said, told, seconds = call(["run", "--runs", str(folder / "runs"), *words])
        wrong = "" if code == 2 else f"code {code}"
        if not (said.startswith("error: ") and said.count("\n") == 1) or told:
            wrong = f"it said {said[:300]!r} {told[:100]!r}"
        if (folder / "runs").exists():
            wrong = "something was written"
        wrong = wrong or ("" if seconds < LIMIT else f"{seconds:.1f} s")
        yield Outcome(not wrong, " ".join(words) + (f": {wrong}" if wrong else ""), seconds)


def _listed() -> list[list[str]]:
    return list(every_field())


PROMISE = Promise("A mistake in a command is one line with exit code 2, and nothing is written", "1 s of processor time", trials)
