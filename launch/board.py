"""TensorBoard's view of a run: made of the rows of the two CSV files, and of nothing else."""

import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from plasticity_rl.checks import UsageError
from plasticity_rl.runs import Metric, Score, Spec, find_runs, read_rows, read_spec

SHOWN = 10  # members whose scores have a curve of their own


class Board:
    """Writes `tb/` from rows as they come; what the CSV files already hold is written first, so a resumed run has one unbroken curve."""

    def __init__(self, run: Path, spec: Spec) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self._spec = spec
        self._group: tuple[str, int] = "", 0
        self._values: list[float] = []
        shutil.rmtree(run / "tb", ignore_errors=True)
        self._writer = SummaryWriter(str(run / "tb"))
        self._writer.add_text("run", f"**{spec.label}** on {spec.benchmark}: {spec.members} members, seed {spec.seed}, key `{spec.key}`")
        settings = {"chain": spec.label, "benchmark": spec.benchmark, "seed": spec.seed, "members": spec.members}
        for kind in ("agent", "network", "optimizer", "schedule"):
            name, fields = spec.experiment[kind]
            settings |= {kind: name} | {f"{kind}.{field}": _plain(value) for field, value in fields.items()}
        for summary in hparams(settings, {}):  # in this writer, because add_hparams would make a run of its own
            assert self._writer.file_writer is not None
            self._writer.file_writer.add_summary(summary)
        for kind, name in ((Score, "scores.csv"), (Metric, "metrics.csv")):
            for row in read_rows(run / name, kind)[0]:
                self.add(row)

    def add(self, row: Score | Metric) -> None:
        """Scores get a curve a member, diagnostics one curve: their mean over members."""
        at = row.updates if self._spec.unit == "updates" else row.frames
        if isinstance(row, Score):
            if row.kind != "cut" and row.member < SHOWN:
                self._writer.add_scalar(f"score/{row.kind}/member{row.member}", row.score, at)
            return
        if (row.name, at) != self._group:
            self._flush()
            self._group = row.name, at
        self._values.append(row.value)

    def _flush(self) -> None:
        name, at = self._group
        if self._values:
            self._writer.add_scalar(name if "/" in name else f"training/{name}", statistics.fmean(self._values), at)
        self._values = []

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._flush()
        self._writer.close()


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
        try:
            return subprocess.run(command, check=False).returncode
        except KeyboardInterrupt:
            return 0


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float | str) else str(value)
