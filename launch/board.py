"""TensorBoard's view of a run: made of the rows of the two CSV files; `launch.video` adds the folder `videos` to it."""

import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from plasticity_rl.checks import UsageError
from plasticity_rl.runs import Metric, Score, Spec, find_runs, read_rows, read_spec

SHOWN = 10  # members whose scores have a curve of their own
IMAGES = 100  # the most that TensorBoard shows of one tag: videos of as many checkpoints


class Board:
    """Writes `tb/` from rows as they come; what the CSV files already hold is written first, so a resumed run has one unbroken curve."""

    def __init__(self, run: Path, spec: Spec) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self._spec = spec
        self._at = 0
        self._values: dict[str, list[float]] = {}
        for path in (run / "tb").glob("events.*"):
            path.unlink()
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
        """Training scores get a curve a member; evaluations one a task and member, the mean over its episodes; diagnostics one, the mean
        over members.
        """
        at = row.updates if self._spec.unit == "updates" else row.frames
        if at != self._at:
            self._flush()
            self._at = at
        if isinstance(row, Metric):
            self._values.setdefault(row.name if "/" in row.name else f"training/{row.name}", []).append(row.value)
        elif row.kind == "evaluation" and row.member < SHOWN:
            self._values.setdefault(f"evaluation/{row.task}/member{row.member}", []).append(row.score)
        elif row.kind not in ("cut", "evaluation") and row.member < SHOWN:
            self._writer.add_scalar(f"score/{row.kind}/member{row.member}", row.score, at)

    def _flush(self) -> None:
        for curve, values in self._values.items():
            self._writer.add_scalar(curve, statistics.fmean(values), self._at)
        self._values = {}

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
        command += ["--samples_per_plugin", f"images={IMAGES}"]
        try:
            return subprocess.run(command, check=False).returncode
        except KeyboardInterrupt:
            return 0


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float | str) else str(value)
