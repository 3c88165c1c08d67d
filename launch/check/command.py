"""The command `check`: read checkpoints, collect inputs, check each network, show what was found."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from launch.check import readers
from launch.check.inputs import Inputs, Play, collect, from_file
from launch.check.subject import Subject
from plasticity_rl.checks import UsageError
from plasticity_rl.checkup.examine import Checkup, check
from plasticity_rl.checkup.examine import Progress as Told
from plasticity_rl.checkup.text import number, table

FAILED = 1
MOST = 40
"""checkpoints of one call"""


class Settings(NamedTuple):
    """Options of a check."""

    inputs: Path | None
    env: str | None
    play: Play
    samples: int
    network: str | None
    module: str | None
    logits: tuple[int, ...]
    twins: int
    pairs: int | None
    updates: int | None
    learning_rate: float
    seed: int


class Row(NamedTuple):
    """One network in all checkpoints."""

    name: str
    labels: tuple[str, ...]
    """checkpoints that have it"""
    checkups: tuple[Checkup, ...]


def examine(paths: Sequence[Path], settings: Settings, html: Path | None, as_json: bool, fail_under: float | None) -> int:
    """Check all networks of some checkpoints, print what was found, and return the exit code: 1 if a ratio is below `fail_under`.

    Raises UsageError, with nothing written, for what cannot be read.
    """
    if fail_under is not None and not 0 < fail_under <= 2:
        raise UsageError(f"--fail-under must lie in (0, 2], not {fail_under:g}")
    if settings.inputs is not None and settings.env is not None:
        raise UsageError("--inputs and --env both say what the network sees: give one")
    if not 64 <= settings.samples <= 100_000:
        raise UsageError(f"--samples must lie in [64, 100000], not {settings.samples}")
    if html is not None and (html.is_dir() or not html.absolute().parent.is_dir()):
        raise UsageError(f"--html must name a file in a folder that exists, not {html}")
    files = [each for path in paths for each in readers.found(path)]
    if len(files) > MOST:
        raise UsageError(f"{len(files)} checkpoints are too many for one call: {MOST} at most")
    torch.set_num_threads(1)
    rows = _rows(files, settings)
    width = Console().width
    if html is not None:
        from launch.check.page import page

        try:
            html.write_text(page(rows), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {html}: {error.strerror}") from error
    if as_json:
        found = [{"checkpoint": label, **each.json()} for row in rows for label, each in zip(row.labels, row.checkups, strict=True)]
        print(json.dumps(_finite(found), indent=1))
    else:
        print("\n\n".join(shown(row, width) for row in rows))
        if html is not None:
            print(f"\n{html}")
    low = [each.trainability.final.value for row in rows for each in row.checkups]
    return FAILED if fail_under is not None and not all(value >= fail_under for value in low) else 0


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON does not know."""
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def _rows(files: Sequence[Path], settings: Settings) -> list[Row]:
    """Check each network in each checkpoint; all on the same observations, unless each plays by its own policy."""
    subjects = {path: [_with_logits(each, settings) for each in readers.read(path, settings.module, settings.network)] for path in files}
    labels = _labels(files)
    first = _inputs(files[0], subjects[files[0]], settings)
    shared = settings.inputs is not None or (settings.env is not None and settings.play == "random")
    inputs = {path: first if shared or path == files[0] else _inputs(path, subjects[path], settings) for path in files}
    for path in files:  # mistakes are told before the first minute is spent
        for subject in subjects[path]:
            subject.prepare(inputs[path].observations[:2])
    found: dict[str, list[tuple[str, Checkup]]] = {}
    with _progress() as tell:
        for path in files:
            for subject in subjects[path]:
                checkup = _checked(subject, inputs[path], settings, labels[path], tell)
                found.setdefault(subject.name, []).append((labels[path], checkup))
    return [Row(name, tuple(label for label, _ in some), tuple(each for _, each in some)) for name, some in found.items()]


def _with_logits(subject: Subject, settings: Settings) -> Subject:
    return replace(subject, actions=settings.logits) if settings.logits else subject


def _inputs(path: Path, subjects: Sequence[Subject], settings: Settings) -> Inputs:
    if settings.inputs is not None:
        return from_file(settings.inputs, settings.samples)
    if settings.env is not None:
        player = next((each for each in subjects if each.act is not None), subjects[0])
        return collect(settings.env, settings.samples, player, settings.play, settings.seed)
    own = subjects[0].own
    if own is None:
        raise UsageError(f"{path.name} does not say what its network sees: --inputs FILE.npz with an array x, or --env ID")
    rows = np.linspace(0, len(own) - 1, min(settings.samples, len(own))).round().astype(int)
    return Inputs(own[rows], None, f"{len(rows)} observations that the run saw last")


def _checked(subject: Subject, inputs: Inputs, settings: Settings, label: str, tell: Told) -> Checkup:
    targets = None if inputs.targets is None else torch.from_numpy(inputs.targets)
    found = check(
        subject.module,
        subject.prepare(inputs.observations),
        fresh=subject.fresh,
        twins=settings.twins,
        targets=targets if targets is None or not targets.is_floating_point() else targets.float(),
        actions=subject.actions,
        pairs=settings.pairs,
        updates=settings.updates,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        name=subject.name,
        progress=lambda what, made, of: tell(f"{label} {what}", made, of),
    )
    verdict = found.verdict
    if subject.attached is not None and verdict.method:
        verdict = replace(verdict, lines=subject.attached(verdict.method))
    return replace(found, verdict=verdict, notes=(inputs.told, *subject.notes, *found.notes))


def _labels(files: Sequence[Path]) -> dict[Path, str]:
    """A short name for each checkpoint: the end of its path that no other has."""
    for parts in range(1, 8):
        labels = {path: "/".join(path.absolute().parts[-parts:]) for path in files}
        if len(set(labels.values())) == len(files):
            return labels
    raise UsageError("the same checkpoint is given twice")


@contextmanager
def _progress() -> Iterator[Told]:
    """A bar on stderr, where it is a terminal."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total}")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        row = bar.add_task("", total=None)
        yield lambda what, made, of: bar.update(row, description=what, completed=made, total=of)


def shown(row: Row, width: int) -> str:
    """One network as text: numbers by layer for one or two checkpoints, a line each for more."""
    if len(row.checkups) <= 2:
        return table(row.checkups, width, row.labels)
    headings = ("checkpoint", "ratio", "interval", "verdict")
    cells = [headings, *((label, *curve(each)) for label, each in zip(row.labels, row.checkups, strict=True))]
    sizes = [max(len(line[i]) for line in cells) for i in range(len(headings))]
    sizes[0] = min(sizes[0], max(width - sum(sizes[1:]) - 6, 10))
    lines = ["  ".join(cell[-size:].ljust(size) for cell, size in zip(line, sizes, strict=True)).rstrip() for line in cells]
    last = row.checkups[-1]
    told = [f"{row.labels[-1]}: {last.verdict.reading}", f"Try first: {last.verdict.first}."]
    wrapped = [line for each in told for line in textwrap.wrap(each, width)]
    return "\n".join([row.name, *lines, "", *wrapped, *(f"    {line}" for line in last.verdict.lines)])


def curve(checkup: Checkup) -> tuple[str, str, str]:
    """Ratio, interval and verdict of a line."""
    ratio = checkup.trainability.final
    return number(ratio.value), ratio.interval, checkup.verdict.word
