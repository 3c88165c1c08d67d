"""Where runs go."""

import os
from dataclasses import dataclass
from pathlib import Path

from launch.run.mirror import Mirror
from plasticity_rl.checks import UsageError
from plasticity_rl.records.folder import check_name


@dataclass(frozen=True)
class Destination:
    """The folders `root/name/KEY` of runs, and where else they go meanwhile."""

    root: Path
    name: str
    wandb: str | None = None
    """a project of Weights & Biases that they are logged to"""
    mirror: Mirror | None = None
    """a second place that they are copied to"""

    def folder(self, key: str) -> Path:
        """A run's folder. Raises UsageError for a name that is none and for a folder that leads elsewhere."""
        folder = self.root / check_name(self.name) / key
        for path in (self.root / self.name, folder):
            if path.is_symlink():
                raise UsageError(f"{path} is a link to somewhere else; a run's folder must be a folder")
        try:
            parent = next(path for path in (folder, *folder.parents) if path.exists())
        except OSError as error:
            raise UsageError(f"not a folder for runs: {error.strerror}") from error
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise UsageError(f"cannot write in {parent}")
        return folder
