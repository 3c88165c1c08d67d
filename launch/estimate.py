"""What a sweep will take, told before it is begun: hours by a short calibration, disk by the sizes of its tensors.

Calibration: of each kind of run - whose benchmark's class, agent, network, members and optimizer's class are alike - the first is played on
this machine for some seconds, from its first update on and uncompiled, since compilation takes longer than that. Its speed is taken for all
runs of the kind, each by itself: hours are an upper bound for runs that are trained as one, and no bound for chains that cost more than the
first one's. A replay is filled no further than a first batch needs, actors play here, and evaluations are left out. Disk: the checkpoints
that a run keeps, at their largest, as if they shared nothing; tables are small beside them.
"""

import math
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor

from agents.diagnostics import HELD, Diagnostics
from agents.replay import Replay
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.learner import Learner
from plasticity_rl.runs import Tick

KEPT = 3  # checkpoints of a run, as `checkpoint.save` keeps them
SECONDS = 2.0  # of play that are measured
PRIORITY = 4  # bytes, of a step: whether it can be replayed, and how often
ROOM = 20_000  # steps of a calibration's replay: the whole might not fit into this machine
LONGEST = 600.0  # seconds of waiting for the first update


class Cost(NamedTuple):
    """Of one run."""

    amount: int
    """emulator frames, or updates of a stream, of each member"""
    frames: int
    """emulator frames of all members; 0 on streams"""
    hours: float
    """on the machine that was measured"""
    processors: float
    """hours of processors that these take"""
    disk: int
    """bytes"""


def costs(experiments: Sequence[Experiment], device: str) -> list[Cost]:
    """Of each run."""
    speeds: dict[Any, tuple[float, float]] = {}
    found = []
    for each in experiments:
        kind = type(each.benchmark), each.agent, each.network, type(each.optimizer), each.members
        if kind not in speeds:
            speeds[kind] = calibrate(each, device)
        seconds, processors = speeds[kind]
        amount = sum(visit.budget for visit in each.benchmark.visits())
        frames = amount * each.members if each.benchmark.unit == "frames" else 0
        found.append(Cost(amount, frames, amount * seconds / 3600, amount * processors / 3600, KEPT * checkpoint_size(each)))
    return found


def calibrate(experiment: Experiment, device: str, seconds: float = SECONDS) -> tuple[float, float]:
    """Seconds, and seconds of processors, that a frame (or an update, on streams) of each member takes in steady state. Raises UsageError
    where no update comes in time."""
    from launch.runner import prepare

    prepare(experiment)
    agent = experiment.agent
    if hasattr(agent, "min_replay"):
        smallest = max(agent.batch, agent.environments)
        agent = replace(agent, min_replay=min(agent.min_replay, smallest), replay=min(agent.replay, max(ROOM, 3 * smallest)))
    played = replace(experiment, agent=agent, actors=0, free_running=False, evaluate=0, checkpoint_every=10**9)
    start, rate, warm = (time.monotonic(), time.process_time(), 0), None, False
    until = start[0] + LONGEST
    events: Any = played.agent.train(played, device, False, None)
    with closing(events):
        for event in events:
            if time.monotonic() > until:
                break
            if not isinstance(event, Tick) or not event.updates:
                continue
            now = time.monotonic(), time.process_time(), event.updates if experiment.benchmark.unit == "updates" else event.frames
            if now[2] > start[2]:
                rate = (now[0] - start[0]) / (now[2] - start[2]), (now[1] - start[1]) / (now[2] - start[2])
            if warm and now[0] - start[0] >= seconds:
                break
            if not warm:  # what comes before has the making of everything in it, and counts only where nothing else comes
                start, warm = now, True
    if rate is None:
        raise UsageError(f"{type(experiment.benchmark).__name__}: there was no update within {LONGEST:g} s by which hours could be told")
    return rate


def checkpoint_size(experiment: Experiment) -> int:
    """Bytes of a checkpoint of a run whose replay is as full as it will be."""
    games, agent = experiment.benchmark, experiment.agent
    network, optimizer = assemble(experiment.network, experiment.optimizer, experiment.chain, games.inputs, agent.ends(games))
    learner = Learner(network, agent.loss, optimizer, experiment.chain, experiment.members, experiment.seed, "cpu", False)
    example = math.prod(games.inputs) * (1 if getattr(games, "dtype", "") == "uint8" else 4)
    size = _bytes([*learner.tensors().values(), *Diagnostics(learner, experiment).tensors().values()])
    size += experiment.members * example * (HELD + getattr(agent, "batch", HELD))  # the batches that both keep
    if hasattr(agent, "replay"):
        shape = experiment.members, agent.environments
        row = Replay(*shape, 0, games.frame, games.dtype, games.stack, False, "cpu")  # the smallest there is
        row.written = 1
        longest = max if agent.replay_at_switch == "clear" else sum
        steps = longest(visit.budget // games.frame_skip for visit in games.visits())
        size += _bytes(tensor for name, tensor in row.tensors().items() if name != "replay/real") * (min(steps, agent.replay) // shape[1])
        size += PRIORITY * shape[0] * agent.replay * (1 + (agent.priority > 0))  # of all rows, filled or not
        size += _bytes(learner.net.params.values())  # the target network
    return size


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
