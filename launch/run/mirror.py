"""A second place for runs: a bucket (s3://, gs://, hdfs://) or a path shared by all machines, reached through pyarrow's file systems.

A run is written in its own folder, where rows can be appended, and copied at every checkpoint and at its end. A machine that lacks the run
fetches it first and resumes from the newest copied checkpoint, so a lost disk costs the work since then.
"""

import shutil
from pathlib import Path
from typing import Any

from plasticity_rl.checks import UsageError
from plasticity_rl.records.folder import RunFolder

LAST = "manifest.json"  # last file of a checkpoint, which is valid only once it exists


class Mirror:
    """Copy of run folders elsewhere: `place/NAME/KEY`, without TensorBoard's files, which `rebuild-board` restores."""

    def __init__(self, place: str) -> None:
        """`place` is a URI that pyarrow knows, or an absolute path. Raises UsageError for anything else, or if pyarrow is missing."""
        try:
            from pyarrow import ArrowException, fs
        except ImportError as error:
            raise UsageError("--mirror needs the package pyarrow: pip install pyarrow") from error
        try:
            self._there, self._root = fs.FileSystem.from_uri(place)
        except (ArrowException, ValueError, OSError) as error:
            raise UsageError(f"--mirror is a URI such as s3://BUCKET/runs, or an absolute path, not {place!r}: {error}") from error
        self._fs, self._here = fs, fs.LocalFileSystem()

    def meet(self, run: RunFolder) -> None:
        """Fetch a run that is missing here, or copy a finished run that is unfinished there; call before a run. Raises OSError."""
        there = self._place(run)
        if run.is_done and not self._exists(f"{there}/{run.done.name}"):
            self.copy(run)
        elif not run.spec.exists() and self._exists(f"{there}/{run.spec.name}"):
            self._fetch(run, there)

    def copy(self, run: RunFolder) -> None:
        """Copy the new files of a run: tables before the checkpoints that state their least length, DONE last. Raises OSError."""
        there = self._place(run)
        known, numbers = self._checkpoints(run), sorted(path.name for path in run.checkpoints.glob("[0-9]*"))
        for number in self._numbers(run):
            if number not in known:  # a copy that ended early, as on a full disk
                self._there.delete_dir(f"{there}/{run.checkpoints.name}/{number}")
        for path in run.records:
            if path.exists():
                self._copy(path, f"{there}/.{path.name}")
                self._there.move(f"{there}/.{path.name}", f"{there}/{path.name}")  # atomic replacement
        for number in [each for each in numbers if each not in known]:
            files = sorted((run.checkpoints / number).iterdir(), key=lambda path: path.name == LAST)
            for file in files:
                self._copy(file, f"{there}/{run.checkpoints.name}/{number}/{file.name}")
        for number in known:
            if number not in numbers:
                self._there.delete_dir(f"{there}/{run.checkpoints.name}/{number}")
        if run.is_done:
            self._copy(run.done, f"{there}/{run.done.name}")

    def _fetch(self, run: RunFolder, there: str) -> None:
        beside = run.path.with_name(f".{run.name}.fetched")  # a partial copy would be resumed
        shutil.rmtree(beside, ignore_errors=True)
        folders = [f"{run.checkpoints.name}/{number}" for number in self._checkpoints(run)]
        names = [f"{folder}/{file}" for folder in folders for file in self._names(f"{there}/{folder}")]
        names += [path.name for path in (run.done, *reversed(run.records)) if self._exists(f"{there}/{path.name}")]
        for name in names:  # spec.json, which marks a run folder, comes last
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            self._fs.copy_files(f"{there}/{name}", str(beside / name), source_filesystem=self._there, destination_filesystem=self._here)
        shutil.rmtree(run.path, ignore_errors=True)
        beside.rename(run.path)

    def _copy(self, file: Path, target: str) -> None:
        self._there.create_dir(target.rpartition("/")[0], recursive=True)
        self._fs.copy_files(str(file), target, source_filesystem=self._here, destination_filesystem=self._there)

    def _place(self, run: RunFolder) -> str:
        return f"{self._root}/{run.path.parent.name}/{run.name}"

    def _exists(self, path: str) -> bool:
        return self._there.get_file_info(path).type == self._fs.FileType.File

    def _names(self, folder: str) -> list[str]:
        found: Any = self._there.get_file_info(self._fs.FileSelector(folder, allow_not_found=True))
        return sorted(each.base_name for each in found)

    def _checkpoints(self, run: RunFolder) -> list[str]:
        """List the names of complete checkpoints in the mirror, oldest first."""
        folder = f"{self._place(run)}/{run.checkpoints.name}"
        return [number for number in self._numbers(run) if self._exists(f"{folder}/{number}/{LAST}")]

    def _numbers(self, run: RunFolder) -> list[str]:
        """List the names of all checkpoints in the mirror, also of incomplete ones, oldest first."""
        return [name for name in self._names(f"{self._place(run)}/{run.checkpoints.name}") if name.isdigit()]
