"""Small runs for tests: what an agent's stream of events says, whole or interrupted."""

import hashlib
from typing import Any

import torch

from launch.words import experiment
from plasticity_rl.checkpoint import Event, Snapshot
from plasticity_rl.experiment import Experiment

LABELS: dict[str, Any] = {
    "benchmark": "random-labels:images=60,tasks=3,updates=40",
    "agent": "supervised:batch=8,record_every=15",
    "network": "mlp:width=12,depth=2",
    "members": 2,
    "diagnose_every": 20,
    "checkpoint_every": 25,
}
CARTPOLE: dict[str, Any] = {
    "benchmark": "cartpole:tasks=2,frames=600",
    "agent": "dqn:environments=4,batch=8,replay=400,min_replay=60,target_every=10",
    "network": "mlp:width=12,depth=2",
    "members": 2,
    "diagnose_every": 20,
    "checkpoint_every": 220,
}
ATARI: dict[str, Any] = {
    "benchmark": "atari:games=Breakout+RoadRunner,frames=800",
    "agent": "dqn:environments=2,batch=2,replay=150,min_replay=40,target_every=10,train_every=20",
    "members": 2,
    "diagnose_every": 4,
    "checkpoint_every": 120,
}


def events(made: Experiment, resume: Snapshot | None = None) -> list[Event]:
    """All events of a run, uncompiled; snapshots are copied as they come."""
    kept: list[Event] = []
    for event in made.agent.train(made, "cpu", False, resume):
        if isinstance(event, Snapshot):
            event = Snapshot({name: tensor.clone() for name, tensor in event.tensors.items()}, _copy(event.facts))
        kept.append(event)
    return kept


def _copy(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, dict) else value for name, value in facts.items()}


def comparable(found: list[Event]) -> list[Any]:
    """Events as values that compare; speed, which no two runs share, is left out."""
    plain: list[Any] = []
    for event in found:
        if isinstance(event, Snapshot):
            hashes = {name: hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest() for name, tensor in event.tensors.items()}
            plain.append((hashes, event.facts))
        elif getattr(event, "name", "") != "updates_per_second":
            plain.append(event)
    return plain


def resumed_is_never_stopped(said: dict[str, Any]) -> None:
    """From every snapshot of a run, going on gives the rest of its events, bit for bit."""
    made = experiment(said)
    torch.manual_seed(1)  # what a run must not depend on
    whole = events(made)
    places = [place for place, event in enumerate(whole) if isinstance(event, Snapshot)]
    assert len(places) >= 3
    for place in places:
        torch.manual_seed(2)
        snapshot = whole[place]
        assert isinstance(snapshot, Snapshot)
        given = Snapshot({name: tensor.clone() for name, tensor in snapshot.tensors.items()}, _copy(snapshot.facts))
        assert comparable(events(made, given)) == comparable(whole[place + 1 :])
