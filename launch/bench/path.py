"""Throughput of Ray itself: rollouts of single frames from stub actors into a replay, and weights to many stub actors.

A stub has no environment and no network: it returns the same frames every time. The rest is the work of the learner's process and of Ray:
the object store, the requests' tags, concatenating the actors' parts, writing rows of the replay.
"""

import time
from statistics import median
from typing import Any, NamedTuple, cast

import torch
from rich.console import Console

from agents.acting.messages import flat
from agents.acting.ray_actors import RayActors
from agents.acting.remote import ActorGroup, RemoteActor
from agents.loops.replay import ReplayLoop
from launch.bench.actors import FRAMES, Stub
from launch.ray_cluster import connect
from launch.run.runner import prepare
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks.specs import Nature
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.optim.schedules import Constant

NUM_ENVS, ROLLOUT, CAPACITY = 64, 32, 20_000  # environments per actor, steps per rollout, rows x environments of the replay
WARM = 12  # rollouts before the clock starts: the replay is then full and its memory allocated
TIMES = 20  # number of times that weights are sent
WAIT = 600.0  # seconds for actors to start


class Sent(NamedTuple):
    """Median times of sending weights, in seconds."""

    weights: float
    """until the last actor has new weights"""
    calls: float
    """until the last actor has answered empty calls"""
    learner: float
    """CPU seconds of the learner's process per sending of weights"""
    update: float
    """time of one update of the network"""


def stub_worker() -> type:
    """Return the class of stub actors, without network and environment; it is pickled by value."""
    width = NUM_ENVS

    class StubWorker:
        def __init__(self, about: Any, actor: int, incarnation: int) -> None:
            self.made: dict[int, Any] = {}

        def play(self, weights: Any, request: Any) -> Any:
            import numpy as np

            from agents.acting.messages import RemoteRollout

            if request.steps not in self.made:
                draw = np.random.default_rng(0)
                shape = request.steps, 1, width
                frames = draw.integers(256, size=(request.steps + 1, *shape[1:], 84, 84), dtype=np.uint8)
                ages = np.full((request.steps + 1, *shape[1:]), 3)
                said = {"actions": np.zeros(shape, np.int64)}
                rewards, flags = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
                self.made[request.steps] = frames, ages, said, rewards, flags, rewards
            return RemoteRollout(request.id, *self.made[request.steps])

        def take(self, weights: Any, version: int) -> int:
            return version

    return StubWorker


class StubBackend(RayActors):
    """Stub actors on Ray."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment, False, False)
        self._class = self._ray.remote(max_restarts=0, max_task_retries=0)(stub_worker())


def measure(actors: int, receivers: int, seconds: float) -> None:
    """Print the measurements."""
    connect(None)
    console = Console(highlight=False)
    frames = carried(actors, seconds)
    console.print(f"{frames:,.0f} single frames a second from {actors} stub actors through Ray into the replay", soft_wrap=True)
    if receivers:
        found = Sent(*(1000 * each for each in sent(receivers)))
        console.print(
            f"{found.weights:.1f} ms until {receivers} stub actors have new weights of a Nature CNN, {found.learner:.1f} ms of processors "
            f"for the learner's process\n{found.calls:.1f} ms for the same calls without weights\n"
            f"{found.update:.1f} ms for an update of that network (batch of 32, uncompiled)",
            soft_wrap=True,
        )


def carried(actors: int, seconds: float) -> float:
    """Measure the single frames per second that `actors` stubs bring into a replay."""
    loop = _loop(actors, CAPACITY)
    prepare(loop.experiment)
    loop.actors = ActorGroup(StubBackend(loop.experiment), actors)
    visit = loop.benchmark.visits()[0]
    try:
        steps = loop.num_envs * 10**9
        remote = loop.open(visit, slice(None), 0, steps, steps)
        assert isinstance(remote, RemoteActor)
        rows, began = 0, 0.0
        while True:
            if rows % ROLLOUT == 0:
                if rows == WARM * ROLLOUT:
                    began = time.monotonic()
                elif began and time.monotonic() - began >= seconds:
                    return (rows - WARM * ROLLOUT) * loop.num_envs / (time.monotonic() - began)
            remote.ready()
            loop.replay.write_frames(remote.frames, remote.ages, remote.outputs["actions"], 0)
            step, _ = remote.receive()
            loop.replay.write_outcome(*loop.outcome(step, slice(None)))
            rows += 1
    finally:
        loop.actors.close()


def sent(receivers: int) -> Sent:
    """Measure the time until `receivers` actors have fetched a Nature CNN's weights from the object store."""
    import ray

    loop = _loop(1, 1000)
    weights = flat(loop.learner.net.params)
    made: Any = ray.remote(num_cpus=0, max_restarts=0)(stub_worker())
    handles = [made.remote(None, actor, 0) for actor in range(receivers)]
    ray.get([handle.take.remote(0, 0) for handle in handles], timeout=WAIT)

    def send(version: int, anything: bool) -> tuple[float, float]:
        new = weights + version
        began, busy = time.monotonic(), time.process_time()
        given = ray.put(new) if anything else None
        assert ray.get([handle.take.remote(given, version) for handle in handles], timeout=WAIT) == [version] * receivers
        return time.monotonic() - began, time.process_time() - busy

    waited, took = zip(*(send(version, True) for version in range(TIMES)), strict=True)
    calls, _ = zip(*(send(version, False) for version in range(TIMES)), strict=True)
    for handle in handles:
        ray.kill(handle)
    return Sent(median(waited), median(calls), median(took), _update(loop))


def _update(loop: ReplayLoop) -> float:
    shape = 1, 32, *loop.benchmark.inputs
    batch = {
        "inputs": torch.zeros(shape, dtype=torch.uint8),
        "next_inputs": torch.zeros(shape, dtype=torch.uint8),
        "actions": torch.zeros(1, 32, dtype=torch.int64),
        "task": torch.zeros(1, 32, dtype=torch.int64),
        **{name: torch.ones(1, 32) for name in ("returns", "discounts", "weights")},
    }
    times = []
    for _ in range(TIMES):
        began = time.monotonic()
        loop.learner.update(1e-4, batch, loop.target)
        times.append(time.monotonic() - began)
    return median(times)


def _loop(actors: int, capacity: int) -> ReplayLoop:
    from agents.dqn import DQN

    agent = DQN(num_envs=NUM_ENVS * actors, replay=capacity * actors, min_replay=100, rollout_length=ROLLOUT, rewards="clip")
    more: dict[str, Any] = dict(members=1, actors=actors, diagnose_every=FRAMES, checkpoint_every=FRAMES)
    return ReplayLoop(agent, Experiment(cast(Any, Stub(0.0)), agent, Nature(), Adam(), Constant(), **more), "cpu", False)
