"""A second place for runs: a bucket (s3://, gs://, hdfs://), or a path that all machines see, reached through pyarrow's file systems.

A run is written in its folder, where rows can be appended, and copied there with every checkpoint and at its end. Where it is asked for on
a machine that does not have it, it is fetched first and goes on from the newest checkpoint that arrived: who loses a disk loses no more
than the way from there.
"""

import shutil
from pathlib import Path
from typing import Any

from plasticity_rl.checks import UsageError
from plasticity_rl.records.folder import is_done

FILES = ("spec.json", "context.json", "scores.csv", "metrics.csv")
LAST = "manifest.json"  # of a checkpoint, which is none before it is there


class Mirror:
    """A folder of runs somewhere else: `place/NAME/KEY`, without TensorBoard's files, which can be made again (`rebuild-board`)."""

    def __init__(self, place: str) -> None:
        """`place` is a URI that pyarrow knows, or an absolute path. Raises UsageError where it is neither, or pyarrow is missing."""
        try:
            from pyarrow import ArrowException, fs
        except ImportError as error:
            raise UsageError("--mirror needs the package pyarrow: pip install pyarrow") from error
        try:
            self._there, self._root = fs.FileSystem.from_uri(place)
        except (ArrowException, ValueError, OSError) as error:
            raise UsageError(f"--mirror is a URI such as s3://BUCKET/runs, or an absolute path, not {place!r}: {error}") from error
        self._fs, self._here = fs, fs.LocalFileSystem()

    def meet(self, run: Path) -> None:
        """Before a run: fetch it where it is not here, or copy it there where its end did not arrive. Raises OSError."""
        there = self._place(run)
        if is_done(run) and not self._exists(f"{there}/DONE"):
            self.store(run)
        elif not (run / "spec.json").exists() and self._exists(f"{there}/spec.json"):
            self._fetch(run, there)

    def store(self, run: Path) -> None:
        """Copy what is new of a run: tables before the checkpoints that say how long they are at least, DONE last. Raises OSError."""
        there = self._place(run)
        known, numbers = self._checkpoints(there), sorted(path.name for path in (run / "checkpoints").glob("[0-9]*"))
        for name in FILES:
            if (run / name).exists():
                self._copy(run / name, f"{there}/.{name}")
                self._there.move(f"{there}/.{name}", f"{there}/{name}")  # whole, or as it was
        for number in [each for each in numbers if each not in known]:
            files = sorted((run / "checkpoints" / number).iterdir(), key=lambda path: path.name == LAST)
            for file in files:
                self._copy(file, f"{there}/checkpoints/{number}/{file.name}")
        for number in known:
            if number not in numbers:
                self._there.delete_dir(f"{there}/checkpoints/{number}")
        if is_done(run):
            self._copy(run / "DONE", f"{there}/DONE")

    def _fetch(self, run: Path, there: str) -> None:
        beside = run.with_name(f".{run.name}.fetched")  # a half would be gone on with
        shutil.rmtree(beside, ignore_errors=True)
        names = [
            f"checkpoints/{number}/{file}" for number in self._checkpoints(there) for file in self._names(f"{there}/checkpoints/{number}")
        ]
        names += [name for name in ("DONE", *reversed(FILES)) if self._exists(f"{there}/{name}")]
        for name in names:  # what makes a folder a run comes last
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            self._fs.copy_files(f"{there}/{name}", str(beside / name), source_filesystem=self._there, destination_filesystem=self._here)
        shutil.rmtree(run, ignore_errors=True)
        beside.rename(run)

    def _copy(self, file: Path, target: str) -> None:
        self._there.create_dir(target.rpartition("/")[0], recursive=True)
        self._fs.copy_files(str(file), target, source_filesystem=self._here, destination_filesystem=self._there)

    def _place(self, run: Path) -> str:
        return f"{self._root}/{run.parent.name}/{run.name}"

    def _exists(self, path: str) -> bool:
        return self._there.get_file_info(path).type == self._fs.FileType.File

    def _names(self, folder: str) -> list[str]:
        found: Any = self._there.get_file_info(self._fs.FileSelector(folder, allow_not_found=True))
        return sorted(each.base_name for each in found)

    def _checkpoints(self, there: str) -> list[str]:
        """Those that are whole there, oldest first."""
        numbers = [name for name in self._names(f"{there}/checkpoints") if name.isdigit()]
        return [number for number in numbers if self._exists(f"{there}/checkpoints/{number}/{LAST}")]
