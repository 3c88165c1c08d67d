"""TensorBoard view of a run: curves of the rows of both CSV files, and media; `launch.checkpoints.video` adds the folder `videos`."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from launch.signals import Stopped
from launch.tracking.curves import SCORE, Curves
from launch.tracking.images import drawn, tiled
from launch.tracking.layout import Layout, description, layout
from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Media, Metric, Score
from plasticity_rl.records.folder import TABLES, RunFolder, read_specs
from plasticity_rl.records.spec import Spec

TAGS = 190  # maximum number of curves and images of a run; with the other tags it stays under 200
# starts TensorBoard like its own `main`, without the notice that TensorFlow is missing
QUIETLY = """
from absl import app, logging
from tensorboard import default, program
logging.set_verbosity(logging.WARNING)
board = program.TensorBoard(plugins=default.get_plugins())
app.run(board.main, flags_parser=board.configure)
"""
IMAGES = 100  # maximum number of images per tag in TensorBoard: videos of as many checkpoints


class TensorBoard:
    """Writer of `tb/` from rows and images as they arrive. The existing CSV rows and images are written first, so that a resumed run has
    unbroken curves."""

    def __init__(self, run: RunFolder, spec: Spec) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        _mute_its_thread()
        self._curves = Curves(spec, self._draw)
        self._tags: set[str] = set()
        self._left: set[str] = set()
        self._charts: Layout = {}
        self._laid_out = 0  # number of tags in the current layout
        old = sorted(run.tensorboard.glob("events.*"))
        shown = [event for path in old for event in _pictures(path)]
        for path in old:
            path.unlink()
        self._writer = SummaryWriter(str(run.tensorboard))
        self._writer.add_text("run", description(spec))
        settings = {"chain": spec.label, "benchmark": spec.benchmark, "seed": spec.seed, "members": spec.members}
        for kind in ("agent", "network", "optimizer", "schedule"):
            name, fields = spec.experiment[kind]
            settings |= {kind: name} | {f"{kind}.{field}": _plain(value) for field, value in fields.items()}
        score = f"{SCORE}/{'online' if spec.unit == 'updates' else 'return'}/member0"
        # The table shows that curve's last value. Written here, because add_hparams would make a separate run.
        for summary in hparams(settings, {score: 0.0}):
            assert self._writer.file_writer is not None
            self._writer.file_writer.add_summary(summary)
        self.seen = {(value.tag, event.step) for event in shown for value in event.summary.value}
        """(tag, step) of the existing images"""
        assert self._writer.file_writer is not None
        for event in shown:
            self._tags |= {value.tag for value in event.summary.value}
            self._writer.file_writer.add_event(event, event.step, event.wall_time)
        self.problems: dict[str, list[str]] = {}
        """file -> its problems"""
        for kind in TABLES:
            rows, self.problems[TABLES[kind]] = run.read_rows(kind)
            for row in rows:
                self.add(row)

    def add(self, row: Score | Metric) -> None:
        """Add a row of a table."""
        self._curves.add(row)
        self._lay_out()

    def show(self, picture: Media) -> None:
        """Add a histogram or an image, unless it exists."""
        at = self._curves.reach(picture)
        if (picture.name, at) in self.seen or not self._has_room(picture.name):
            return
        if picture.kind == "histogram":
            self._writer.add_histogram(picture.name, picture.values, at)
        else:
            image = tiled(picture.values) if picture.kind == "image" else drawn(picture.values)
            self._writer.add_image(picture.name, image, at, dataformats="HWC")

    def _draw(self, tag: str, value: float, at: int) -> None:
        if self._has_room(tag):
            self._writer.add_scalar(tag, value, at)

    def _lay_out(self) -> None:
        """Write a layout of the existing curves: TensorBoard uses the newest one, and would show empty charts."""
        if len(self._tags) != self._laid_out:
            self._laid_out = len(self._tags)
            if (charts := layout(self._tags)) != self._charts:
                self._charts = charts
                self._writer.add_custom_scalars(charts)

    def _has_room(self, tag: str) -> bool:
        """True if the tag is one of the first `TAGS`."""
        if tag not in self._tags and len(self._tags) >= TAGS:
            self._left.add(tag)
            return False
        self._tags.add(tag)
        return True

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._curves.flush()
        self._lay_out()
        if self._left:
            self._writer.add_text("left out", f"More than {TAGS} curves: metrics.csv alone has {', '.join(sorted(self._left))}")
        self._writer.close()


def rebuild(run: RunFolder) -> None:
    """Rebuild `tb/` from the CSV files, and report what became of the images, which these do not hold.

    Raises UsageError if `run` is not a run, and FolderTaken if it is being written.
    """
    spec = run.read_spec()
    with run.lock(), TensorBoard(run, spec) as view:
        kept = len(view.seen)
        for problem in chain.from_iterable(view.problems.values()):
            print(problem, file=sys.stderr)
    pictures = f"{kept} histograms and images were kept" if kept else "histograms and images are absent: only a run itself makes them"
    print(f"{run.tensorboard}: made anew of scores.csv and metrics.csv; {pictures}")


def serve(folder: Path, port: int) -> int:
    """Serve TensorBoard for the runs below `folder`, with readable names, until it is stopped; returns its exit code."""
    specs, unreadable = read_specs(folder)
    if not specs:
        raise UsageError(next(iter(unreadable.values()), f"no runs below {folder}"))
    for why in unreadable.values():
        print(f"a run is left out: {why}", file=sys.stderr)
    with TemporaryDirectory() as names:
        for number, (run, spec) in enumerate(specs.items()):
            place = Path(names) / _folder_name(spec.benchmark) / _folder_name(f"{spec.label[:150]}, seed {spec.seed}")
            place.parent.mkdir(exist_ok=True)
            if place.is_symlink():
                place = place.with_name(f"{place.name} ({number})")
            place.symlink_to(run.tensorboard.resolve())
        command = [sys.executable, "-c", QUIETLY, "--logdir", names, "--host", "127.0.0.1", "--port", str(port)]
        command += ["--samples_per_plugin", f"images={IMAGES}", "--load_fast", "false"]
        try:
            return subprocess.run(command, check=False).returncode
        except Stopped:  # the normal end; `run` has ended TensorBoard
            return 0


def _mute_its_thread() -> None:
    """Print no traceback when TensorBoard's thread cannot write: the thread that hands it values raises the same error next."""
    if getattr(threading.excepthook, "func", None) is not _hook:
        threading.excepthook = partial(_hook, threading.excepthook)


def _hook(before: Callable[[threading.ExceptHookArgs], Any], arguments: threading.ExceptHookArgs) -> None:
    from tensorboard.summary.writer.event_file_writer import _AsyncWriterThread

    if not (isinstance(arguments.thread, _AsyncWriterThread) and isinstance(arguments.exc_value, OSError)):
        before(arguments)


def _pictures(path: Path) -> list[Any]:
    """Read the events of a file that hold a histogram or an image, up to the first damaged one."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    events = LegacyEventFileLoader(str(path)).Load()
    return [event for event in events if any(value.HasField("histo") or value.HasField("image") for value in event.summary.value)]


def _folder_name(text: str) -> str:
    """The text as a name of one folder: what a file says makes no path."""
    return re.sub(r"[/\0]", "-", text).lstrip(".")[:200] or "-"


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float | str) else str(value)
