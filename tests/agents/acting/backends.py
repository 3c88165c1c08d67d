"""Actors in this process, to test requests and actor deaths."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from agents.acting.messages import Died, RemoteRollout, RolloutId, RolloutRequest
from agents.acting.remote import ActorGroup
from agents.acting.worker import RolloutWorker
from agents.dqn import DQN
from agents.loops.replay import ReplayLoop
from agents.loops.rollout import RolloutLoop
from envs.reinforcement.backends.pool import Opening
from envs.sequences import Visit, sequence
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.optim.schedules import Constant
from tests.training import Counted, Counting

MEMBERS, NUM_ENVS, ACTORS, ROLLOUT = 2, 6, 3, 5
WIDTH = NUM_ENVS // ACTORS


class Here:
    """In-process backend that plays the newest request first; the (actor, sequence, incarnation) in `dies` never arrive."""

    def __init__(self, made: Experiment, bootstraps: bool, dies: set[tuple[int, int, int]] | None = None, twice: bool = False) -> None:
        self._made, self._bootstraps, self._dies, self._twice = made, bootstraps, dies or set(), twice
        self._workers: dict[int, RolloutWorker] = {}
        self._asked: list[tuple[np.ndarray, RolloutRequest]] = []
        self._again: list[RemoteRollout] = []
        self.weights: dict[RolloutId, np.ndarray] = {}
        self.started: list[tuple[int, int]] = []
        self.cramps: list[int] = []
        self.closed = False

    def start(self, actor: int, incarnation: int) -> None:
        self.started.append((actor, incarnation))
        self._workers[actor] = RolloutWorker(self._made, actor, incarnation, False, self._bootstraps)

    def cramped(self) -> list[int]:
        found, self.cramps = self.cramps, []
        return found

    def publish(self, weights: np.ndarray) -> np.ndarray:
        weights = weights.copy()
        weights.flags.writeable = False  # as Ray's
        return weights

    def ask(self, weights: np.ndarray, request: RolloutRequest) -> None:
        assert len([each for _, each in self._asked if each.id.actor == request.id.actor]) < 2
        self._asked.append((weights, request))

    def next(self) -> RemoteRollout | Died:
        if self._again:
            return self._again.pop()
        weights, request = self._asked.pop()
        actor, incarnation, sequence, _ = request.id
        if (actor, sequence, incarnation) in self._dies:
            return Died(actor, incarnation, "killed")
        self.weights[request.id] = weights
        rollout = self._workers[actor].play(weights, request)
        if self._twice:
            late = rollout._replace(id=request.id._replace(incarnation=incarnation + 7), rewards=rollout.rewards + 100)
            self._again = [rollout._replace(rewards=rollout.rewards + 100), late]
        return rollout

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class Two(Counted):
    """Two tasks, told apart by their frames: those of the second are negative."""

    names: ClassVar[tuple[str, ...]] = ("up", "down")

    def visits(self) -> tuple[Visit, ...]:
        return sequence(self.names, self.frames)

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None = None) -> Counting:
        return Falling(seeds.size) if visit.task == "down" else Counting(seeds.size)


class Falling(Counting):
    def _step(self, rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, first: np.ndarray) -> Any:
        step = super()._step(rewards, terminated, truncated, first)
        return step._replace(observations=-1 - step.observations)


@dataclass(frozen=True)
class Scored(Counted):
    """One task whose episodes score 1 in their last step, and 0.5 in all others but the first."""

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None = None) -> Counting:
        return Scoring(seeds.size)


class Scoring(Counting):
    def _step(self, rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, first: np.ndarray) -> Any:
        step = super()._step(rewards, terminated, truncated, first)
        return step._replace(scores=np.where(first, 0, np.where(terminated | truncated, 1, 0.5)).astype(np.float32))


def made(agent: Any, frames: int, benchmark: type = Counted, **more: Any) -> Experiment:
    return Experiment(benchmark(frames), agent, MLP(width=4, depth=1), Adam(), Constant(), members=MEMBERS, actors=ACTORS, **more)


class InTurn(Here):
    """An in-process backend that plays an actor's requests in order; a dead actor's requests are lost."""

    def start(self, actor: int, incarnation: int) -> None:
        super().start(actor, incarnation)
        self._asked = [each for each in self._asked if each[1].id.actor != actor]

    def ask(self, weights: np.ndarray, request: RolloutRequest) -> None:
        assert len([each for _, each in self._asked if each.id.actor == request.id.actor]) < 2
        self._asked.insert(0, (weights, request))


class Watched(RolloutLoop):
    """A loop on `Counting` that keeps its batches; every update moves all weights by 0.001."""

    def __init__(self, agent: Any, rollouts: int, checkpoint_every: int = 10**6, dies: set[tuple[int, int, int]] | None = None) -> None:
        what = made(agent, rollouts * ROLLOUT * NUM_ENVS, checkpoint_every=checkpoint_every)
        super().__init__(agent, what, "cpu", False)
        self.backend = Here(what, self.bootstraps, dies)
        self.actors = ActorGroup(self.backend, ACTORS)
        self.learned: list[dict[str, torch.Tensor]] = []
        self.found = list(self.run(None))

    def learn(self, visit: Any, batches: list[dict[str, torch.Tensor]], *extras: Any) -> Iterator[Any]:  # type: ignore[override]
        self.learned.extend(batches)
        self.learner.ticks["update"] += len(batches)
        for param in self.learner.net.params.values():
            param.add_(1e-3 * len(batches))
        yield from ()


def replay_loop(
    dies: set[tuple[int, int, int]], benchmark: type = Counted, frames: int = 240, **more: Any
) -> tuple[ReplayLoop, Here, list]:
    agent = DQN(
        num_envs=NUM_ENVS, batch_size=4, replay=600, min_replay=30, rollout_length=ROLLOUT, rewards="raw", final_epsilon=1.0, **more
    )
    what = made(agent, frames, benchmark, checkpoint_every=10**6)
    loop = ReplayLoop(agent, what, "cpu", False)
    backend = Here(what, loop.bootstraps, dies)
    loop.actors = ActorGroup(backend, ACTORS)
    return loop, backend, list(loop.run(None))
