"""Output location of runs."""

import os
from dataclasses import dataclass
from pathlib import Path

from launch.run.mirror import Mirror
from plasticity_rl.checks import UsageError
from plasticity_rl.records.folder import RunFolder, check_name


@dataclass(frozen=True)
class Store:
    """Run folders `root/name/KEY`, and the other places that runs are logged or copied to."""

    root: Path
    name: str
    wandb: str | None = None
    """project of Weights & Biases"""
    mirror: Mirror | None = None
    """second place that runs are copied to"""

    @property
    def path(self) -> Path:
        return self.root / self.name

    def run(self, key: str) -> RunFolder:
        """Return the folder of one run. Raises UsageError for an invalid name, a symbolic link, or a place that cannot be written."""
        folder = self.root / check_name(self.name) / key
        for path in (self.path, folder):
            if path.is_symlink():
                raise UsageError(f"{path} is a link to somewhere else; a run's folder must be a folder")
        try:
            parent = next(path for path in (folder, *folder.parents) if path.exists())
        except OSError as error:
            raise UsageError(f"not a folder for runs: {error.strerror}") from error
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise UsageError(f"cannot write in {parent}")
        return RunFolder(folder)
