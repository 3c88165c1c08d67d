"""The run folder: who writes what, where, in which columns. Imports no torch.

    runs/<name>/<key>/
      spec.json         what the run is                                   written first
      context.json      what it ran on: commit, versions, hardware
      scores.csv        the record of truth, append-only
      metrics.csv       diagnostics, with the same leading columns
      tb/               a view for people, rebuilt from the two CSVs
      checkpoints/      the last few, each whole or absent
      DONE              written last
      FAILED            in its place: a line that says which number was none; gone when the run goes on

Counts (frames, steps, updates) are of one member, since the start of the run, at the end of what the row reports.
"""

import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from plasticity_rl.checks import UsageError


class Score(NamedTuple):
    """How well one member did: a row of scores.csv."""

    member: int
    visit: int
    task: str
    cycle: int
    frames: int
    """emulator frames; 0 in supervised streams"""
    steps: int
    """agent decisions; in supervised streams, batches"""
    updates: int
    """optimizer steps"""
    kind: str
    """`online`: mean accuracy over the updates since the row before, of each batch before it is learned from; of numbers, the explained
    variance. `test`: the same of held-out examples, after a visit's last update. `return`: undiscounted return of an episode that ended.
    `cut`: return so far of an episode that a checkpoint or a change of task ended; never part of a score.
    `evaluation`: undiscounted return of one whole episode played without exploration and without learning; its visit, cycle and counts are
    those of the visit that was going on, its task the one that was played, which can be any met so far; never part of a training curve."""
    score: float


class Metric(NamedTuple):
    """A diagnostic of one member: a row of metrics.csv."""

    member: int
    visit: int
    task: str
    cycle: int
    frames: int
    steps: int
    updates: int
    name: str
    """as in TensorBoard: `weight_norm/hidden0`"""
    value: float


class Tick(NamedTuple):
    """How far a run has come. Written nowhere; for those who watch."""

    visit: int
    task: str
    cycle: int
    frames: int
    steps: int
    updates: int


class Picture(NamedTuple):
    """What only people look at. Written in no table: TensorBoard's view alone has it."""

    visit: int
    task: str
    cycle: int
    frames: int
    steps: int
    updates: int
    name: str
    kind: Literal["histogram", "image", "spectrum"]
    values: Any
    """a numpy array: numbers (n,); inputs of a network (examples, *shape); or singular values (2, k), an untrained network's second"""


class Spec(NamedTuple):
    """What spec.json says of a run, for those who read runs without importing what made them."""

    key: str
    setting: str
    """runs that share it differ in chain, seed and members only"""
    benchmark: str
    label: str
    """the chain in words"""
    fresh_control: bool
    unit: str
    """what a visit's budget and a curve's axis count: `updates` or `frames`"""
    fingerprint: str
    """hash of the task definitions: two runs of one setting, seed and number of members met the same data exactly if it is equal"""
    members: int
    seed: int
    visits: list[dict[str, Any]]
    """index, task, cycle, budget of each visit, in order"""
    references: dict[str, dict[str, float]]
    """task -> {"random": score, "human": score}, where they are known"""
    experiment: dict[str, Any]


def check_name(name: str) -> str:
    """A name that is safe as a folder's: letters, digits, dot, underscore, hyphen; at most 100; not hidden. Raises UsageError."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
        raise UsageError(f"not a name: {name!r}; use letters, digits, '.', '_' and '-', at most 100, none of them '.' or '-' at the start")
    return name


def refuse_file(folder: Path, what: str) -> None:
    """Raises UsageError where no folder for `what` can be made, since a file stands there or on the way."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise UsageError(f"{there} is not a folder: name a new one for the {what}")


def write_json(path: Path, value: Any) -> None:
    """Whole or absent: written beside its place, synced, then renamed."""
    beside = path.with_name(path.name + ".part")
    with open(beside, "w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make names in a folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_spec(run: Path) -> Spec:
    """What a run is. Raises UsageError where spec.json is missing or is not one; it names a run below, if there is any."""
    try:
        return Spec(**json.loads((run / "spec.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        below = find_runs(run)
        there = "there is no spec.json in it" if run.is_dir() else "it is a file" if run.exists() else "there is no such folder"
        hint = f"did you mean {below[0]}?" if below else there
        raise UsageError(f"{run} is no run's folder (runs/NAME/KEY); {hint}") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{run / 'spec.json'} is not a run's description") from error


def find_runs(folder: Path) -> list[Path]:
    """Every run at or below `folder`, sorted by path."""
    return sorted(path.parent for path in folder.rglob("spec.json"))


def is_done(run: Path) -> bool:
    """Has the run reached its end?"""
    return (run / "DONE").exists()


def failure(run: Path) -> str | None:
    """Why the run ended before its end, where numbers that are none ended it."""
    try:
        return (run / "FAILED").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


class Table:
    """An append-only CSV file of rows of one NamedTuple. No value of a row holds a comma, a quote or a line break."""

    def __init__(self, path: Path, row: type[Score] | type[Metric]) -> None:
        self._file = open(path, "a", encoding="utf-8", newline="")  # noqa: SIM115 - closed by close()
        if self._file.tell() == 0:
            self._file.write(",".join(row._fields) + "\n")

    def append(self, row: Score | Metric) -> None:
        """Raises FloatingPointError instead of writing a number that is none."""
        if not math.isfinite(row[-1]):
            raise FloatingPointError(f"{row[-2]} of member {row.member} is {row[-1]} after {row.updates} updates")
        self._file.write(",".join(map(str, row[:-1])) + f",{row[-1]!r}\n")

    def sync(self) -> int:
        """Write everything to the disk; returns the file's length in bytes, at which `truncate` can later cut it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def truncate(path: Path, length: int) -> None:
    """Drop what was written after a checkpoint. Raises UsageError where the file is shorter than the checkpoint says."""
    if not path.exists() or path.stat().st_size < length:
        raise UsageError(f"{path} is shorter than its checkpoint says: rows are missing, so the run cannot be resumed")
    with open(path, "r+b") as file:
        file.truncate(length)
        os.fsync(file.fileno())


def read_rows(path: Path, row: type[Score] | type[Metric]) -> tuple[list[Any], list[str]]:
    """The whole rows of a CSV file, and one line for each thing that was wrong with it (a torn last row, a wrong header).

    A row that cannot be read ends the reading: what stands behind it is not trusted.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return [], [f"{path.name} is missing"]
    lines = text.split(b"\n")
    torn = lines.pop()
    problems = [f"{path.name}: the last row is torn and was left out"] if torn else []
    if not lines or lines[0].decode("utf-8", "replace") != ",".join(row._fields):
        return [], [f"{path.name}: not the columns of a run"]
    kinds = [row.__annotations__[field] for field in row._fields]
    rows: list[Any] = []
    for number, line in enumerate(lines[1:], start=2):
        cells = line.decode("utf-8", "replace").split(",")
        try:
            rows.append(row(*(kind(cell) for kind, cell in zip(kinds, cells, strict=True))))
        except ValueError:
            problems.append(f"{path.name}: row {number} cannot be read; it and the {len(lines) - number} after it were left out")
            break
    return rows, problems


def write_table(path: Path, row: type[Score] | type[Metric], rows: Iterable[Score | Metric]) -> None:
    """A whole CSV file at once."""
    table = Table(path, row)
    for item in rows:
        table.append(item)
    table.sync()
    table.close()
