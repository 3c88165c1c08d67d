"""Sweep on a Ray cluster: each run is a task that streams its events to this process, which alone writes the run folders.

No shared file system is needed. A run whose worker or node dies is resumed from its last checkpoint, as is an unfinished run found by the
same command. Ray's own retries are off: they would repeat the first part of a task.
"""

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from rich.console import Console
from rich.live import Live
from rich.table import Table

from envs.reinforcement.isolation import Containment, contain
from launch.execution import Execution
from launch.ray_cluster import connect
from launch.run import resources, runner
from launch.run.progress import Pace
from launch.run.provenance import machine
from launch.run.store import Store
from launch.run.sweep import Said, build, refuse_first
from launch.signals import Signals, Stopped
from plasticity_rl import plugins
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.events import Event, Snapshot
from plasticity_rl.records.spec import Spec

PARCEL = 1.0  # seconds of events sent together
WAITING = 4  # parcels that may wait for this process before the task is paused
THREADS = 256  # runs handled at a time


class Stopping(Exception):
    """The sweep is being stopped."""


def _train(described: dict[str, Any], allowed: tuple[str, ...], how: Execution, resume: Snapshot | None) -> Iterator[Any]:
    """Train on a worker; yield the description of its machine, then lists of events."""
    plugins.allow(allowed)
    experiment = Experiment.from_json(described)
    device = how.device_on_ray
    runner.prepare(experiment, device, max(int(how.cpus), 1), deterministic=how.deterministic)
    contain(Containment(how.isolate, how.patience))
    yield machine(device) | {"node": ray.util.get_node_ip_address()}
    parcel: list[Event] = []
    sent = time.monotonic()
    for event in experiment.agent.train(experiment, device, not how.eager, resume):
        parcel.append(event)
        if isinstance(event, Snapshot) or time.monotonic() - sent > PARCEL:  # training will change a snapshot's tensors
            yield [_at_home(each) for each in parcel]
            parcel, sent = [], time.monotonic()
    if parcel:
        yield parcel


def _at_home(event: Event) -> Event:
    return event._replace(tensors={name: tensor.cpu() for name, tensor in event.tensors.items()}) if isinstance(event, Snapshot) else event


class Row(Pace):
    """A run in the table of all runs: a progress listener."""

    def __init__(self, spec: Spec, console: Console) -> None:
        super().__init__(spec)
        self.state, self.failures = "waits", 0
        self.ended = False
        """set to stop the run early and keep its folder as it is"""
        self._console = console

    def say(self, state: str) -> None:
        self.state = state
        if not self._console.is_terminal:
            self._console.print(f"{self.spec.label} on {self.spec.benchmark}, seed {self.spec.seed}: {state}", soft_wrap=True)


class _Remote:
    """Training function for `runner.run` that trains on a worker."""

    def __init__(self, row: Row, stopping: threading.Event) -> None:
        self._row, self._stopping = row, stopping

    def __call__(self, experiment: Experiment, how: Execution, resume: Snapshot | None) -> tuple[dict[str, Any], Iterator[Event]]:
        task: Any = ray.remote(_train)
        options = dict(num_cpus=how.cpus, num_gpus=how.gpus, max_retries=0, _generator_backpressure_num_objects=WAITING)
        stream = task.options(**options).remote(experiment.to_json(), plugins.allowed(), how, resume)
        parcels = self._parcels(stream)
        where = next(parcels)
        self._row.say(f"runs on {where['node']}")
        return where, self._events(parcels)

    def _events(self, parcels: Generator[Any, None, None]) -> Iterator[Event]:
        with closing(parcels):
            for parcel in parcels:
                for event in parcel:
                    if self._row.ended:
                        raise Stopping
                    yield event

    def _parcels(self, stream: Any) -> Generator[Any, None, None]:
        """Yield the task's parcels; ends the task if the sweep is stopped or the generator closed."""
        try:
            while True:
                ready = None
                while ready is None:
                    if self._stopping.is_set():
                        raise Stopping
                    found, _ = ray.wait([stream], timeout=0.5, fetch_local=False)
                    ready = found or None
                try:
                    reference = next(stream)
                except StopIteration:
                    return
                yield ray.get(reference)
        finally:
            if ray.is_initialized():  # otherwise Ray would join another cluster to end the task
                ray.cancel(stream, force=True)


def run_described(said: Sequence[Said], store: Store, how: Execution) -> int:
    """Carry out the experiments of a sweep file; returns the exit code of `run_sweep`. Call `prepare_ray` before importing this module.
    Raises UsageError also for runs with remote actors."""
    experiments = refuse_first(build(said, how.device_on_ray), store, how.other_code)
    if any(each.actors for each in experiments):
        raise UsageError("runs with actors of their own cannot be swept on Ray; use --on here")
    return run_sweep(experiments, store, how)


def run_sweep(
    experiments: Sequence[Experiment],
    store: Store,
    how: Execution,
    make_row: Callable[[Spec, Console], Row] = Row,
) -> int:
    """Carry out a sweep; returns exit code 0, or that of the last failure. Raises UsageError if there is no cluster at `how.address` or
    none of its nodes could ever hold a run, and Stopped."""
    connect(how.address)
    _refuse_too_much(experiments, how.cpus, how.gpus)
    resources.check_disk(experiments, store)
    console = Console(highlight=False)
    rows = {each.key: make_row(runner.describe(each), console) for each in experiments}
    stopping = threading.Event()

    def carry_out(experiment: Experiment) -> int:
        row = rows[experiment.key]
        while True:
            try:
                _, outcome = runner.run(experiment, store, how, _Remote(row, stopping), row)
            except Stopping:
                row.say("stopped early" if row.ended else "stopped")
                return 0 if row.ended else 130
            except (FloatingPointError, UsageError) as error:
                row.say(f"failed: {_last_line(error)}")
                return 6 if isinstance(error, FloatingPointError) else 2
            except RayTaskError as error:  # the run's own error: a restart would repeat it
                row.say(f"failed: {_last_line(error)}")
                return 4
            except RayError as error:
                row.failures += 1
                if row.failures > how.retries:
                    row.say(f"failed {row.failures} times: {_last_line(error)}")
                    return 4
                row.say(f"lost its worker ({type(error).__name__}); begun again from its last checkpoint")
                continue
            row.done = 1.0
            row.say(outcome)
            return 0

    with (
        Signals() as signals,
        ThreadPoolExecutor(min(len(experiments), THREADS)) as pool,
        Live(console=console, get_renderable=lambda: table(list(rows.values())), refresh_per_second=2, transient=True)
        if console.is_terminal
        else open(os.devnull),
    ):
        try:
            waiting = [pool.submit(carry_out, each) for each in experiments]
            while any(not each.done() for each in waiting):
                time.sleep(0.2)
                if signals.caught:
                    stopping.set()
        finally:  # after a second signal, which raises, the pool waits for its threads
            stopping.set()
        codes = [each.result() for each in waiting]
    console.print(table(list(rows.values())))
    if signals.caught:
        raise Stopped(signals.caught, "stopped; the same command goes on with what is unfinished")
    return next((code for code in reversed(codes) if code), 0)


def table(rows: Sequence[Row]) -> Table:
    """Make the table of all runs: state, progress, last score in training, speed, failures."""
    shown = Table(box=None, padding=(0, 1), pad_edge=False)
    for heading in ("chain", "benchmark", "seed", "state"):
        shown.add_column(heading, no_wrap=heading != "state")
    for heading in ("done", "last score", "per second", "failures"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        speed = f"{row.speed:,.0f} {row.unit}" if row.speed else ""
        shown.add_row(
            row.spec.label,
            row.spec.benchmark,
            str(row.spec.seed),
            row.state,
            f"{row.done:.0%}",
            row.mean,
            speed,
            str(row.failures or ""),
        )
    return shown


def _refuse_too_much(experiments: Sequence[Experiment], cpus: float, gpus: float) -> None:
    most = {kind: max((node["Resources"].get(kind, 0.0) for node in ray.nodes() if node["Alive"]), default=0.0) for kind in ("CPU", "GPU")}
    for kind, wanted in (("CPU", cpus), ("GPU", gpus)):
        if wanted > most[kind]:
            raise UsageError(f"a run would take {wanted:g} {kind}s, and no node of the cluster has more than {most[kind]:g}")
    if not gpus:  # GPU memory is unknown here
        kinds = "memory", "object_store_memory"  # their sum is the free memory when a node joined
        room = max(sum(node["Resources"].get(kind, 0.0) for kind in kinds) for node in ray.nodes() if node["Alive"])
        for each in experiments:
            resources.refuse_memory([each], [resources.need(each)], int(room), "no node of the cluster has more than")


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
