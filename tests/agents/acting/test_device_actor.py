"""Actors of environments on the device: their episodes beside those of the same environments in a pool of the host."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.acting.actor import Actor
from agents.acting.device_actor import DeviceActor
from agents.loops import base
from envs.reinforcement.control import CartPole
from envs.reinforcement.isolation import Containment
from envs.reinforcement.worlds import cart_pole
from envs.reinforcement.worlds.pool import DevicePool, Rules
from launch.config.parse import experiment
from plasticity_rl.records.events import Score, Snapshot, Tick
from tests.training import CARTPOLE, comparable, events

TASK = CartPole(simulator="torch", episode_steps=30)
VISIT, SEEDS = TASK.visits()[1], np.array([[3, 5, 8], [9, 14, 2]])


def on_device(read_every: int) -> DeviceActor:
    pool = TASK.device_pool(VISIT, SEEDS, 0, None, "cpu")
    assert pool is not None
    return DeviceActor(pool, 2, 1, read_every)


@pytest.mark.parametrize("read_every", [1, 7])
def test_episodes_are_those_of_the_host(read_every: int) -> None:
    device, host = on_device(read_every), Actor(partial(TASK.pool, VISIT, SEEDS, 1, 0), 2, 1, "cpu")
    found, expected = [], []
    for step in range(140):
        actions = torch.from_numpy(np.random.default_rng(step).integers(2, size=(2, 3)))
        for actor, episodes in ((device, found), (host, expected)):
            actor.send(actions)
            episodes += [(step - each.ago, each._replace(ago=0)) for each in actor.receive()[1]]
        assert torch.equal(device.observations, host.observations) and torch.equal(device.ages, host.ages)
    assert len(expected) > 20 and found == expected
    assert device.close() == host.close()


QUEUED = "impala:num_envs=4,rollout_length=32,minibatches=1"


@pytest.mark.parametrize("agent", ["ppo:num_envs=4,rollout_length=32,minibatches=2,epochs=1", CARTPOLE["agent"], QUEUED])
def test_a_run_is_that_of_the_host(agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows are equal, those of the last steps of a visit too, which fill no rollout; a queued agent's say later how many updates it
    has made, as it learns while episodes go unread."""
    made = experiment(CARTPOLE | {"agent": agent, "benchmark": "cartpole:tasks=2,frames=328,simulator=torch"})
    device = events(made)
    monkeypatch.setattr(base, "containment", lambda: Containment(isolate=True))  # its pools are still opened in this process
    host = events(made)
    if agent == QUEUED:
        device, host = ([each._replace(updates=0) if isinstance(each, Score) else each for each in rows] for rows in (device, host))
    rows = [comparable([each for each in found if not isinstance(each, Tick | Snapshot)]) for found in (device, host)]
    assert sum(isinstance(each, Score) and each.kind == "return" for each in rows[0]) > 20
    assert sorted(map(repr, rows[0])) == sorted(map(repr, rows[1]))


class Broken(cart_pole.CartPole):
    """A CartPole whose cart is nowhere."""

    def observe(self, state: Tensor) -> Tensor:
        return super().observe(state) * float("nan")


def test_a_number_that_is_not_finite_ends_the_run_where_scores_are_read() -> None:
    pool = DevicePool(Rules(Broken()), {}, np.arange(4), "cpu")
    actor = DeviceActor(pool, 2, 1, 3)
    for step in range(3):
        actor.send(torch.ones(2, 2, dtype=torch.int64))
        if step < 2:
            actor.receive()
    with pytest.raises(FloatingPointError, match="an environment returned a number that is not finite in the last 3 steps"):
        actor.receive()
