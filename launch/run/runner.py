"""Carry out one experiment: the record of truth, the board, the display and the checkpoints, all fed by the agent's stream of events."""

import ctypes
import hashlib
import json
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict
from importlib import metadata
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, cast

import torch
from filelock import FileLock, Timeout

from analysis.format import count
from launch.execution import Execution
from launch.ray_cluster import connect
from launch.run.progress import Display
from launch.run.store import Destination
from launch.signals import Signals, Stopped
from launch.tracking.tensorboard import Board
from launch.tracking.weights_and_biases import WeightsAndBiases
from plasticity_rl import plugins, registry
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.processor import fast_bfloat16
from plasticity_rl.records import checkpoint
from plasticity_rl.records.checkpoint import Event, Snapshot
from plasticity_rl.records.folder import (
    Metric,
    Picture,
    Score,
    Spec,
    Table,
    Tick,
    is_done,
    read_spec,
    refuse_number,
    sync_folder,
    truncate,
    write_json,
)

CHECKOUT = Path(__file__).resolve().parents[2]
CODE = ("plasticity_rl", "envs", "agents")  # what a run's numbers depend on
PACKAGES = ("torch", "numpy", "envpool", "ale-py", "gymnasium", "rliable", "tensorboard", "ray")
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
TABLES: dict[str, type[Score] | type[Metric]] = {"scores.csv": Score, "metrics.csv": Metric}


class FolderTaken(Exception):
    """Another process is writing this run."""


def describe(experiment: Experiment) -> Spec:
    """What spec.json says. Raises UsageError where the parts do not fit together, or data cannot be had."""
    from plasticity_rl.interventions import assemble

    benchmark = experiment.benchmark
    assemble(experiment.network, experiment.optimizer, experiment.chain, benchmark.inputs, experiment.agent.ends(benchmark))
    return Spec(
        key=experiment.key,
        setting=experiment.setting,
        benchmark=registry.name(benchmark),
        label=experiment.label,
        fresh_control=experiment.fresh_control,
        unit=benchmark.unit,
        fingerprint=benchmark.fingerprint(experiment.seed, experiment.members),
        members=experiment.members,
        seed=experiment.seed,
        visits=[asdict(visit) for visit in benchmark.visits()],
        references=benchmark.references(),
        experiment=experiment.to_json(),
    )


class View(Protocol):
    """Who looks on at a run: `progress.Display`, or a row of the table of a sweep on Ray."""

    def score(self, score: Score) -> None: ...
    def tick(self, tick: Tick) -> None: ...


Train = Callable[[Experiment, Execution, Snapshot | None], tuple[dict[str, Any], Iterator[Event]]]
"""Begins or resumes a run somewhere: (experiment, how, resume) -> what it runs on, and its events"""


def train_here(experiment: Experiment, how: Execution, resume: Snapshot | None) -> tuple[dict[str, Any], Iterator[Event]]:
    """Train in this process; remote actors live on the Ray cluster at `how.address`, or on one that is started on this machine."""
    if experiment.actors:
        connect(how.address)
    prepare(experiment, how.device)
    return machine(how.device), experiment.agent.train(experiment, how.device, not how.eager, resume)


def run(
    experiment: Experiment,
    to: Destination,
    how: Execution,
    train: Train = train_here,
    view: View | None = None,
) -> tuple[Path, str]:
    """Carry out an experiment; returns its folder, and `done`, or `skipped` where it was done before. An interrupted run goes on from its
    last checkpoint. Whoever trains, this process alone writes; without a `view`, it shows the progress itself.

    Raises UsageError (nothing was written), FolderTaken, Stopped, FloatingPointError (a loss that is no number), OSError (the disk), and
    what `train` raises.
    """
    spec = describe(experiment)
    folder = to.folder(spec.key)
    if is_done(folder):
        return folder, "skipped"
    context = made_by(spec, not how.eager) | refuse_to_resume(folder, spec, how.other_code)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            _carry_out(experiment, spec, context, Recorder(spec, to), how, train, view)
    except Timeout as error:
        raise FolderTaken(f"{folder} is being written by another process") from error
    return folder, "done"


def prepare(experiment: Experiment, device: str = "cpu", threads: int = THREADS, members: int | None = None) -> None:
    """Give this process the threads, so many at most, and the arithmetic that the experiment's updates are fastest with; `members` are
    those of all runs that share an update with it. Warns where its precision is slow on the device."""
    if experiment.network.precision == "bfloat16" and not (found := fast_bfloat16(device))[0]:
        warnings.warn(f"precision=bfloat16 is slower here than float32: {found[1]}", stacklevel=2)
    torch.set_num_threads(threads if experiment.network.shares_well(members or experiment.members) else 1)
    torch.set_flush_denormal(True)  # a quarter of Adam's first moments become denormal, and slow
    _keep_memory()


def _keep_memory() -> None:
    """What an update frees stays with the process for the next one, where the C library is GNU's; else each asks for its pages anew."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: free bytes at the end of the heap that are kept
        mallopt(-3, 32 * 1024**2)  # M_MMAP_THRESHOLD: bytes from which a block comes from the system each time; the most that it takes


def machine(device: str) -> dict[str, Any]:
    """What context.json says of the machine that learns."""
    return {
        "machine": f"{platform.machine()}, {count(os.cpu_count() or 1, 'processor')}, {count(torch.get_num_threads(), 'thread')}",
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
    }


class Recorder:
    """The folder of one run while it is written: rows, TensorBoard's view, checkpoints. Whoever writes it holds its lock."""

    def __init__(self, spec: Spec, to: Destination) -> None:
        """Everything as it was at the last checkpoint, which is `resume`. Raises UsageError where there are only broken ones."""
        self.folder = folder = to.folder(spec.key)
        self._spec, self._to = spec, to
        if not (folder / "spec.json").exists():
            write_json(folder / "spec.json", spec._asdict())
        self.resume, problems = checkpoint.load_latest(folder / "checkpoints")
        if problems and self.resume is None:
            raise UsageError(f"{folder} cannot be resumed: {'; '.join(problems)}; remove its checkpoints to start it again")
        for problem in problems:
            print(f"{problem}; the one before it is used", file=sys.stderr)
        (folder / "FAILED").unlink(missing_ok=True)
        for table in TABLES:
            if self.resume:
                truncate(folder / table, self.resume.facts["lengths"][table])
            else:
                (folder / table).unlink(missing_ok=True)
        self._open = ExitStack()
        self._step: list[Score | Metric] = []
        """rows of the latest step, which are written together: of all members or of none"""

    def __enter__(self) -> "Recorder":
        self._tables = {kind: self._open.enter_context(closing(Table(self.folder / table, kind))) for table, kind in TABLES.items()}
        self._boards: list[Board | WeightsAndBiases] = [self._open.enter_context(Board(self.folder, self._spec))]
        if self._to.wandb:
            self._boards.append(self._open.enter_context(WeightsAndBiases(self.folder, self._spec, self._to.wandb)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None or isinstance(error, FloatingPointError):  # else the run was stopped in the midst of a step
                self._write()
        finally:
            self._open.__exit__(kind, error, trace)

    def take(self, event: Event) -> None:
        """Write down what a run reports. Raises FloatingPointError for a number that is none."""
        if isinstance(event, Score | Metric):
            if self._step and self._step[-1].steps != event.steps:
                self._write()
            self._step.append(event)
            try:
                refuse_number(event)
            except FloatingPointError:
                self._step = []
                raise
        elif isinstance(event, Picture):
            self._write()
            for board in self._boards:
                board.show(event)
        elif isinstance(event, Snapshot):
            self._write()
            lengths = {table: self._tables[kind].sync() for table, kind in TABLES.items()}
            saved = event._replace(facts=event.facts | {"lengths": lengths})
            checkpoint.save(self.folder / "checkpoints", event.facts["number"], saved)
            self._copy()

    def _write(self) -> None:
        """The rows of the latest step, which is over."""
        rows, self._step = self._step, []
        if not rows:
            return
        for kind, table in self._tables.items():
            table.append(*(row for row in rows if isinstance(row, kind)))
        for board, row in product(self._boards, rows):
            board.add(row)

    def fail(self, error: FloatingPointError) -> None:
        """The run cannot go on: say why, for those who look at its folder. Nothing more is taken."""
        self.__exit__(type(error), error, None)
        (self.folder / "FAILED").write_text(f"{error}\n", encoding="utf-8")

    def finish(self) -> None:
        """The run has reached its end."""
        self._write()
        self._open.close()
        (self.folder / "DONE").touch()
        sync_folder(self.folder)
        self._copy()

    def _copy(self) -> None:
        """To the second place; a run does not end because that cannot be reached for a while."""
        try:
            if self._to.mirror:
                self._to.mirror.store(self.folder)
        except OSError as error:
            print(f"{self.folder} was not copied; its next checkpoint, or the same command, tries again: {error}", file=sys.stderr)


def _carry_out(
    experiment: Experiment,
    spec: Spec,
    context: dict[str, Any],
    recorder: Recorder,
    how: Execution,
    train: Train,
    view: View | None,
) -> None:
    where, events = train(experiment, how, recorder.resume)
    write_json(recorder.folder / "context.json", context | where)
    try:
        with Signals() as signals, recorder, closing(cast(Any, events)), nullcontext(view) if view else Display(spec) as display:
            for event in events:
                recorder.take(event)
                if isinstance(event, Score):
                    display.score(event)
                elif isinstance(event, Tick):
                    display.tick(event)
                if signals.caught:
                    raise Stopped(signals.caught, f"stopped; the same command resumes {recorder.folder} from its last checkpoint")
    except FloatingPointError as error:
        recorder.fail(error)
        raise
    recorder.finish()


def made_by(spec: Spec, compile: bool) -> dict[str, Any]:
    """What code the run is made by."""
    git = [_git(*words) for words in (("rev-parse", "HEAD"), ("status", "--porcelain"))]
    return {"code": code_hash(spec), "commit": git[0], "dirty": bool(git[1]), "compiled": compile}


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(CHECKOUT), *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def refuse_to_resume(folder: Path, spec: Spec, other_code: bool) -> dict[str, list[str]]:
    """Raise UsageError where a run that was begun cannot be gone on with: by other data, or, unless told, by other code.

    Returns what context.json must remember: the hashes of other code that had a part in it.
    """
    if not checkpoint.checkpoints(folder / "checkpoints"):
        return {}
    if read_spec(folder) != Spec(**json.loads(json.dumps(spec._asdict()))):
        raise UsageError(f"{folder} was begun with other data than the same words mean now; another --name starts anew")
    try:
        before = json.loads((folder / "context.json").read_text(encoding="utf-8"))
        codes = [*before.get("earlier_code", []), before["code"]]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UsageError(f"{folder / 'context.json'} cannot be read: what began this run is not known") from error
    if codes[-1] == code_hash(spec):
        return {"earlier_code": codes[:-1]} if codes[:-1] else {}
    if not other_code:
        raise UsageError(f"{folder} was begun by other code; --other-code goes on with it all the same, another --name starts anew")
    return {"earlier_code": codes}


def code_hash(spec: Spec) -> str:
    """16 hexadecimal digits: the hash of all code that a run's numbers depend on, its plugins' too."""
    files = {path.relative_to(CHECKOUT).as_posix(): path for package in CODE for path in (CHECKOUT / package).rglob("*.py")}
    for path, _ in spec.experiment["chain"]:
        if path.startswith(plugins.MARK):
            files |= plugins.sources(path.removeprefix(plugins.MARK))
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
