"""A run that is told to stop saves its state within a segment, and goes on from it as if it had never stopped."""

from typing import Any

import pytest
import torch

from agents.acting.actor import Actor
from agents.loops import base
from launch.config.parse import experiment
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.events import Dialogue, Event, Score, Snapshot, Tick
from tests.training import ATARI, CARTPOLE, LABELS, PENDULUM, comparable, copied, events

AGENTS = {
    "dqn": CARTPOLE["agent"],
    "rainbow": "rainbow:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10",
    "pqn": "pqn:num_envs=4,rollout_length=8,epochs=2,minibatches=2",
    "ppo": "ppo:num_envs=4,rollout_length=8,epochs=2,minibatches=2,rewards=scale",
    "two pools": "ppo:num_envs=4,rollout_length=8,epochs=2,minibatches=2,num_pools=2",
    "impala": "impala:num_envs=4,rollout_length=8,minibatches=2",
}


GAUSSIAN = "ppo:num_envs=4,rollout_length=8,epochs=2,minibatches=2,rewards=scale,policy=gaussian"
CONTINUOUS = {
    "sac": PENDULUM["agent"] + ",rewards=scale",
    "td3": PENDULUM["agent"].replace("sac", "td3"),
    "ppo": GAUSSIAN,
    "two pools": f"{GAUSSIAN},num_pools=2",
}


def stopped(made: Experiment, resume: Snapshot | None, ticks: int) -> tuple[list[Event], Snapshot | None]:
    """Events until the snapshot that follows `ticks` ticks, and this snapshot; None if the run ends before."""
    found: list[Event] = []
    run = made.agent.train(made, "cpu", False, resume)
    talk = Dialogue(run)
    for event in talk:
        ticks -= isinstance(event, Tick)
        if talk.answer and isinstance(event, Snapshot):
            run.close()  # type: ignore[attr-defined]
            return found, copied(event)
        talk.answer = ticks <= 0
        found.append(copied(event) if isinstance(event, Snapshot) else event)
    return found, None


def stopped_is_never_stopped(made: Experiment, ticks: int) -> int:
    """A run that is stopped and resumed every so many ticks has the events of one that is not. Returns the number of stops."""
    whole = events(made)
    parts: list[Event] = []
    resume: Snapshot | None = None
    stops = 0
    while True:
        torch.manual_seed(stops)  # irrelevant to a run's result
        found, resume = stopped(made, resume, ticks)
        parts += found
        if resume is None:
            break
        if resume.counters["number"] in [event.counters["number"] for event in whole if isinstance(event, Snapshot)]:
            parts.append(resume)  # a checkpoint that was due anyway
        stops += 1
    assert comparable([event for event in parts if not isinstance(event, Tick)]) == comparable(
        [event for event in whole if not isinstance(event, Tick)]
    )
    return stops


@pytest.mark.parametrize("agent", AGENTS)
def test_agents_that_act(agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "TICK", 1)
    made = experiment(CARTPOLE | {"agent": AGENTS[agent], "chain": ["nap", "redo:every=7"], "probe_every": 30, "probe_updates": 3})
    assert stopped_is_never_stopped(made, 13) >= 4


@pytest.mark.parametrize("agent", AGENTS)
def test_environments_on_the_device(agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their state is in the snapshot: no step is played again."""
    monkeypatch.setattr(base, "TICK", 1)
    monkeypatch.setattr(Actor, "repeat", None)
    words = f"{CARTPOLE['benchmark']},simulator=torch,shifts=offset+relabel+noise,gradual=0.5"
    assert stopped_is_never_stopped(experiment(CARTPOLE | {"agent": AGENTS[agent], "benchmark": words}), 13) >= 4


@pytest.mark.parametrize("agent", ["sac", "ppo", *(pytest.param(each, marks=pytest.mark.long) for each in ("td3", "two pools"))])
def test_agents_of_continuous_actions(agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pools play the floats that they were sent again, to the bit."""
    monkeypatch.setattr(base, "TICK", 1)
    said = PENDULUM | {"benchmark": "envpool:ids=Pendulum-v1,frames=120", "agent": CONTINUOUS[agent], "diagnose_every": 10}
    assert stopped_is_never_stopped(experiment(said), 9) >= 2


@pytest.mark.long
def test_after_every_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "TICK", 1)
    assert stopped_is_never_stopped(experiment(CARTPOLE | {"agent": AGENTS["ppo"]}), 1) >= 10


@pytest.mark.long
def test_within_a_segment_of_a_game(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "TICK", 1)
    assert stopped_is_never_stopped(experiment(ATARI | {"members": 1}), 23) >= 4


def test_streams() -> None:
    assert stopped_is_never_stopped(experiment(LABELS | {"chain": ["nap", "reset"]}), 1) >= 6


def test_a_benchmark_that_changes_gradually(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "TICK", 1)
    said: dict[str, Any] = CARTPOLE | {"benchmark": "cartpole:tasks=2,frames=200,shifts=offset+noise,gradual=0.5"}
    assert stopped_is_never_stopped(experiment(said), 5) >= 6


def test_the_actions_of_the_segment_are_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "TICK", 1)
    made = experiment(CARTPOLE)
    found, snapshot = stopped(made, None, 30)
    assert snapshot and snapshot.counters["number"] == 120 and snapshot.counters["began"] == 92
    assert snapshot.tensors["sent/0"].shape == (7, 2 * 4) and snapshot.tensors["sent/0"].dtype == torch.uint8
    assert not any(name.startswith("sent/") for event in events(made) if isinstance(event, Snapshot) for name in event.tensors)
    assert any(isinstance(event, Score) for event in found)


def test_continuous_actions_of_the_segment_are_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "TICK", 1)
    said = PENDULUM | {"benchmark": "envpool:ids=Pendulum-v1,frames=120"}
    _, snapshot = stopped(experiment(said), None, 5)
    assert snapshot and snapshot.counters["number"] == 20
    sent = snapshot.tensors["sent/0"]
    assert sent.shape == (5, 2 * 4, 1) and sent.dtype == torch.float32 and len(sent.unique()) == 40 and sent.abs().max() <= 1
