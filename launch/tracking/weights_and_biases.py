"""Weights & Biases view of a run, from the same events as TensorBoard's. Needs the extra `wandb`, which is imported on use."""

import importlib
from types import TracebackType
from typing import Any

from launch.tracking.curves import Curves
from launch.tracking.images import drawn, tiled
from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Media, Metric, Score
from plasticity_rl.records.folder import RunFolder
from plasticity_rl.records.spec import Spec


def package() -> Any:
    """Import wandb. Raises UsageError if it is not installed; the folder `wandb` that it makes where it is used does not count."""
    try:
        found = importlib.import_module("wandb")
    except ImportError:
        found = None
    if not hasattr(found, "init"):
        raise UsageError("--wandb needs the package wandb: pip install 'plasticity-rl[wandb]'")
    return found


class WeightsAndBiases:
    """Logger of the curves of `TensorBoard`, over updates or frames, to `project`; WANDB_MODE=offline keeps them in the run's folder until
    `wandb sync`.

    A resumed run keeps its id. It repeats the same values since its last checkpoint, and wandb ignores steps before the last one; whether
    it does so across two offline parts of a run was not tested on a server.
    """

    def __init__(self, run: RunFolder, spec: Spec, project: str) -> None:
        """Raises UsageError if the package, or access to the server, is missing."""
        self._wandb = package()
        self._curves = Curves(spec, lambda tag, value, at: self._run.log({tag: value}, step=at))
        try:
            self._run = self._wandb.init(
                project=project,
                id=f"{run.path.parent.name}-{spec.key}",
                name=f"{spec.label}, seed {spec.seed}",
                group=spec.benchmark,
                config=spec.experiment | {"label": spec.label, "key": spec.key},
                dir=str(run.path),
                resume="allow",
                reinit="create_new",  # runs of a sweep may be active at the same time
            )
        except self._wandb.Error as error:
            raise UsageError(f"Weights & Biases: {error}") from error

    def add(self, row: Score | Metric) -> None:
        """Add a row of a table."""
        self._curves.add(row)

    def show(self, picture: Media) -> None:
        """Add a histogram or an image."""
        at = self._curves.reach(picture)
        if picture.kind == "histogram":
            shown = self._wandb.Histogram(picture.values)
        else:
            shown = self._wandb.Image(tiled(picture.values) if picture.kind == "image" else drawn(picture.values))
        self._run.log({picture.name: shown}, step=at)

    def __enter__(self) -> "WeightsAndBiases":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._curves.flush()
        self._run.finish(exit_code=0 if error is None else 1)
