"""Actors of environments on the device: their episodes beside those of the same environments in a pool of the host."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.acting.actor import Actor
from agents.acting.device_actor import DeviceActor
from envs.reinforcement.control import CartPole
from envs.reinforcement.worlds import cart_pole
from envs.reinforcement.worlds.pool import DevicePool, Rules

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


def test_what_was_not_read_is_read_at_the_end() -> None:
    device = on_device(1000)
    for _ in range(40):
        device.send(torch.ones(2, 3, dtype=torch.int64))
        assert device.receive()[1] == []
    read = device.close()
    assert len(read) > 12 and max(each.ago for each in read) > 20 and [each.ago for each in read[-6:]] == [0] * 6


class Broken(cart_pole.CartPole):
    """A CartPole whose cart is nowhere."""

    def observe(self, state: Tensor) -> Tensor:
        return super().observe(state) * float("nan")


def test_a_number_that_is_not_finite_ends_the_run_where_scores_are_read() -> None:
    pool = DevicePool(Rules(Broken()), {}, np.arange(4), torch.zeros(4, dtype=torch.int64), "cpu")
    actor = DeviceActor(pool, 2, 1, 3)
    for step in range(3):
        actor.send(torch.ones(2, 2, dtype=torch.int64))
        if step < 2:
            actor.receive()
    with pytest.raises(FloatingPointError, match="an environment returned a number that is not finite in the last 3 steps"):
        actor.receive()
