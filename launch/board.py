"""TensorBoard's view of a run: curves of the rows of the two CSV files, and pictures; `launch.video` adds the folder `videos` to it."""

import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from launch.images import drawn, tiled
from launch.layout import description, layout
from plasticity_rl.checks import UsageError
from plasticity_rl.runs import Metric, Picture, Score, Spec, find_runs, read_rows, read_spec

SHOWN = 10  # members whose scores have a curve of their own
LAYERS = 6  # of which each has a curve; those of a deeper network share their mean's
EVALUATED = 30  # curves of evaluations by member, or they are means over members
TAGS = 190  # curves and pictures of a run; what else there is stays under 200
IMAGES = 100  # the most that TensorBoard shows of one tag: videos of as many checkpoints


class Board:
    """Writes `tb/` from rows and pictures as they come; what the CSV files already hold is written first, so a resumed run has one unbroken
    curve, and so are the pictures that were there."""

    def __init__(self, run: Path, spec: Spec) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self._spec = spec
        self._at = 0
        self._values: dict[str, list[float]] = {}
        self._tags: set[str] = set()
        self._left: set[str] = set()
        self._tasks = len({visit["task"] for visit in spec.visits})
        old = sorted((run / "tb").glob("events.*"))
        shown = [event for path in old for event in _pictures(path)]
        for path in old:
            path.unlink()
        self._writer = SummaryWriter(str(run / "tb"))
        self._writer.add_text("run", description(spec))
        self._writer.add_custom_scalars(layout(spec))
        settings = {"chain": spec.label, "benchmark": spec.benchmark, "seed": spec.seed, "members": spec.members}
        for kind in ("agent", "network", "optimizer", "schedule"):
            name, fields = spec.experiment[kind]
            settings |= {kind: name} | {f"{kind}.{field}": _plain(value) for field, value in fields.items()}
        for summary in hparams(settings, {}):  # in this writer, because add_hparams would make a run of its own
            assert self._writer.file_writer is not None
            self._writer.file_writer.add_summary(summary)
        self.seen = {(value.tag, event.step) for event in shown for value in event.summary.value}
        """pictures that are there: tag and step"""
        assert self._writer.file_writer is not None
        for event in shown:
            self._tags |= {value.tag for value in event.summary.value}
            self._writer.file_writer.add_event(event, event.step, event.wall_time)
        for kind, name in ((Score, "scores.csv"), (Metric, "metrics.csv")):
            for row in read_rows(run / name, kind)[0]:
                self.add(row)

    def add(self, row: Score | Metric) -> None:
        """Training scores get a curve a member; evaluations one a task and member, the mean over its episodes; diagnostics one, the mean
        over members.
        """
        at = row.updates if self._spec.unit == "updates" else row.frames
        if at != self._at:
            self._flush()
            self._at = at
        if isinstance(row, Metric):
            self._values.setdefault(row.name if "/" in row.name else f"training/{row.name}", []).append(row.value)
        elif row.kind == "evaluation":
            by_member = self._tasks * min(self._spec.members, SHOWN) <= EVALUATED
            if row.member < SHOWN or not by_member:
                self._values.setdefault(f"evaluation/{row.task}" + by_member * f"/member{row.member}", []).append(row.score)
        elif row.kind != "cut" and row.member < SHOWN:
            self._scalar(f"score/{row.kind}/member{row.member}", row.score, at)

    def show(self, picture: Picture) -> None:
        """A histogram, or an image, where it is not there already."""
        at = picture.updates if self._spec.unit == "updates" else picture.frames
        if (picture.name, at) in self.seen or not self._has_room(picture.name):
            return
        if picture.kind == "histogram":
            self._writer.add_histogram(picture.name, picture.values, at)
        else:
            image = tiled(picture.values) if picture.kind == "image" else drawn(picture.values)
            self._writer.add_image(picture.name, image, at, dataformats="HWC")

    def _flush(self) -> None:
        for curve, values in _merged(self._values).items():
            self._scalar(curve, statistics.fmean(values), self._at)
        self._values = {}

    def _scalar(self, tag: str, value: float, at: int) -> None:
        if self._has_room(tag):
            self._writer.add_scalar(tag, value, at)

    def _has_room(self, tag: str) -> bool:
        """Is it one of the first so many tags?"""
        if tag not in self._tags and len(self._tags) >= TAGS:
            self._left.add(tag)
            return False
        self._tags.add(tag)
        return True

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._flush()
        if self._left:
            self._writer.add_text("left out", f"More than {TAGS} curves: metrics.csv alone has {', '.join(sorted(self._left))}")
        self._writer.close()


def rebuild(run: Path) -> None:
    """Make `tb/` anew from the CSV files, and say what became of the pictures, which these do not hold.

    Raises UsageError where `run` is no run, and FolderTaken where one is being written.
    """
    from filelock import FileLock, Timeout

    from launch.runner import FolderTaken

    spec = read_spec(run)
    try:
        with FileLock(run / ".lock", timeout=0), Board(run, spec) as board:
            kept = len(board.seen)
    except Timeout as error:
        raise FolderTaken(f"{run} is being written by another process") from error
    pictures = f"{kept} histograms and images were kept" if kept else "histograms and images are absent: only a run itself makes them"
    print(f"{run / 'tb'}: made anew of scores.csv and metrics.csv; {pictures}")


def serve(folder: Path, port: int) -> int:
    """TensorBoard over the runs below `folder`, by names that people read, until it is stopped; returns its exit code."""
    runs = find_runs(folder)
    if not runs:
        raise UsageError(f"no runs below {folder}")
    with TemporaryDirectory() as names:
        for number, run in enumerate(runs):
            spec = read_spec(run)
            place = Path(names) / spec.benchmark / f"{spec.label[:150]}, seed {spec.seed}".replace("/", "-")
            place.parent.mkdir(exist_ok=True)
            if place.is_symlink():
                place = place.with_name(f"{place.name} ({number})")
            place.symlink_to((run / "tb").resolve())
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", names, "--host", "127.0.0.1", "--port", str(port)]
        command += ["--samples_per_plugin", f"images={IMAGES}"]
        try:
            return subprocess.run(command, check=False).returncode
        except KeyboardInterrupt:
            return 0


def _pictures(path: Path) -> list[Any]:
    """The events of a file that hold a histogram or an image; a torn one ends the reading."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    events = LegacyEventFileLoader(str(path)).Load()
    return [event for event in events if any(value.HasField("histo") or value.HasField("image") for value in event.summary.value)]


def _merged(curves: dict[str, list[float]]) -> dict[str, list[float]]:
    """The curves of one moment, those of a kind that has more than `LAYERS` layers as one."""
    kinds: dict[str, list[str]] = {}
    for curve in curves:
        kinds.setdefault(curve.partition("/")[0], []).append(curve)
    merged: dict[str, list[float]] = {}
    for kind, of_kind in kinds.items():
        if len(of_kind) > LAYERS and kind not in ("training", "evaluation"):
            merged[f"{kind}/mean over layers"] = [value for curve in of_kind for value in curves[curve]]
        else:
            merged |= {curve: curves[curve] for curve in of_kind}
    return merged


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float | str) else str(value)
