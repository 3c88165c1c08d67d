"""Check of a run's memory and disk needs against the machine, before anything is written.

Memory: the replay, or the frames of a rollout, and the learner's parameters, optimizer state and methods' state. Batches, activations,
data of streams and libraries come on top, so a refused run could never have worked. Disk: the largest checkpoint. Both are read from the
tensors themselves, made for one member; the replay is made on torch's meta device, which takes no memory.
"""

import os
import resource
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch

from agents.loops.replay import make_replay
from agents.loops.rollout import make_frames
from launch.run.estimate import KEPT, checkpoint_size
from launch.run.store import Store
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.training.learner import Learner

CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
SENSIBLE = 0.8  # share of a memory that the advice fills


class Need(NamedTuple):
    """Needs of one run, in bytes."""

    store: int
    """bytes of its replay, or of a rollout's frames"""
    networks: int
    """bytes of parameters, optimizer state and methods' state"""
    checkpoint: int
    """bytes of the largest checkpoint; memory use grows to as much, as the replay is filled"""

    @property
    def memory(self) -> int:
        return self.store + self.networks


class Room(NamedTuple):
    """Total and free bytes of a memory."""

    total: int
    free: int


def need(experiment: Experiment) -> Need:
    """Compute the needs of a run."""
    return Need(*(experiment.members * size for size in _of_one(replace(experiment, members=1, seed=0))))


@lru_cache(maxsize=1024)
def _of_one(experiment: Experiment) -> Need:
    """Compute the needs of one member; all large tensors are stacked along the members."""
    games, agent = cast(Any, experiment.benchmark), cast(Any, experiment.agent)  # fields of each kind are read below
    network, optimizer = assemble(experiment.network, experiment.optimizer, experiment.chain, games.inputs, agent.heads(games))
    learner = Learner(network, agent.loss, optimizer, experiment.chain, 1, experiment.seed, "cpu", False)
    networks, store = sum(tensor.nbytes for tensor in learner.tensors().values()), 0
    if agent.has_replay:
        store = make_replay(agent, games, 1, "meta").nbytes
        networks += sum(tensor.nbytes for tensor in learner.net.params.values())  # the target network
    elif games.supervision == "rewards":
        store = make_frames(agent, games, 1, "meta").nbytes
    return Need(store, networks, checkpoint_size(experiment))


def memory() -> Room:
    """Return the machine's memory, within this process's limits (control groups, address space)."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = free = os.sysconf("SC_PHYS_PAGES") * page
    if (file := Path("/proc/meminfo")).exists():
        lines = (line.split() for line in file.read_text().splitlines())
        sizes = {name.rstrip(":"): 1024 * int(size) for name, size, *_ in lines}
        total, free = sizes["MemTotal"] + sizes.get("SwapTotal", 0), sizes["MemAvailable"]
    most = min([total, *_limits()])
    return Room(most, min(free, most))


def _limits() -> Iterator[int]:
    own, _ = resource.getrlimit(resource.RLIMIT_AS)
    if own != resource.RLIM_INFINITY:
        yield own
    for line in OWN_CGROUP.read_text().splitlines() if OWN_CGROUP.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, name = (CGROUPS / "memory", "memory.limit_in_bytes") if controllers else (CGROUPS, "memory.max")
        folder = root / path.lstrip("/")
        for each in (folder, *folder.parents):
            if each.is_relative_to(root) and (each / name).is_file() and (said := (each / name).read_text().strip()).isdigit():
                yield int(said)


def gpu() -> Room:
    """Return the GPU's memory."""
    free, total = torch.cuda.mem_get_info()
    return Room(total, free)


def check(groups: Sequence[Sequence[Experiment]], store: Store, device: str) -> None:
    """Check groups of runs against this machine; the runs of a group are in memory at the same time.

    Raises UsageError if a group could never fit, and warns on stderr if it does not fit into the free part.
    """
    sizes = [[need(each) for each in group] for group in groups]
    for place, room in [("this machine", memory()), *([("the GPU", gpu())] if device.startswith("cuda") else [])]:
        for group, needs in zip(groups, sizes, strict=True):
            whole = sum(each.memory for each in needs)
            refuse_memory(group, needs, room.total, f"{place} has")
            # A CPU allocates pages as they are written. A GPU's tensors pass through the machine's memory on their way to the disk.
            soon = whole if place == "the GPU" else sum(each.checkpoint for each in needs)
            if soon > room.free:
                _warn(f"{_told(group, needs)}; {_gb(soon)} are in use once that is filled, and {_gb(room.free)} are free on {place}")
                break
    check_disk([each for group in groups for each in group], store)


def refuse_memory(group: Sequence[Experiment], needs: Sequence[Need], total: int, has: str) -> None:
    """Raise UsageError if the runs of a group could never be in memory at the same time."""
    if sum(each.memory for each in needs) > total:
        raise UsageError(f"{_told(group, needs)}, and {has} {_gb(total)} of memory; {_way_out(group, needs, SENSIBLE * total)}")


def check_disk(experiments: Sequence[Experiment], store: Store) -> None:
    """Check the checkpoints of runs against free disk space. Raises UsageError if a single one does not fit; warns if all do not."""
    left = [each for each in experiments if not store.run(each.key).is_done]
    if not left:
        return
    sizes, root = [need(each).checkpoint for each in left], store.root
    there = next(path for path in (root, *root.absolute().parents) if path.exists())
    held = sum(path.stat().st_size for each in left for path in store.run(each.key).checkpoints.glob("*/*"))
    free = shutil.disk_usage(there).free + held
    if max(sizes) > free:
        told = f"a checkpoint takes up to {_gb(max(sizes))}, and {_gb(free)} are free in {root}"
        raise UsageError(f"{told}; a smaller replay= or fewer --members take less")
    if KEPT * sum(sizes) > free:
        _warn(f"checkpoints take up to {_gb(KEPT * sum(sizes))}, and {_gb(free)} are free in {root}")


def _told(group: Sequence[Experiment], needs: Sequence[Need]) -> str:
    """Describe the needs of a group, the larger part first."""
    store, networks = (sum(sizes) for sizes in zip(*(each[:2] for each in needs), strict=True))
    what = "replay" if group[0].agent.has_replay else "rollouts"
    parts = sorted([(store, what), (networks, "networks and optimizers")], reverse=True)
    members = sum(each.members for each in group)
    sizes = " and ".join(f"{_gb(size)} of {part}" for size, part in parts if size >= 0.01 * parts[0][0])
    return f"{group[0].label} on {type(group[0].benchmark).__name__} needs {sizes} for {members} member{'s' * (members > 1)}"


def _way_out(group: Sequence[Experiment], needs: Sequence[Need], room: float) -> str:
    """Describe a change that would fit into `room` bytes."""
    if len(group) > 1:
        return "--at-once says how many members are trained as one"
    (one,), (size,) = group, needs
    ways = []
    agent = cast(Any, one.agent)
    if agent.has_replay:
        replay = make_replay(agent, cast(Any, one.benchmark), 1, "meta")
        fits = int((room - size.networks) / size.store * replay.rows * replay.num_envs)
        fits -= fits % 10 ** max(len(str(max(fits, 1))) - 2, 0)  # two significant digits
        if fits > agent.min_replay + agent.num_envs:
            ways.append(f"replay={fits}")
    if members := int(room / size.memory * one.members):
        ways.append(shlex.join(["--members", str(members)]))
    return f"{' or '.join(ways)} would fit" if ways else "a smaller replay=, network or number of environments takes less"


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def _warn(what: str) -> None:
    print(f"warning: {what}", file=sys.stderr)
