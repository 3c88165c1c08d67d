"""The folder of a run: the only place that knows its files' names. Imports no torch.

runs/<name>/<key>/
  spec.json         what the run is                                    written first
  context.json      what it ran on: commit, versions, hardware
  scores.csv        the record of truth, append-only
  metrics.csv       diagnostics, with the same leading columns
  tb/               TensorBoard's view, rebuilt from the two CSV files
  videos/ probes/   results of `play --video` and `probe`
  checkpoints/      the last few, each whole or absent
  .lock             held by the process that writes the run; says `released` once it has let go of it
  DONE              written last: length and sha256 of spec.json and of the tables
  FAILED            instead of DONE: one line that names the non-finite value; removed when the run is resumed
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from plasticity_rl.checks import UsageError
from plasticity_rl.files import parse_json
from plasticity_rl.records.events import Metric, Row, Score
from plasticity_rl.records.spec import Spec, ends_in_reset, fault
from plasticity_rl.records.tables import digest_of, newest_rows, read_rows

SPEC = "spec.json"
COUNTERS = "counters.json"
"""counters of a checkpoint"""
SAVING = ".saving"
"""held, in the folder of checkpoints, by the process that writes one"""
RELEASED = "released\n"
TABLES: dict[type[Row], str] = {Score: "scores.csv", Metric: "metrics.csv"}


class Record(TypedDict):
    """Length and hash of a run's file at some moment."""

    length: int
    """bytes; a table may have grown since"""
    sha256: str


Records = dict[str, Record]
"""name of a file -> its record"""


class FolderTaken(Exception):
    """Another process is writing this run."""


@dataclass(frozen=True, order=True)
class RunFolder:
    """One run's files. Nothing is read or written until asked for."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The folder's own name, the run's key."""
        return self.path.name

    @property
    def spec(self) -> Path:
        return self.path / SPEC

    @property
    def context(self) -> Path:
        return self.path / "context.json"

    @property
    def scores(self) -> Path:
        return self.table(Score)

    @property
    def metrics(self) -> Path:
        return self.table(Metric)

    @property
    def records(self) -> tuple[Path, ...]:
        """The files that a report is made of, in the order in which a run writes them first."""
        return self.spec, self.context, self.scores, self.metrics

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tb"

    @property
    def videos(self) -> Path:
        return self.path / "videos"

    @property
    def probes(self) -> Path:
        return self.path / "probes"

    @property
    def done(self) -> Path:
        """The marker of a finished run."""
        return self.path / "DONE"

    @property
    def is_done(self) -> bool:
        return self.done.exists()

    @property
    def failure(self) -> str | None:
        """The line in FAILED; None for a run that did not fail."""
        try:
            return self._failed.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return None

    @property
    def _failed(self) -> Path:
        return self.path / "FAILED"

    def table(self, row: type[Row]) -> Path:
        """The CSV file of one kind of row."""
        return self.path / TABLES[row]

    def read_rows(self, row: type[Row]) -> tuple[list[Any], list[str]]:
        """Read a table; see `tables.read_rows`."""
        return read_rows(self.table(row), row)

    def newest_rows(self, row: type[Row]) -> tuple[list[Any], list[str]]:
        """Read the end of a table; see `tables.newest_rows`."""
        return newest_rows(self.table(row), row)

    def read_spec(self) -> Spec:
        """Read spec.json. Raises UsageError if it is missing, unreadable or invalid; the message names a run below this folder, if any."""
        try:
            spec = Spec(**parse_json(self.spec.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError) as error:
            below = find_runs(self.path)
            there = (
                f"there is no {SPEC} in it" if self.path.is_dir() else "it is a file" if self.path.exists() else "there is no such folder"
            )
            hint = f"did you mean {below[0]}?" if below else there
            raise UsageError(f"{self} is not a run's folder (runs/NAME/KEY); {hint}") from error
        except OSError as error:
            raise UsageError(f"cannot read {self.spec}: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise UsageError(f"{self.spec} is not a run's description") from error
        if wrong := fault(spec):
            raise UsageError(f"{self.spec} is not a run's description: {wrong}")
        # Older folders call the plain control alone a control.
        return spec._replace(fresh_control=spec.fresh_control or ends_in_reset(spec.experiment))

    def read_context(self) -> dict[str, Any]:
        """Read context.json. Raises OSError or ValueError if it is missing, unreadable or not a JSON object."""
        context = parse_json(self.context.read_text(encoding="utf-8"))
        if not isinstance(context, dict):
            raise ValueError(f"{self.context} is not an object")
        return context

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the right to write this run. Raises FolderTaken if another process holds it, and UsageError as `refuse_links`."""
        from filelock import FileLock, Timeout

        self.refuse_links()
        try:
            lock = FileLock(self._lock).acquire(timeout=0)
        except Timeout as error:
            raise FolderTaken(f"{self} is being written by another process") from error
        with lock:
            if self._is_saving():
                raise FolderTaken(f"the last checkpoint of {self} is still being written; try again in some seconds")
            self._lock.write_text("", encoding="utf-8")
            try:
                yield
            finally:
                with suppress(OSError):  # on a full disk the run only looks as if it went on
                    self._lock.write_text(RELEASED, encoding="utf-8")

    @property
    def released(self) -> bool:
        """True if the process that wrote the run has let go of it; a killed one leaves this False."""
        said = RELEASED.encode()
        return self._lock.is_file() and self._lock.stat().st_size == len(said) and self._lock.read_bytes() == said

    @property
    def _lock(self) -> Path:
        return self.path / ".lock"

    def _is_saving(self) -> bool:
        """True while a fork of a process that is gone writes a checkpoint."""
        try:
            import fcntl

            with open(self.checkpoints / SAVING, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (ImportError, FileNotFoundError):
            return False
        except BlockingIOError:
            return True
        return False

    def refuse_links(self) -> None:
        """Raise UsageError if a file or folder of the run is a symbolic link: what is written there would land elsewhere."""
        for path in sorted(self.path.glob("*")):
            if path.is_symlink():
                raise UsageError(f"{path} is a link to somewhere else; a run writes into its own folder only")

    def mark_begun(self) -> None:
        """Forget an earlier failure."""
        self._failed.unlink(missing_ok=True)

    def mark_failed(self, error: FloatingPointError) -> None:
        self._failed.write_text(f"{error}\n", encoding="utf-8")

    def mark_done(self, records: Records) -> None:
        write_json(self.done, records)

    def altered(self) -> list[str]:
        """One line for each file that is not what the run recorded of it at its end, or at its last checkpoint. Runs of earlier versions
        recorded nothing."""
        if self.is_done and self.failure is not None:
            return ["DONE and FAILED are both there"]
        try:
            newest = max(self.checkpoints.glob("[0-9]*"), default=None)
            at = self.done if self.is_done else newest / COUNTERS if newest else None
            text = at.read_text(encoding="utf-8") if at else ""
            found = parse_json(text) if text else {}
            records = found if self.is_done else found.get("records", {})
            return [
                f"{name} is not what the run wrote: it was edited or damaged"
                for name, record in records.items()
                if self._differs(name, record)
            ]
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return ["the record of its files cannot be read"]

    def _differs(self, name: str, record: Record) -> bool:
        path = self.path / check_name(name)
        size = path.stat().st_size if path.is_file() else -1
        return (
            size < record["length"] or (self.is_done and size > record["length"]) or digest_of(path, record["length"]) != record["sha256"]
        )


def find_runs(folder: Path) -> list[RunFolder]:
    """Find every run at or below `folder`, sorted by path. Folders that cannot be entered, or vanish meanwhile, are skipped."""
    return sorted(RunFolder(Path(place)) for place, folders, files in os.walk(folder) if SPEC in (*folders, *files))


def read_specs(folder: Path) -> tuple[dict[RunFolder, Spec], dict[RunFolder, str]]:
    """Read the description of every run at or below `folder`; returns these, and the error message of each that cannot be read."""
    specs: dict[RunFolder, Spec] = {}
    unreadable: dict[RunFolder, str] = {}
    for run in find_runs(folder):
        try:
            specs[run] = run.read_spec()
        except UsageError as error:
            unreadable[run] = str(error)
    return specs, unreadable


def check_name(name: str) -> str:
    """Check that a name is safe as a folder's: letters, digits, dot, underscore, hyphen; at most 100; not hidden. Raises UsageError."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
        raise UsageError(f"not a name: {name!r}; use letters, digits, '.', '_' and '-', at most 100, none of them '.' or '-' at the start")
    return name


def refuse_file(folder: Path, what: str) -> None:
    """Raise UsageError if a file stands where the folder for `what` would be made, or above it."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise UsageError(f"{there} is not a folder: name a new one for the {what}")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all: under another name first, synced, then renamed."""
    beside = path.with_name(path.name + ".part")
    with open(beside, "w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Sync a folder's entries to disk, so that they survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
