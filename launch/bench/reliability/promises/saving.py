"""Promise: no crash loses a checkpoint that was acknowledged."""

import errno
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import torch

from launch.bench.reliability.promise import Outcome, Promise
from plasticity_rl.records import checkpoint
from plasticity_rl.records.events import Snapshot

OPERATIONS = {"open", "os.rename", "os.mkdir", "os.link", "os.remove", "os.rmdir"}
"""audit events of what saving does to files; os.fsync has none"""
ROWS = 6


def snapshot(number: int) -> Snapshot:
    """Tensors that `number` decides, one of them in pieces of which one changes."""
    ring = torch.arange(ROWS, dtype=torch.float32).repeat_interleave(4).view(ROWS, 4)
    ring[number % ROWS] = number
    return Snapshot({"weights": torch.full((3, 5), float(number)), "ring": ring}, {"number": number})


def sound(folder: Path, least: int) -> str:
    """Empty if the newest checkpoint is whole and not older than `least`; else what is wrong."""
    loaded, problems = checkpoint.load_latest(folder)
    if loaded is None or problems:
        return f"no whole checkpoint: {problems}"
    number = loaded.counters["number"]
    expected = snapshot(number).tensors
    if any(not torch.equal(loaded.tensors[name], tensor) for name, tensor in expected.items()):
        return f"checkpoint {number} has other content"
    return "" if number >= least else f"checkpoint {number} is the newest, {least} was acknowledged"


def operations(folder: Path) -> int:
    """Number of operations on files in saving the next checkpoint."""
    counted = [0]
    _at_each(lambda: counted.__setitem__(0, counted[0] + 1))
    checkpoint.save(folder, 10, snapshot(10))
    return counted[0]


def killed_at(folder: Path, place: int) -> None:
    """Save the next checkpoint, and be killed before one of the operations."""
    left = [place]

    def count() -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    _at_each(count)
    checkpoint.save(folder, 10, snapshot(10))


def full_at(folder: Path, place: int) -> str:
    """Save the next checkpoint on a disk that is full from one of the operations on; returns what was raised. Removing goes on."""
    left = [place]

    def count() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    _at_each(count, OPERATIONS - {"os.remove", "os.rmdir"})
    try:
        checkpoint.save(folder, 10, snapshot(10))
    except BaseException as error:
        return f"{type(error).__name__} {getattr(error, 'errno', None)}"
    return "nothing"


def _at_each(call: Callable[[], None], events: set[str] = OPERATIONS) -> None:
    """Call before each operation on files of this process, from now on: an audit hook cannot be removed."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in events:
            call()

    synced = os.fsync

    def fsync(handle: Any) -> None:
        call()
        synced(handle)

    sys.addaudithook(hook)
    os.fsync = fsync
    checkpoint.PIECE = 16


def _answering(connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    connection.send(function(*arguments))


def elsewhere(function: Callable[..., Any], *arguments: Any) -> tuple[int, Any]:
    """Exit code and result of a function in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=_answering, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        result = ours.recv()
    except EOFError:
        result = None
    process.join()
    return process.exitcode or 0, result


def save_for_ever(folder: Path, number: int, connection: Connection) -> None:
    """Save checkpoints from `number` on, and acknowledge each."""
    checkpoint.PIECE = 16
    while True:
        checkpoint.save(folder, number, snapshot(number))
        connection.send(number)
        number += 1


def before(folder: Path) -> None:
    """A folder with three checkpoints, the newest 9."""
    shutil.rmtree(folder, ignore_errors=True)
    for number in (7, 8, 9):
        checkpoint.save(folder, number, snapshot(number))


def crash_points(folder: Path) -> Iterator[Outcome]:
    """A crash, and a full disk, before each operation of one saving."""
    place = folder / "points"
    _, count = elsewhere(_prepared, operations, place)
    for point in range(count):
        code, _ = elsewhere(_prepared, killed_at, place, point)
        wrong = sound(place, 9) if code == -signal.SIGKILL else f"it ended with code {code}"
        yield Outcome(not wrong, f"killed before operation {point + 1} of {count}" + (f": {wrong}" if wrong else ""))
        _, raised = elsewhere(_prepared, full_at, place, point)
        wrong = sound(place, 9) or ("" if raised in (f"OSError {errno.ENOSPC}", "nothing") else f"it raised {raised}")
        left = [path.name for path in place.glob(checkpoint.UNFINISHED + "*")]
        yield Outcome(not wrong, f"full before operation {point + 1} of {count}, left {left}" + (f": {wrong}" if wrong else ""))


def _prepared(function: Callable[..., Any], folder: Path, *arguments: Any) -> Any:
    checkpoint.PIECE = 16
    before(folder)
    return function(folder, *arguments)


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """Every crash point once, then kills at random moments of saving after saving."""
    yield from crash_points(folder)
    context, place, acknowledged = multiprocessing.get_context("forkserver"), folder / "kills", 0
    while True:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=save_for_ever, args=(place, acknowledged + 1, theirs))
        process.start()
        theirs.close()
        acknowledged = ours.recv()
        if ours.poll(random.uniform(0, 0.05)):
            acknowledged = ours.recv()
        process.kill()
        process.join()
        while ours.poll():
            try:
                acknowledged = ours.recv()
            except EOFError:
                break
        wrong = sound(place, acknowledged)
        yield Outcome(not wrong, f"killed after checkpoint {acknowledged}" + (f": {wrong}" if wrong else ""))


PROMISE = Promise("A crash or a full disk at any moment of saving loses no checkpoint that was acknowledged", "0 lost, 0 torn", trials)
