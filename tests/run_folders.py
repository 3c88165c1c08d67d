"""Folders of runs, as paths."""

from pathlib import Path

from plasticity_rl.records.folder import find_runs


def run_paths(folder: Path) -> list[Path]:
    """Find the folder of every run at or below `folder`."""
    return [run.path for run in find_runs(folder)]
