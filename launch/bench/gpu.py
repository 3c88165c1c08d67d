"""Everything that runs on a GPU, checked and measured: checks first, then speeds. One command on a bare machine with this project's wheels.

A failure is written down and the next item begins. `--device cpu` is its dry form: the same items on a processor.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console

from launch.bench.reliability.runs import ACTING, NUMBERS, SETTINGS
from launch.bench.update import ours
from launch.config import parse
from launch.run.provenance import machine
from launch.run.runner import prepare
from plasticity_rl import registry
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.events import Event, Metric, Score, Snapshot, Tick

SMALL = {"network": "mlp:width=12,depth=2", "members": 2, "checkpoint_every": 400}
STREAM = {"benchmark": "random-labels:images=60,tasks=2,updates=30", "agent": "supervised:batch_size=8,record_every=15"} | SMALL
CLOSE = 1e-3  # relative; float32 in another order, a few dozen updates on
BREAKOUT, PENDULUM = "atari:games=Breakout,frames=40000000", "envpool:ids=Pendulum-v1,frames=40000000"
SIZES = (1, 5, 32, 1024)  # members of the MLP
PLAYED = {"dqn": (1, 5), "rainbow": (1, 5), "pqn": (1, 5), "ppo": (1, 5)}  # agent on Breakout -> members
SWINGS = (1, 5, 32)  # members of SAC on Pendulum
WORLDS = {  # words of environments on the device, and their settings
    **{word: "simulator=torch" for word in ("cartpole", "acrobot", "catch", "continual-mountaincar", "bandit", "image-mdp")},
    "minatar": "games=Breakout",
}
STEPPED = ("cartpole", "catch", "minatar")  # whose pools are measured alone
CROWDS = (8, 1024, 65_536)  # environments of such a pool
WALKERS = (1, 32, 1024)  # members of PPO on continual CartPole there
WARM = 0.3  # share of a window that is not counted: compilation, capture, the filling of a replay


@dataclass(frozen=True)
class Item:
    """One thing checked or measured."""

    kind: str
    """`check` or `measure`"""
    name: str
    found: str
    """`held`, a number with its unit, or the error"""
    failed: bool
    seconds: float


def measure(device: str, minutes: float, out: Path) -> bool:
    """Check and measure for at most so many minutes; write gpu.json and gpu.md into `out`. Returns whether nothing failed."""
    console, began, items, left = Console(highlight=False), time.monotonic(), list[Item](), list[str]()
    torch.set_flush_denormal(True)
    about = machine(device)
    for kind, name, call in work(device, minutes):
        if time.monotonic() - began > minutes * 60:
            left.append(name)
            continue
        started = time.monotonic()
        try:
            found, failed = call(), False
        except Exception as error:  # whatever it is, the next item may still be measured
            found, failed = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", True
        items.append(Item(kind, name, found, failed, round(time.monotonic() - started, 2)))
        console.print(f"{'FAILED ' if failed else ''}{kind} {name}: {found}", soft_wrap=True)
    out.mkdir(parents=True, exist_ok=True)
    content = {"about": about, "torch": torch.__version__, "items": [asdict(item) for item in items], "not reached": left}
    (out / "gpu.json").write_text(json.dumps(content, indent=2) + "\n")
    (out / "gpu.md").write_text(table(about, items, left))
    return not any(item.failed for item in items)


def table(about: dict[str, Any], items: list[Item], left: list[str]) -> str:
    """The items as Markdown: what failed, what held, and a row for each speed."""
    checks = [item for item in items if item.kind == "check"]
    broken = [item for item in items if item.failed]
    lines = [f"{about['device']}; {about['machine']}; torch {torch.__version__}", ""]
    lines += [f"{sum(not item.failed for item in checks)} of {len(checks)} checks held.", ""]
    lines += [f"- failed: {item.kind} {item.name}: {item.found}" for item in broken] + [""] * bool(broken)
    lines += ["| measured | |", "|---|---|"] + [
        f"| {item.name} | {item.found} |" for item in items if item.kind == "measure" and not item.failed
    ]
    lines += ["", f"Not reached in the time: {', '.join(left)}."] * bool(left)
    return "\n".join(lines) + "\n"


def work(device: str, minutes: float) -> Iterator[tuple[str, str, Callable[[], str]]]:
    """Kind, name and call of each item, the surest first."""
    window = minutes * 60 / 100  # seconds of one measurement
    for agent in (*ACTING, *NUMBERS):
        yield "check", f"{agent} runs", lambda agent=agent: runs(acting(agent), device)
        yield "check", f"{agent} resumes", lambda agent=agent: resumes(acting(agent), device)
    for method in registry.METHODS:
        yield (
            "check",
            f"{method} runs",
            lambda method=method: runs(parse.experiment(STREAM | {"chain": [SETTINGS.get(method, method)]}), device),
        )
    for word in WORLDS:
        yield "check", f"{word} on the device runs", lambda word=word: runs(living(word), device)
        yield "check", f"{word} on the device resumes", lambda word=word: resumes(living(word), device)
    yield "check", "a stream is as on a processor", lambda: close(STREAM, "cpu", device)
    for chain in ([], ["nap", "redo:every=7"], ["l2-init", "continual-backprop"]):
        name = " + ".join(chain) or "none"
        yield "check", f"{name}: compiled as eager", lambda chain=chain: compiles(STREAM | {"chain": chain}, device)
    for size in SIZES:
        for compile in (False, True):
            how = "compiled" if compile else "eager"
            yield "measure", f"MLP, {size} members, {how}", lambda size=size, compile=compile: updates(size, compile, device, window)
    for word in STEPPED:
        for size in CROWDS:
            name, said = f"{word} on the device, {size:,} environments", f"{word}:{WORLDS[word]}"
            yield "measure", name, lambda said=said, size=size: steps(said, size, device, window)
    for where, settings, sizes in (("by EnvPool", "", (1,)), ("on the device", "simulator=torch,", WALKERS)):
        for size in sizes:
            name, said = f"ppo on continual-cartpole {where}, {size:,} members", f"continual-cartpole:{settings}frames=40000000"
            yield "measure", name, lambda said=said, size=size: plays(said, "ppo", size, device, 4 * window)
    for agent, sizes in PLAYED.items():
        for size in sizes:
            yield (
                "measure",
                f"{agent} on Breakout, {size} members",
                lambda agent=agent, size=size: plays(BREAKOUT, agent, size, device, 4 * window),
            )
    for size in SWINGS:
        yield (
            "measure",
            f"sac on Pendulum, {size} members",
            lambda size=size: plays(PENDULUM, "sac:min_replay=256", size, device, 4 * window),
        )


def acting(agent: str) -> Experiment:
    """A small run of an agent on CartPole, or on Pendulum if its actions are numbers."""
    if agent in NUMBERS:
        return parse.experiment({"benchmark": "envpool:ids=Pendulum-v1,frames=800,cycles=2", "agent": NUMBERS[agent]} | SMALL)
    return parse.experiment({"benchmark": "cartpole:tasks=2,frames=800", "agent": ACTING[agent]} | SMALL)


def living(word: str) -> Experiment:
    """A small run of PPO whose environments live on the device; episodes of 100 steps may not end, and are then cut."""
    return parse.experiment({"benchmark": f"{word}:{WORLDS[word]},frames=800", "agent": ACTING["ppo"]} | SMALL)


def events(made: Experiment, device: str, compile: bool = False, resume: Snapshot | None = None) -> list[Event]:
    """All events of a run; snapshots are copied to the processor as they come."""
    prepare(made, device)
    found: list[Event] = []
    for event in made.agent.train(made, device, compile, resume):
        if isinstance(event, Snapshot):
            tensors = {name: tensor.detach().cpu().clone() for name, tensor in event.tensors.items()}
            event = Snapshot(tensors, {name: dict(each) if isinstance(each, dict) else each for name, each in event.counters.items()})
        found.append(event)
    return found


def runs(made: Experiment, device: str) -> str:
    """A run ends with scores, and all of its numbers are finite."""
    found = events(made, device)
    scores = [event.score for event in found if isinstance(event, Score)]
    numbers = scores + [event.value for event in found if isinstance(event, Metric)]
    if not scores or not torch.tensor(numbers, dtype=torch.float64).isfinite().all():
        raise AssertionError(f"{len(scores)} scores, some not finite" if scores else "no scores")
    return "held"


def resumes(made: Experiment, device: str) -> str:
    """A run that goes on from its first snapshot ends with the tensors of one that was not stopped."""
    whole = [event for event in events(made, device) if isinstance(event, Snapshot)]
    again = [event for event in events(made, device, resume=whole[0]) if isinstance(event, Snapshot)]
    far = distance(whole[-1], again[-1])
    if far > CLOSE:
        raise AssertionError(f"a relative distance of {far:.2g}")
    return "held" if far == 0 else f"held to {far:.2g}"


def compiles(said: dict[str, Any], device: str) -> str:
    """Compiled updates end near eager ones."""
    eager, compiled = (last(events(parse.experiment(said), device, compile)) for compile in (False, True))
    return near(distance(eager, compiled))


def close(said: dict[str, Any], one: str, other: str) -> str:
    """Two devices end near each other."""
    return near(distance(*(last(events(parse.experiment(said), device)) for device in (one, other))))


def near(far: float) -> str:
    if far > CLOSE:
        raise AssertionError(f"a relative distance of {far:.2g}, more than {CLOSE:g}")
    return f"held to {far:.2g}"


def last(found: list[Event]) -> Snapshot:
    """The last snapshot of a run."""
    return [event for event in found if isinstance(event, Snapshot)][-1]


def distance(one: Snapshot, other: Snapshot) -> float:
    """Largest relative distance of two snapshots' parameters, by tensor."""
    found = 0.0
    for name, tensor in one.tensors.items():
        if name.startswith("params/"):
            scale = max(float(tensor.norm()), 1e-6)
            found = max(found, float((tensor - other.tensors[name]).norm()) / scale)
    return found


def updates(members: int, compile: bool, device: str, seconds: float) -> str:
    """Network updates per second of the demo's MLP: median of three windows."""
    row = ours(members, (), compile, device, 8)
    row()
    speeds: list[float] = []
    for _ in range(3):
        _wait(device)
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds / 3:
            row()
            count += 8
            _wait(device)
        speeds.append(count * members / (time.perf_counter() - began))
    return f"{statistics.median(speeds):,.0f} network updates/s ({min(speeds):,.0f} to {max(speeds):,.0f})"


def steps(benchmark: str, num_envs: int, device: str, seconds: float) -> str:
    """Steps per second of one compiled pool on the device under random actions, without an agent: median of three windows."""
    tasks = cast(Any, parse.experiment({"benchmark": benchmark, "agent": "ppo"}).benchmark)
    pool = tasks.device_pool(tasks.visits()[0], np.arange(num_envs)[None], 0, None, device, True)
    pool.reset()
    speeds: list[float] = []
    for window in range(4):  # the first compiles
        _wait(device)
        began, count = time.perf_counter(), 0
        while count < 10 or time.perf_counter() - began < seconds / 3:
            for _ in range(10):
                pool.step(torch.randint(tasks.action_space.n, (num_envs,), device=device))
            count += 10
            _wait(device)
        if window:
            speeds.append(count * num_envs / (time.perf_counter() - began))
    return f"{statistics.median(speeds):,.0f} steps/s ({min(speeds):,.0f} to {max(speeds):,.0f})"


def plays(benchmark: str, agent: str, members: int, device: str, seconds: float, **words: str) -> str:
    """Steps per second of all members with the agent's defaults, and the memory that it took; `words` describe the experiment further."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    made = parse.experiment({"benchmark": benchmark, "agent": agent, "members": members} | words, device)
    prepare(made, device)
    run = cast(Any, made.agent.train(made, device, True, None))
    began, marks = time.perf_counter(), list[tuple[float, int, int]]()
    for event in run:
        if isinstance(event, Tick):
            now = time.perf_counter()
            if now - began > WARM * seconds:
                marks.append((now, event.steps, event.updates))
            if now - began > seconds and len(marks) > 1:
                break
    run.close()
    (start, steps, made_before), (end, more, made_after) = marks[0], marks[-1]
    speed, rate = members * (more - steps) / (end - start), members * (made_after - made_before) / (end - start)
    memory = "" if device == "cpu" else f", {torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
    return f"{speed:,.0f} steps/s, {rate:,.0f} network updates/s{memory}"


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
