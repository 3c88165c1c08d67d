"""Estimate of a sweep before it starts: hours from a short calibration, disk space from the sizes of its tensors.

Calibration: runs, or groups of runs trained as one, are of one kind if benchmark class, agent, network, members and optimizer class agree;
chains are ignored. The first of each kind trains uncompiled on this machine for some seconds of CPU time from its first update on, so that
other programs do not count. Compiling would take longer; its time and its speedup are taken from the README's measurements. The replay is
filled only as far as a first batch needs, actors run in this process, and evaluations are left out. Disk: the checkpoints that a run
keeps, at their largest, as if they shared no data; tables are small in comparison.
"""

import math
import signal
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor

from agents.data.replay import Replay
from agents.diagnostics.rows import HELD, Diagnostics
from agents.loops.grouping import cell
from plasticity_rl.experiment import Experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.records.events import Tick
from plasticity_rl.training.compilation import can_compile
from plasticity_rl.training.learner import Learner

KEPT = 3  # checkpoints per run kept by `checkpoint.save`
SECONDS = 1.0  # CPU seconds of training to measure
LIMIT = 20.0  # seconds for all kinds together
PRIORITY = 4  # bytes per step: whether it can be replayed, and its priority
ROOM = 20_000  # steps of the calibration's replay: a full one might not fit into memory
FASTER_STREAM, FASTER_CONVOLUTION, FASTER = (
    (4.0, 14.0),
    (1.0, 2.0),
    (1.0, 14.0),
)  # speedup of compiled updates: minimum, maximum
COMPILING = 5.0, 20.0  # seconds per run, or group of runs trained as one: minimum, maximum


class Cost(NamedTuple):
    """Cost of one run."""

    amount: int
    """emulator frames, or updates on streams, per member"""
    frames: int
    """emulator frames of all members; 0 on streams"""
    disk: int
    """size of its checkpoints in bytes"""


class Span(NamedTuple):
    """Range of an estimated number."""

    low: float
    high: float

    def __add__(self, other: "Span") -> "Span":  # type: ignore[override]
        return Span(self.low + other.low, self.high + other.high)

    def __mul__(self, times: float) -> "Span":  # type: ignore[override]
        return Span(self.low * times, self.high * times) if times else Span(0.0, 0.0)  # also for UNKNOWN


UNKNOWN = Span(0.0, math.inf)


def costs(experiments: Sequence[Experiment]) -> list[Cost]:
    """Compute the cost of each run."""
    amounts = [sum(visit.budget for visit in each.benchmark.visits()) for each in experiments]
    frames = [each.members if each.benchmark.unit == "frames" else 0 for each in experiments]
    return [
        Cost(amount, amount * members, KEPT * checkpoint_size(each))
        for amount, members, each in zip(amounts, frames, experiments, strict=True)
    ]


def hours(groups: Sequence[Sequence[Experiment]], device: str, compile: bool, limit: float = LIMIT) -> tuple[Span, Span]:
    """Estimate hours and CPU hours of the groups in sequence, each trained as one; measures for at most `limit` seconds."""
    kinds = {_kind(group): group for group in reversed(groups)}
    ends, speeds = time.monotonic() + limit, {}
    for left, (kind, group) in zip(range(len(kinds), 0, -1), kinds.items(), strict=True):
        speeds[kind] = calibrate(group, device, (ends - time.monotonic()) / left)
    compile = compile and (device != "cpu" or can_compile())
    together = processors = Span(0.0, 0.0)
    for group in groups:
        amount = sum(visit.budget for visit in group[0].benchmark.visits())
        least, most = _faster(group[0], device) if compile else (1.0, 1.0)
        once = Span(*COMPILING) if compile else Span(0.0, 0.0)
        seconds, taken = (once + Span(span.low * amount / most, span.high * amount / least) for span in speeds[_kind(group)])
        together, processors = together + seconds * (1 / 3600), processors + taken * (1 / 3600)
    return together, processors


def _kind(group: Sequence[Experiment]) -> Any:
    first = group[0]
    return type(first.benchmark), first.agent, first.network, type(first.optimizer), sum(each.members for each in group)


def _faster(experiment: Experiment, device: str) -> tuple[float, float]:
    """Return the minimum and maximum speedup of compiled updates."""
    if device == "cpu" and cell(experiment)[0].spec.convolves:
        return FASTER_CONVOLUTION
    return FASTER_STREAM if device == "cpu" and experiment.benchmark.unit == "updates" else FASTER


def calibrate(group: Sequence[Experiment], device: str, limit: float, seconds: float = SECONDS) -> tuple[Span, Span]:
    """Measure seconds and CPU seconds per uncompiled frame (or update, on streams) of each member in steady state.

    It takes at most `limit` seconds. The span starts at 0 if there was time for the first updates only, which include setup; it is UNKNOWN
    if there was not even that.
    """
    start, found, warm = _now(0), (UNKNOWN, UNKNOWN), False
    with suppress(TimeoutError), alarm(limit), closing(_play(group, device)) as counts:
        for count in counts:
            now = _now(count)
            if count == start[2]:
                continue
            processors = (now[1] - start[1]) / (count - start[2])
            alone = min((now[0] - start[0]) / (count - start[2]), processors)  # wall time also counts other programs
            found = (Span(alone, alone), Span(processors, processors)) if warm else (Span(0.0, alone), Span(0.0, processors))
            if warm and now[1] - start[1] >= seconds:
                break
            if not warm:
                start, warm = now, True
    return found


def _now(count: int) -> tuple[float, float, int]:
    return time.monotonic(), time.process_time(), count


def _play(group: Sequence[Experiment], device: str) -> Generator[int, None, None]:
    """Yield the number of frames or updates per member, from the first update on."""
    from launch.run.runner import prepare

    first = group[0]
    prepare(first, device, members=sum(each.members for each in group))
    agent = first.agent
    if agent.has_replay:
        smallest = max(agent.batch_size, agent.num_envs)
        agent = replace(agent, min_replay=min(agent.min_replay, smallest), replay=min(agent.replay, max(ROOM, 3 * smallest)))
    short = dict(agent=agent, actors=0, free_running=False, evaluate=0, checkpoint_every=10**9)
    played = [replace(each, **short) for each in group]
    if len(group) > 1:
        events: Any = (event for place, event in agent.train_group(played, device, False, None) if place == 0)
    else:
        events = agent.train(played[0], device, False, None)
    with closing(events):
        for event in events:
            if isinstance(event, Tick) and event.updates:
                yield event.updates if first.benchmark.unit == "updates" else event.frames


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the main thread after `seconds`."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def checkpoint_size(experiment: Experiment) -> int:
    """Return the bytes of a run's checkpoint at the largest size of its replay."""
    games, agent = experiment.benchmark, experiment.agent
    network, optimizer = assemble(experiment.network, experiment.optimizer, experiment.chain, games.inputs, agent.heads(games))
    learner = Learner(network, agent.loss, optimizer, experiment.chain, experiment.members, experiment.seed, "cpu", False)
    pixels = games.supervision == "rewards" and games.observation_space.dtype == "uint8"
    example = math.prod(games.inputs) * (1 if pixels else 4)
    size = _bytes([*learner.tensors().values(), *Diagnostics(learner, experiment).tensors().values()])
    size += experiment.members * example * (HELD + agent.batch_size)  # the batches that learner and diagnostics keep
    if agent.has_replay:
        shape = experiment.members, agent.num_envs
        space = games.observation_space
        row = Replay(*shape, 0, space.shape, space.dtype, games.stack, False, "cpu")  # the smallest possible replay
        row.written = 1
        longest = max if agent.replay_at_switch == "clear" else sum
        steps = longest(visit.budget // games.frame_skip for visit in games.visits())
        size += _bytes(tensor for name, tensor in row.tensors().items() if name != "replay/real") * (min(steps, agent.replay) // shape[1])
        size += PRIORITY * shape[0] * agent.replay * (1 + (agent.prioritised))  # of all rows, filled or not
        size += _bytes(learner.net.params.values())  # the target network
    return size


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
