"""Writer of one run: rows, TensorBoard's view, checkpoints, and the marker of its end."""

import sys
from contextlib import ExitStack, closing
from itertools import product
from types import TracebackType

from launch.run.store import Store
from launch.tracking.tensorboard import TensorBoard
from launch.tracking.weights_and_biases import WeightsAndBiases
from plasticity_rl.checks import UsageError
from plasticity_rl.records import checkpoint
from plasticity_rl.records.background import Saving
from plasticity_rl.records.events import Event, Media, Metric, Row, Score, Snapshot, refuse_number
from plasticity_rl.records.folder import TABLES, Record, Records, write_json
from plasticity_rl.records.spec import Spec
from plasticity_rl.records.tables import CsvLog, digest_of, truncate
from plasticity_rl.training.compilation import FAILURES

TOLD = 2.0  # seconds from which a checkpoint's size and time are told


class RunWriter:
    """Writes the events of one run into its folder. The caller holds the folder's lock."""

    def __init__(self, spec: Spec, store: Store) -> None:
        """Restore all files to the last checkpoint, kept as `resume`. Raises UsageError if every checkpoint is broken."""
        self.folder = folder = store.run(spec.key)
        self._spec, self._store = spec, store
        if not folder.spec.exists():
            write_json(folder.spec, spec._asdict())
        self.resume, problems = checkpoint.load_latest(folder.checkpoints)
        if problems and self.resume is None:
            raise UsageError(f"{folder} cannot be resumed: {'; '.join(problems)}; remove its checkpoints to restart it")
        for problem in problems:
            print(f"{problem}; the one before it is used", file=sys.stderr)
        folder.mark_begun()
        for table in map(folder.table, TABLES):
            if self.resume:
                at = self.resume.counters["records"][table.name]
                truncate(table, at["length"], at["sha256"])
            else:
                table.unlink(missing_ok=True)
        self._open, self._failures = ExitStack(), len(FAILURES)
        self._saving: Saving | None = None
        self.note = ""
        """how long the last checkpoint took, if it was long enough to tell; emptied by who tells it"""
        self._step: list[Row] = []
        """rows of the latest step, written together: for all members or none"""

    def __enter__(self) -> "RunWriter":
        self._tables = {row: self._open.enter_context(closing(CsvLog(self.folder.table(row), row))) for row in TABLES}
        self._views: list[TensorBoard | WeightsAndBiases] = [self._open.enter_context(TensorBoard(self.folder, self._spec))]
        if self._store.wandb:
            self._views.append(self._open.enter_context(WeightsAndBiases(self.folder, self._spec, self._store.wandb)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None or isinstance(error, FloatingPointError):  # otherwise the run was stopped within a step
                self._write()
            self._finish_saving()
        finally:
            self._open.__exit__(kind, error, trace)

    def take(self, event: Event) -> None:
        """Write one event. Raises FloatingPointError for a non-finite value."""
        if isinstance(event, Score | Metric):
            if self._step and self._step[-1].steps != event.steps:
                self._write()
            self._step.append(event)
            try:
                refuse_number(event)
            except FloatingPointError:
                self._step = []
                raise
        elif isinstance(event, Media):
            self._write()
            for view in self._views:
                view.show(event)
        elif isinstance(event, Snapshot):
            self._write()
            self._note_failures()
            for table in self._tables.values():
                table.sync()
            saved = event._replace(counters=event.counters | {"records": self._records()})
            self._finish_saving()
            self._saving = Saving(self.folder.checkpoints, event.counters["number"], saved)
            if self._store.mirror:
                self._finish_saving()
                self._copy()
        if self._saving and self._saving.done():
            self._note_saving(self._saving)

    def _write(self) -> None:
        """Write the rows of the latest step, which is complete."""
        rows, self._step = self._step, []
        if not rows:
            return
        for kind, table in self._tables.items():
            table.append(*(row for row in rows if isinstance(row, kind)))
        for view, row in product(self._views, rows):
            view.add(row)

    def _finish_saving(self) -> None:
        """Wait for the checkpoint that is being written, if any."""
        if self._saving:
            self._saving.wait()
            self._note_saving(self._saving)

    def _note_saving(self, saved: Saving) -> None:
        if saved.seconds > TOLD:
            size, waited = saved.bytes / 1e9, saved.waited
            self.note = f"checkpoint {saved.number:,}: {size:.1f} GB in {saved.seconds:.1f} s, for {waited:.1f} s of which the run waited"
        self._saving = None

    def _note_failures(self) -> None:
        """Correct context.json if a function of this process could not be compiled since the run was opened."""
        if len(FAILURES) > self._failures:
            self._failures = len(FAILURES)
            write_json(self.folder.context, self.folder.read_context() | {"compiled": False, "not_compiled": FAILURES[-1]})

    def fail(self, error: FloatingPointError) -> None:
        """Close the run as failed; nothing can be written afterwards."""
        self.__exit__(type(error), error, None)
        self.folder.mark_failed(error)

    def finish(self) -> None:
        """Close the run as done."""
        self._write()
        self._finish_saving()
        self._open.close()
        self.folder.mark_done(self._records())
        self._copy()

    def _records(self) -> Records:
        """Length and hash of the tables, which are synced, and of the run's description."""
        paths = {self.folder.table(row): table.digest for row, table in self._tables.items()}
        paths |= {self.folder.spec: digest_of(self.folder.spec)}
        return {path.name: Record(length=path.stat().st_size, sha256=digest) for path, digest in paths.items()}

    def _copy(self) -> None:
        """Copy the run to the mirror; an unreachable mirror does not end the run."""
        try:
            if self._store.mirror:
                self._store.mirror.copy(self.folder)
        except OSError as error:
            print(f"{self.folder} was not copied; its next checkpoint, or the same command, tries again: {error}", file=sys.stderr)
