"""Speed of remote actors: steps per second and the share of time in which the learner is busy, with one, two and four actors.

IMPALA with a Nature CNN on Atari frames, eight environments per actor and one update per actor's rollout, so that every actor adds the
same number of steps and updates. The emulator is Breakout, or a stub whose steps take a fixed time and no processor, as on other machines.
Nothing is compiled: the measurement compares waiting times.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from agents.impala import IMPALA
from agents.loops.rollout import RolloutLoop
from envs.reinforcement.atari import Atari
from envs.reinforcement.backends.pool import Opening, Step
from envs.reinforcement.backends.spaces import Box, Discrete
from envs.sequences import Visit, sequence
from launch.ray_cluster import connect
from launch.run.runner import prepare
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks.specs import Nature
from plasticity_rl.optim.optimizers import RMSprop
from plasticity_rl.optim.schedules import Constant
from plasticity_rl.records.events import Tick

NUM_ENVS = 8  # per actor
WARM = 4  # updates per actor before the clock starts
FRAMES = 4_000_000_000  # never reached


@dataclass(frozen=True)
class Stub:
    """Environments that return noise; a step sleeps for `seconds`."""

    seconds: float = 0.005
    supervision: ClassVar[str] = "rewards"
    unit: ClassVar[str] = "frames"
    observation_space: ClassVar[Box] = Box((84, 84), "uint8")
    action_space: ClassVar[Discrete] = Discrete(4)
    stack: ClassVar[int] = 4
    frame_skip: ClassVar[int] = 4
    names: ClassVar[tuple[str, ...]] = ("Stub",)
    heads: ClassVar[str] = "shared"
    inputs: ClassVar[tuple[int, ...]] = (4, 84, 84)
    life_loss: ClassVar[bool] = False

    def visits(self) -> tuple[Visit, ...]:
        return sequence(self.names, FRAMES)

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None = None) -> "StubPool":
        return StubPool(seeds.size, self.seconds)


class StubPool:
    """Pool of stub environments, with the interface that an Actor needs."""

    def __init__(self, num_envs: int, seconds: float) -> None:
        self.num_envs, self._seconds, self._due = num_envs, seconds, 0.0
        self._frames = np.random.default_rng(0).integers(256, size=(num_envs, 84, 84), dtype=np.uint8)

    def reset(self) -> Step:
        return self._step(first=True)

    def send(self, actions: np.ndarray) -> None:
        self._due = time.monotonic() + self._seconds

    def recv(self) -> Step:
        time.sleep(max(self._due - time.monotonic(), 0.0))
        return self._step(first=False)

    def close(self) -> None:
        """No-op: the pool holds no resources."""

    def _step(self, first: bool) -> Step:
        nothing = np.zeros(self.num_envs, bool)
        rewards = np.zeros(self.num_envs, np.float32)
        return Step(self._frames, rewards, nothing, nothing, nothing, np.full(self.num_envs, first), rewards)


class Found(NamedTuple):
    """Result of one measurement."""

    speed: float
    """steps per second"""
    learning: float | None
    """share of time in which the learner did not wait for rollouts; None without remote actors"""


def measure(counts: Sequence[int], seconds: float, step_time: float) -> None:
    """Print a table; 0 actors means acting in the learner's process, with as many environments as one actor has."""
    console = Console(highlight=False)
    connect(None)
    table = Table(box=None, padding=(0, 1))
    table.add_column("", no_wrap=True)
    for heading in ("actors", "SPS", "learner use"):
        table.add_column(heading, justify="right", no_wrap=True)
    atari = Atari(games=("Breakout",), frames=FRAMES, sticky=0.0)
    for name, benchmark in (("Breakout", atari), (f"stub, {1000 * step_time:g} ms a step", Stub(step_time))):
        for count in (0, *counts):
            found = run(benchmark, count, seconds)
            table.add_row(name, str(count or "none"), f"{found.speed:,.0f}", "" if found.learning is None else f"{found.learning:.0%}")
    console.print(table)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    console.print(f"\nSPS: agent steps a second, {NUM_ENVS} environments an actor; windows of {seconds:g} s; {device}", soft_wrap=True)


def run(benchmark: Any, actors: int, seconds: float) -> Found:
    """Measure once, from a steady state."""
    share = max(actors, 1)
    agent = IMPALA(num_envs=NUM_ENVS * share, minibatches=share)
    experiment = Experiment(
        benchmark, agent, Nature(), RMSprop(), Constant(), members=1, diagnose_every=10**9, checkpoint_every=10**9, actors=actors
    )
    prepare(experiment)
    loop = RolloutLoop(agent, experiment, "cuda" if torch.cuda.is_available() else "cpu", False)
    began, steps, waited = 0.0, 0, 0.0
    events = loop.run(None)
    try:
        for event in events:
            if not isinstance(event, Tick):
                continue
            now = time.monotonic()
            if not began and event.updates >= WARM * share:
                began, steps, waited = now, event.steps, loop.actors.waited if loop.actors else 0.0
            elif began and now - began >= seconds:
                learning = 1 - (loop.actors.waited - waited) / (now - began) if loop.actors else None
                return Found((event.steps - steps) / (now - began), learning)
    finally:
        events.close()  # type: ignore[attr-defined]
    raise RuntimeError("the run ended before it was measured")
