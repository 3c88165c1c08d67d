"""Measure how fast an experiment trains on this machine: some seconds of its training, in a process of its own.

The process is killed at its deadline, wherever it stands: PyTorch's compiler cannot be interrupted otherwise. Code that was compiled stays
in the compiler's cache, for the run itself.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, redirect_stderr
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from plasticity_rl import plugins
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.events import Tick

ROOM = 20_000  # steps of the replay: a full one might not fit into memory


class Now(NamedTuple):
    """A moment of training."""

    done: int
    """frames, or updates on streams, of each member"""
    wall: float
    """seconds of a clock"""
    processors: float
    """CPU seconds of the process"""
    compiled_anew: bool
    """True if a graph was compiled that was not in the compiler's cache"""


class Speed(NamedTuple):
    """How fast an experiment trains."""

    seconds: float
    """per frame, or update on streams, of each member"""
    processors: float
    """CPU seconds for the same"""
    steady: bool
    """False if only the first updates were seen, with all that comes before them: an upper bound"""
    setup: float
    """seconds before the first update had ended, most of them for compilation"""
    compiled_anew: bool
    """True if a graph was compiled that was not in the compiler's cache"""


def calibrate(group: Sequence[Experiment], device: str, compile: bool, limit: float, seconds: float = 1.0) -> Speed | None:
    """Train a group as one for `seconds` of CPU time in steady state, and at most `limit` seconds in all; None if no update ended by then.

    The replay is filled only as far as a first batch needs, actors run in the same process, and evaluations are left out.
    """
    return speed(_train_elsewhere(group, device, compile, limit), seconds)


def speed(moments: Iterable[Now], seconds: float) -> Speed | None:
    """The speed from the first update's end to `seconds` of CPU time later; None unless two moments differ in `done`."""
    start = warm = found = None
    for now in moments:
        if start is None:
            start = now
        elif warm is None and now.done > start.done:
            found, warm = _between(start, now, start, steady=False), now
        elif warm is not None and now.done > warm.done:
            found = _between(warm, now, start, steady=True)
            if now.processors - warm.processors >= seconds:
                break
    return found


def _between(first: Now, last: Now, start: Now, steady: bool) -> Speed:
    amount = last.done - first.done
    processors = (last.processors - first.processors) / amount
    alone = min((last.wall - first.wall) / amount, processors)  # wall time also counts other programs
    setup = (first if steady else last).wall - start.wall
    return Speed(alone, processors, steady, setup, last.compiled_anew)


def _train_elsewhere(group: Sequence[Experiment], device: str, compile: bool, limit: float) -> Generator[Now, None, None]:
    """Moments of training in a new process, until `limit` seconds from now."""
    ends = time.monotonic() + limit
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    described = [each.to_json() for each in group]
    process = spawn.Process(target=_train, args=(sender, described, device, compile, plugins.allowed()), daemon=True)
    process.start()
    sender.close()  # the process holds the only other end: its death ends the wait
    try:
        while receiver.poll(max(ends - time.monotonic(), 0)):
            try:
                received = receiver.recv()
            except EOFError:
                return
            if isinstance(received, Exception):
                raise received
            yield received
    finally:
        process.kill()
        process.join()


def _train(sender: Connection, described: list[dict[str, Any]], device: str, compile: bool, modules: Sequence[str]) -> None:
    """Train, and send each moment; or the error that ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    try:
        with open(os.devnull, "w") as nothing, redirect_stderr(nothing):  # warnings come again when the run itself starts
            plugins.allow(modules)
            for now in _play([Experiment.from_json(each) for each in described], device, compile):
                sender.send(now)
    except BrokenPipeError:
        return
    except Exception as error:
        sender.send(error)


def _play(group: Sequence[Experiment], device: str, compile: bool) -> Iterator[Now]:
    """A moment before training, one for each sign of progress from the first update on, and one after training."""
    from launch.run.runner import prepare

    first = group[0]
    yield _now(0)  # after the imports, which a sweep makes once
    prepare(first, device, members=sum(each.members for each in group))
    agent: Any = first.agent
    if agent.has_replay:
        smallest = max(agent.batch_size, agent.num_envs)
        agent = replace(agent, min_replay=min(agent.min_replay, smallest), replay=min(agent.replay, max(ROOM, 3 * smallest)))
    played = [replace(each, agent=agent, actors=0, free_running=False, evaluate=0, checkpoint_every=10**9) for each in group]
    if len(group) > 1:
        events: Any = (event for place, event in agent.train_group(played, device, compile, None) if place == 0)
    else:
        events = agent.train(played[0], device, compile, None)
    with closing(events):
        for event in events:
            if isinstance(event, Tick) and event.updates:
                yield _now(event.updates if first.benchmark.unit == "updates" else event.frames)
    yield _now(sum(visit.budget for visit in first.benchmark.visits()))


def _now(done: int) -> Now:
    if "torch._dynamo" not in sys.modules:
        return Now(done, time.monotonic(), time.process_time(), False)
    from torch._dynamo.utils import counters

    return Now(done, time.monotonic(), time.process_time(), counters["inductor"]["fxgraph_cache_miss"] > 0)
