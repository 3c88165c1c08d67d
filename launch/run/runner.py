"""Carry out one experiment: the agent's events go to the run's files, the views and the progress display."""

import ctypes
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict
from typing import Any, Protocol, cast

import torch

from envs.reinforcement.isolation import Containment, contain
from launch.execution import Execution
from launch.ray_cluster import connect
from launch.run.progress import Display
from launch.run.provenance import machine, made_by, refuse_other_data, refuse_to_resume
from launch.run.store import Store
from launch.run.writer import RunWriter
from launch.signals import LONGEST, Signals, Stopped
from plasticity_rl import registry
from plasticity_rl.experiment import Experiment
from plasticity_rl.processor import fast_bfloat16
from plasticity_rl.records.events import Dialogue, Event, Score, Snapshot, Tick
from plasticity_rl.records.folder import RunFolder, write_json
from plasticity_rl.records.spec import Spec

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(experiment: Experiment) -> Spec:
    """Make the content of spec.json. Raises UsageError if the parts do not fit together, or data cannot be loaded."""
    from plasticity_rl.interventions import assemble

    benchmark = experiment.benchmark
    assemble(experiment.network, experiment.optimizer, experiment.chain, benchmark.inputs, experiment.agent.heads(benchmark))
    return Spec(
        key=experiment.key,
        setting=experiment.setting,
        benchmark=registry.title(benchmark),
        label=experiment.label,
        fresh_control=experiment.fresh_control,
        unit=benchmark.unit,
        fingerprint=benchmark.fingerprint(experiment.seed, experiment.members),
        members=experiment.members,
        seed=experiment.seed,
        visits=[asdict(visit) for visit in benchmark.visits()],
        references=benchmark.references(),
        experiment=experiment.to_json(),
        tasks_alike=experiment.tasks_alike,
    )


class Progress(Protocol):
    """Progress listener: `progress.Display`, or a row in the table of a sweep on Ray."""

    def score(self, score: Score) -> None: ...
    def tick(self, tick: Tick) -> None: ...


Train = Callable[[Experiment, Execution, Snapshot | None], tuple[dict[str, Any], Iterator[Event]]]
"""Begins or resumes training: (experiment, how, resume) -> description of the machine, events"""


def train_here(experiment: Experiment, how: Execution, resume: Snapshot | None) -> tuple[dict[str, Any], Iterator[Event]]:
    """Train in this process; remote actors run on the Ray cluster at `how.address`, or on one started on this machine."""
    if experiment.actors:
        connect(how.address)
    prepare(experiment, how.device, deterministic=how.deterministic)
    contain(Containment(how.isolate, how.patience))
    return machine(how.device), experiment.agent.train(experiment, how.device, not how.eager, resume)


def run(
    experiment: Experiment,
    store: Store,
    how: Execution,
    train: Train = train_here,
    progress: Progress | None = None,
) -> tuple[RunFolder, str]:
    """Carry out an experiment, resuming from its last checkpoint; returns its folder and `done`, or `skipped` if it was done before.
    This process alone writes, wherever training happens. Without `progress`, it shows its own display.

    Raises UsageError (nothing was written), FolderTaken, Stopped, FloatingPointError (a non-finite loss), OSError (the disk), and whatever
    `train` raises.
    """
    spec = describe(experiment)
    folder = store.run(spec.key)
    if folder.is_done:
        refuse_other_data(folder, spec)
        return folder, "skipped"
    context = made_by(spec, not how.eager) | refuse_to_resume(folder, spec, how.other_code)
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.lock():
        writer = RunWriter(spec, store)
        where, events = train(experiment, how, writer.resume)
        write_json(folder.context, context | where)
        display = nullcontext(progress) if progress else Display(spec, compiled=bool(context["compiled"]))
        try:
            _write(events, writer, display, 0.0 if experiment.actors else LONGEST)
        except FloatingPointError as error:
            writer.fail(error)
            raise
        writer.finish()
    return folder, "done"


def _write(events: Iterator[Event], writer: RunWriter, shown: AbstractContextManager[Progress | Display], patience: float) -> None:
    """Hand every event to the writer and to the progress listener. Raises Stopped after a signal, once a snapshot is written, or if none is
    in `patience` seconds."""
    talk = Dialogue(events)
    with Signals() as signals, writer, closing(cast(Any, events)), shown as display:
        for event in talk:
            writer.take(event)
            if writer.note and isinstance(display, Display):
                display.say(writer.note)
                writer.note = ""
            if isinstance(event, Score):
                display.score(event)
            elif isinstance(event, Tick):
                display.tick(event)
            if signals.caught:
                saved = talk.answer and isinstance(event, Snapshot)
                if saved or signals.waited >= patience:
                    since = "from here" if saved else "from its last checkpoint"
                    raise Stopped(signals.caught, f"stopped; the same command resumes {writer.folder} {since}")
                talk.answer = True
        if signals.caught:  # its last event was its last
            raise Stopped(signals.caught, f"stopped; the same command ends {writer.folder}")


def prepare(
    experiment: Experiment, device: str = "cpu", threads: int = THREADS, members: int | None = None, deterministic: bool = False
) -> None:
    """Set this process's threads (at most `threads`) and arithmetic to the fastest for the experiment's updates, of the deterministic ones
    if asked for. `members` counts those of all runs that share an update. Warns if the experiment's precision is slow on the device."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts; without it matrix products are refused
    torch.use_deterministic_algorithms(deterministic)
    if experiment.network.precision == "bfloat16" and not (found := fast_bfloat16(device))[0]:
        warnings.warn(f"precision=bfloat16 is slower here than float32: {found[1]}", stacklevel=2)
    # oneDNN's bfloat16 weight gradients wait in spinning threads: a busy machine may need `taskset -c 0`, which leaves one thread.
    torch.set_num_threads(threads if experiment.network.shares_well(members or experiment.members, experiment.benchmark.inputs) else 1)
    torch.set_flush_denormal(True)  # a quarter of Adam's first moments become denormal, which is slow
    _keep_memory()


def _keep_memory() -> None:
    """Keep freed memory in the process for the next update, with the GNU C library; otherwise every update requests new pages."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: free bytes kept at the end of the heap
        mallopt(-3, 32 * 1024**2)  # M_MMAP_THRESHOLD: bytes from which a block is mapped by itself; the largest allowed value
