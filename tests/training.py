"""Small runs for tests: an agent's stream of events, whole or interrupted."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from agents.diagnostics.rows import COSTS
from envs.reinforcement.backends.pool import Opening, Step
from envs.reinforcement.backends.spaces import Box, Discrete
from envs.sequences import Visit, sequence
from launch.config.parse import experiment
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.events import Event, Media, Score, Snapshot
from plasticity_rl.training import learner
from plasticity_rl.training.learner import Learner

LABELS: dict[str, Any] = {
    "benchmark": "random-labels:images=60,tasks=3,updates=40",
    "agent": "supervised:batch_size=8,record_every=15",
    "network": "mlp:width=12,depth=2",
    "members": 2,
    "diagnose_every": 20,
    "checkpoint_every": 25,
}
CARTPOLE: dict[str, Any] = {
    "benchmark": "cartpole:tasks=2,frames=200",
    "agent": "dqn:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10",
    "network": "mlp:width=12,depth=2",
    "members": 2,
    "diagnose_every": 20,
    "checkpoint_every": 90,
}
PENDULUM: dict[str, Any] = CARTPOLE | {
    "benchmark": "envpool:ids=Pendulum-v1,shifts=offset,tasks=2,frames=200",
    "agent": "sac:num_envs=4,batch_size=8,replay=160,min_replay=40,train_every=4",
}
ATARI: dict[str, Any] = {
    "benchmark": "atari:games=Breakout+RoadRunner,frames=400",
    "agent": "dqn:num_envs=2,batch_size=2,replay=80,min_replay=40,target_every=4,train_every=10",
    "network": "nature:width=16",
    "members": 2,
    "diagnose_every": 4,
    "checkpoint_every": 70,
}


class Counting:
    """A pool whose every frame is a unique number, 1000 * environment + count, and whose episodes follow a simple rule: those
    of environment e take 4 + e % 5 steps, and are cut where e is odd. A step pays the count."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.count = np.zeros(self.num_envs, int)
        self.age = np.zeros(self.num_envs, int)
        self.over = np.zeros(self.num_envs, bool)
        self.taken: list[np.ndarray] = []

    def _step(self, rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, first: np.ndarray) -> Step:
        frames = (1000 * np.arange(self.num_envs) + self.count)[:, None].astype(np.float32)
        nothing = np.zeros(self.num_envs, bool)
        rewards = rewards.astype(np.float32)
        return Step(frames, rewards, terminated, truncated, nothing, first, rewards)

    def reset(self) -> Step:
        nothing = np.zeros(self.num_envs, bool)
        return self._step(np.zeros(self.num_envs), nothing, nothing, np.ones(self.num_envs, bool))

    def send(self, actions: np.ndarray) -> None:
        self.taken.append(actions)

    def recv(self) -> Step:
        first = self.over.copy()
        self.count += 1
        self.age = np.where(first, 0, self.age + 1)
        lengths = 4 + np.arange(self.num_envs) % 5
        ended = ~first & (self.age == lengths)
        truncated = ended & (np.arange(self.num_envs) % 2 == 1)
        self.over = ended
        return self._step(np.where(first, 0, self.count), ended & ~truncated, truncated, first)

    def close(self) -> None: ...


@dataclass(frozen=True)
class Counted:
    """`Counting` as a benchmark of one visit."""

    frames: int
    supervision: ClassVar[str] = "rewards"
    observation_space: ClassVar[Box] = Box((1,))
    action_space: ClassVar[Discrete] = Discrete(5)
    stack: ClassVar[int] = 4
    frame_skip: ClassVar[int] = 1
    names: ClassVar[tuple[str, ...]] = ("counted",)
    heads: ClassVar[str] = "shared"
    inputs: ClassVar[tuple[int, ...]] = (4, 1)
    life_loss: ClassVar[bool] = False

    def visits(self) -> tuple[Visit, ...]:
        return sequence(self.names, self.frames)

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None = None) -> Counting:
        return Counting(seeds.size)


def events(made: Experiment, resume: Snapshot | None = None, segments: int | None = None, compile: bool = False) -> list[Event]:
    """All events of a run, or those until so many snapshots were taken; snapshots are copied as they come."""
    kept: list[Event] = []
    run = made.agent.train(made, "cpu", compile, resume)
    for event in run:
        if isinstance(event, Snapshot):
            event = copied(event)
            segments = None if segments is None else segments - 1
        kept.append(event)
        if segments == 0:
            run.close()
    return kept


def scores(found: list[Event], kind: str) -> list[Score]:
    """The rows of one kind."""
    return [event for event in found if isinstance(event, Score) and event.kind == kind]


def copied(snapshot: Snapshot) -> Snapshot:
    counters = {name: dict(value) if isinstance(value, dict) else value for name, value in snapshot.counters.items()}
    return Snapshot({name: tensor.clone() for name, tensor in snapshot.tensors.items()}, counters)


def comparable(found: list[Event]) -> list[Any]:
    """Events as comparable values, without speed, which no two runs share."""
    plain: list[Any] = []
    for event in found:
        if isinstance(event, Snapshot):
            hashes = {name: hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest() for name, tensor in event.tensors.items()}
            plain.append((hashes, event.counters))
        elif isinstance(event, Media):
            plain.append((event[:-1], event.values.tobytes()))
        elif getattr(event, "name", "") not in COSTS:
            plain.append(event)
    return plain


def resumed_is_never_stopped(said: dict[str, Any]) -> list[Event]:
    """Resuming from every snapshot of a run gives the events until the next, bit for bit; from one in the middle, all the rest.

    Returns the events of the uninterrupted run.
    """
    made = experiment(said)
    torch.manual_seed(1)  # irrelevant to a run's result
    whole = events(made)
    places = [place for place, event in enumerate(whole) if isinstance(event, Snapshot)]
    assert len(places) >= 3
    for number, (place, after) in enumerate(pairwise(places)):
        torch.manual_seed(2)
        snapshot, rest = whole[place], number == len(places) // 2 - 1
        assert isinstance(snapshot, Snapshot)
        expected = whole[place + 1 :] if rest else whole[place + 1 : after + 1]
        assert comparable(events(made, copied(snapshot), None if rest else 1)) == comparable(expected)
    return whole


def one_by_one_is_in_a_row(said: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with fused updates reports, bit for bit, the same as with single ones; and some updates are fused."""
    made, rows = experiment(said), []
    make = Learner.updates

    def counted(self: Learner, rates: Any, batches: Any, *extras: Any, **options: Any) -> Any:
        rows.append(len(batches))
        return make(self, rates, batches, *extras, **options)

    monkeypatch.setattr(Learner, "updates", counted)
    together = comparable(events(made))
    assert max(rows) > 1
    updates = sum(rows)
    rows.clear()
    monkeypatch.setattr(learner, "MAX_FUSED_UPDATES", 1)
    assert comparable(events(made)) == together
    assert rows == [1] * updates
