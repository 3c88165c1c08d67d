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
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from plasticity_rl.checks import UsageError

TAIL = 2**16  # bytes of a growing table's end that are read
LARGEST = 2**63  # what counts stay under
TRAINING = ("online", "return")
"""kinds of scores that come from learning itself"""


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
    """What a run is. Raises UsageError where spec.json is missing, cannot be read or is not one; it names a run below, if there is any."""
    path = run / "spec.json"
    try:
        spec = Spec(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        below = find_runs(run)
        there = "there is no spec.json in it" if run.is_dir() else "it is a file" if run.exists() else "there is no such folder"
        hint = f"did you mean {below[0]}?" if below else there
        raise UsageError(f"{run} is no run's folder (runs/NAME/KEY); {hint}") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is not a run's description") from error
    if wrong := _wrong(spec):
        raise UsageError(f"{path} is not a run's description: {wrong}")
    return spec


def read_specs(folder: Path) -> tuple[dict[Path, Spec], dict[Path, str]]:
    """Every run at or below `folder`, by path: what it is, and of those that cannot be read, why not."""
    specs: dict[Path, Spec] = {}
    unreadable: dict[Path, str] = {}
    for run in find_runs(folder):
        try:
            specs[run] = read_spec(run)
        except UsageError as error:
            unreadable[run] = str(error)
    return specs, unreadable


def _wrong(spec: Spec) -> str:
    """Why these values cannot be a run's; empty if they can."""
    texts = (spec.key, spec.setting, spec.benchmark, spec.label, spec.unit, spec.fingerprint)
    if not all(isinstance(text, str) and text for text in texts):
        return "key, setting, benchmark, label, unit and fingerprint must be text"
    if spec.unit not in ("updates", "frames"):
        return f"its unit must be 'updates' or 'frames', not {spec.unit!r}"
    if not _is_whole(spec.members, 1) or not _is_whole(spec.seed, 0):
        return "members must be a whole number above 0, and the seed one that is not negative"
    if not isinstance(spec.experiment, dict) or not isinstance(spec.fresh_control, bool):
        return "its experiment must be an object, and fresh_control true or false"
    if not _are_parts(spec.experiment):
        return "each part of its experiment must be a name with an object of fields"
    if not _are_visits(spec.visits):
        return "its visits must be numbered from 0, each with a task, a cycle and a budget above 0"
    if not _are_references(spec.references):
        return "its references must give each task a random score and a different human one, and no other normaliser"
    return ""


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < LARGEST


def _are_parts(experiment: dict[str, Any]) -> bool:
    chain = experiment.get("chain", [])
    parts = [experiment[name] for name in ("benchmark", "agent", "network", "optimizer", "schedule") if name in experiment]
    return isinstance(chain, list) and all(
        isinstance(part, list) and len(part) == 2 and isinstance(part[0], str) and isinstance(part[1], dict) for part in (*parts, *chain)
    )


def _are_visits(visits: Any) -> bool:
    return (
        isinstance(visits, list)
        and len(visits) > 0
        and all(
            isinstance(visit, dict)
            and visit.get("index") == index
            and isinstance(visit.get("task"), str)
            and _is_whole(visit.get("cycle"), 0)
            and _is_whole(visit.get("budget"), 1)
            for index, visit in enumerate(visits)
        )
    )


def _are_references(references: Any) -> bool:
    return isinstance(references, dict) and all(
        isinstance(scores, dict)
        and set(scores) <= {"random", "human"}
        and all(isinstance(score, int | float) and abs(score) < float("inf") for score in scores.values())
        and ("random" not in scores or scores["random"] != scores.get("human"))
        for scores in references.values()
    )


def find_runs(folder: Path) -> list[Path]:
    """Every run at or below `folder`, sorted by path. Folders that cannot be entered, or vanish meanwhile, hold none."""
    return sorted(Path(place) for place, folders, files in os.walk(folder) if "spec.json" in (*folders, *files))


def is_done(run: Path) -> bool:
    """Has the run reached its end?"""
    return (run / "DONE").exists()


def failure(run: Path) -> str | None:
    """Why the run ended before its end, where numbers that are none ended it."""
    try:
        return (run / "FAILED").read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None


def refuse_number(row: Score | Metric) -> None:
    """Raise FloatingPointError for a row whose number is none."""
    if not math.isfinite(row[-1]):
        raise FloatingPointError(f"{row[-2]} of member {row.member} is {row[-1]} after {row.updates} updates")


class Table:
    """An append-only CSV file of rows of one NamedTuple. No value of a row holds a comma, a quote or a line break."""

    def __init__(self, path: Path, row: type[Score] | type[Metric]) -> None:
        self._file = open(path, "a", encoding="utf-8", newline="")  # noqa: SIM115 - closed by close()
        if self._file.tell() == 0:
            self._file.write(",".join(row._fields) + "\n")

    def append(self, *rows: Score | Metric) -> None:
        """All of them or none: raises FloatingPointError where one has a number that is none."""
        for row in rows:
            refuse_number(row)
        self._file.write("".join(",".join(map(str, row[:-1])) + f",{row[-1]!r}\n" for row in rows))

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
        *lines, torn = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], [f"{path.name} is missing"]
    except OSError as error:
        return [], [f"{path.name} cannot be read: {error.strerror}"]
    problems = [f"{path.name}: the last row is torn and was left out"] if torn else []
    if not lines or lines[0] != _header(row):
        return [], [f"{path.name}: not the columns of a run"]
    rows = _whole(lines[1:], row)
    if (after := len(lines) - 2 - len(rows)) >= 0:
        problems.append(f"{path.name}: row {len(rows) + 2} cannot be read; it and the {after} after it were left out")
    return rows, problems


def newest_rows(path: Path, row: type[Score] | type[Metric]) -> tuple[list[Any], list[str]]:
    """The same of the last 64 KiB of a file that may be growing: that it is missing, or its last row torn, is no problem."""
    try:
        with open(path, "rb") as file:
            start = max(file.seek(0, os.SEEK_END) - TAIL, 0)
            file.seek(start)
            *lines, torn = file.read().split(b"\n")
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{path.name} cannot be read: {error.strerror}"]
    header = _header(row)
    if (not start and not (lines[0] == header if lines else header.startswith(torn))) or (start and not lines):
        return [], [f"{path.name}: not the columns of a run"]
    rows = _whole(lines[1:], row)  # without the header, or a piece of a row
    left = len(lines) - 1 - len(rows)
    return rows, [f"{path.name}: row {left} from the end cannot be read"] if left > 0 else []


def _header(row: type[Score] | type[Metric]) -> bytes:
    return ",".join(row._fields).encode()


def _whole(lines: Sequence[bytes], row: type[Score] | type[Metric]) -> list[Any]:
    """The rows of lines, up to the first that is none."""
    kinds = [row.__annotations__[field] for field in row._fields]
    rows: list[Any] = []
    for line in lines:
        try:
            cells = [kind(cell) for kind, cell in zip(kinds, line.decode("utf-8", "replace").split(","), strict=True)]
        except ValueError:
            break
        if any(kind is int and abs(cell) >= LARGEST for kind, cell in zip(kinds, cells, strict=True)):
            break
        rows.append(row(*cells))
    return rows


def write_table(path: Path, row: type[Score] | type[Metric], rows: Iterable[Score | Metric]) -> None:
    """A whole CSV file at once."""
    table = Table(path, row)
    table.append(*rows)
    table.sync()
    table.close()
