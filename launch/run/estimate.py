"""Estimate of a sweep before it starts: hours from a short calibration, disk space from the sizes of its tensors.

Calibration: runs, or groups of runs trained as one, are of one kind if benchmark class, agent, network, members and optimizer class agree;
chains are ignored. The first of each kind trains on this machine for a moment, compiled if there is time for it. Disk: the checkpoints that
a run keeps, at their largest, as if they shared no data; tables are small in comparison.
"""

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

from torch import Tensor

from agents.base import told
from agents.data.replay import Replay
from agents.diagnostics.rows import HELD, Diagnostics
from agents.loops.grouping import cell
from launch.run.calibration import calibrate
from plasticity_rl.experiment import Experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.training.compilation import can_compile
from plasticity_rl.training.learner import Learner

KEPT = 3  # checkpoints per run kept by `checkpoint.save`
LIMIT = 25.0  # seconds for all kinds together
UNCOMPILED = 6.0  # seconds kept for each kind that is measured uncompiled, half of them to start a process
PRIORITY = 4  # bytes per step: whether it can be replayed, and its priority
# Speedup of compiled updates, minimum and maximum, where it was not measured: of MLPs on streams, of convolutions, of MLPs in environments.
FASTER_STREAM, FASTER_CONVOLUTION, FASTER = (4.0, 14.0), (1.0, 2.0), (1.0, 14.0)
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
    kinds: dict[Any, list[Sequence[Experiment]]] = {}
    for group in groups:
        kinds.setdefault(_kind(group), []).append(group)
    compile = compile and (device != "cpu" or can_compile())
    ends, together, processors = time.monotonic() + limit, Span(0.0, 0.0), Span(0.0, 0.0)
    # Measure the longest kind first, when most of the time is left.
    longest = sorted(kinds.values(), key=lambda alike: sum(map(_amount, alike)), reverse=True)
    for left, alike in zip(range(len(longest), 0, -1), longest, strict=True):
        setup, each, each_processors = _measure(alike[0], device, compile, ends - time.monotonic(), left)
        amount, count = sum(map(_amount, alike)), len(alike)
        together += (each * amount + setup * count) * (1 / 3600)
        processors += (each_processors * amount + setup * count) * (1 / 3600)
    return together, processors


def _kind(group: Sequence[Experiment]) -> Any:
    first = group[0]
    return type(first.benchmark), first.agent, first.network, type(first.optimizer), sum(each.members for each in group)


def _amount(group: Sequence[Experiment]) -> int:
    return sum(visit.budget for visit in group[0].benchmark.visits())


def _measure(group: Sequence[Experiment], device: str, compile: bool, limit: float, left: int) -> tuple[Span, Span, Span]:
    """Seconds of setup, and seconds and CPU seconds per frame (or update, on streams) of each member.

    `limit` seconds remain for `left` kinds, this one among them. Compiled updates are measured if that leaves UNCOMPILED seconds for each
    kind; otherwise, or if compilation takes longer, uncompiled ones, whose speedup by compilation is a range.
    """
    if compile and (most := limit - UNCOMPILED * left) > 0:
        began = time.monotonic()
        if (found := calibrate(group, device, True, most)) and found.steady:
            # Every chain is a graph of its own: whether it is in the compiler's cache is only known of the one that was measured.
            setup = Span(0.7 * found.setup, 1.4 * found.setup)
            if not found.compiled_anew:
                setup = Span(found.setup, max(found.setup, COMPILING[1]))
            return setup, Span(found.seconds, found.seconds), Span(found.processors, found.processors)
        limit -= time.monotonic() - began
    found = calibrate(group, device, False, limit / left)
    least, most = _faster(group[0], device) if compile else (1.0, 1.0)
    setup = Span(*COMPILING) if compile else Span(0.0, 0.0)
    if not found:
        return setup, UNKNOWN, UNKNOWN
    seconds, processors = (Span(value / most if found.steady else 0.0, value / least) for value in (found.seconds, found.processors))
    return setup, seconds, processors


def _faster(experiment: Experiment, device: str) -> tuple[float, float]:
    """Minimum and maximum speedup of compiled updates."""
    if device == "cpu" and cell(experiment)[0].convolves:
        return FASTER_CONVOLUTION
    return FASTER_STREAM if device == "cpu" and experiment.benchmark.unit == "updates" else FASTER


def checkpoint_size(experiment: Experiment) -> int:
    """Return the bytes of a run's checkpoint at the largest size of its replay."""
    games, agent = cast(Any, experiment.benchmark), cast(Any, experiment.agent)  # fields of each kind are read below
    network, optimizer = assemble(experiment.network, experiment.optimizer, experiment.chain, games.inputs, agent.heads(games))
    learner = Learner(network, agent.loss, optimizer, experiment.chain, experiment.members, experiment.seed, "cpu", False)
    pixels = games.supervision == "rewards" and games.observation_space.dtype == "uint8"
    example = math.prod(network.inputs) * (1 if pixels else 4)
    size = _bytes([*learner.tensors().values(), *Diagnostics(learner, experiment).tensors().values()])
    size += experiment.members * example * (HELD + agent.batch_size)  # the batches that learner and diagnostics keep
    if agent.has_replay:
        shape = experiment.members, agent.num_envs
        space = games.observation_space
        action = games.action_space.shape
        row = Replay(*shape, 0, space.shape, space.dtype, games.stack, False, "cpu", action=action)  # the smallest possible replay
        row.written = 1
        longest = max if agent.replay_at_switch == "clear" and told(experiment) else sum
        steps = longest(visit.budget // games.frame_skip for visit in games.visits())
        size += _bytes(tensor for name, tensor in row.tensors().items() if name != "replay/real") * (min(steps, agent.replay) // shape[1])
        size += PRIORITY * shape[0] * agent.replay * (1 + (agent.prioritised))  # of all rows, filled or not
        size += _bytes(learner.net.params.values())  # the target network
    return size


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
