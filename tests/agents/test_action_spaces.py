"""Which agent acts in which space of actions: refusals in one line, and floats on their way to an environment."""

from typing import Any

import numpy as np
import pytest
import torch

from agents.acting.actor import Actor
from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from tests.training import CARTPOLE, PENDULUM, Counting


def made(said: dict[str, Any], **words: Any) -> Experiment:
    return experiment(said | words)


@pytest.mark.parametrize("agent", ["dqn", "rainbow", "pqn", "impala", "ppo"])
def test_agents_of_choices_refuse_vectors(agent: str) -> None:
    """PPO's default there is gaussian; asked for a choice, it refuses like the others."""
    words = "ppo:policy=categorical,num_envs=4,rollout_length=8" if agent == "ppo" else f"{agent}:num_envs=4"
    name = {"rainbow": "DQN"}.get(agent, agent.upper())
    message = f"{name} chooses one of n actions, and EnvPool takes vectors of length 1: take sac, td3 or ppo:policy=gaussian"
    with pytest.raises(UsageError, match=f"^{message}$"):
        made(PENDULUM, agent=words)


@pytest.mark.parametrize("agent", ["sac", "td3", "ppo"])
def test_agents_of_vectors_refuse_choices(agent: str) -> None:
    words = "ppo:policy=gaussian,num_envs=4,rollout_length=8" if agent == "ppo" else PENDULUM["agent"].replace("sac", agent)
    message = f"{agent.upper()} plays vectors, and CartPole has 2 actions to choose from: take dqn, pqn, ppo or impala"
    with pytest.raises(UsageError, match=f"^{message}$"):
        made(CARTPOLE, agent=words)


@pytest.mark.parametrize("agent", ["sac", "td3"])
def test_critics_of_actions_refuse_images(agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    message = f"{agent.upper()} learns from vectors, and observations of Pictures are 4 x 84 x 84: take ppo:policy=gaussian"
    plain = made(PENDULUM, agent=PENDULUM["agent"].replace("sac", agent))

    class Pictures(type(plain.benchmark)):  # type: ignore[misc]
        inputs = (4, 84, 84)

    benchmark = Pictures(ids=("Pendulum-v1",), frames=200)
    with pytest.raises(UsageError, match=f"^{message}$"):
        Experiment(benchmark, plain.agent, plain.network, plain.optimizer, plain.schedule)


@pytest.mark.parametrize("field", ["logit_limit=10", "mixture_epsilon=0.1"])
def test_fields_of_choices_do_not_go_with_a_gaussian(field: str) -> None:
    message = f"PPO: {field.partition('=')[0]} is for policy=categorical, a choice among actions; leave it at 0 with policy=gaussian"
    with pytest.raises(UsageError, match=f"^{message}$"):
        made(PENDULUM, agent=f"ppo:policy=gaussian,num_envs=4,rollout_length=8,{field}")


def test_visits_that_end_before_the_first_update_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^a visit of 200 frames is too short to learn: min_replay takes 5000 steps$"):
        made(PENDULUM, agent="sac")


class Floats(Counting):
    """Keeps the type of what it is sent."""

    def send(self, actions: np.ndarray) -> None:
        assert actions.dtype == np.float32 and actions.shape == (self.num_envs, 3)
        super().send(actions)


def test_floats_reach_a_pool_unchanged_and_are_repeated_to_the_bit() -> None:
    pools: list[Floats] = []

    def opened() -> Floats:
        pools.append(Floats(4))
        return pools[-1]

    sent = [torch.rand(2, 2, 3, generator=torch.Generator().manual_seed(step)) * 2 - 1 for step in range(5)]
    actor, again = (Actor(opened, 2, 1, "cpu") for _ in range(2))
    for actions in sent:
        actor.send(actions)
        actor.receive()
    again.repeat(actor.sent)
    for pool in pools:
        assert len(pool.taken) == 5
        for actions, taken in zip(sent, pool.taken, strict=True):
            np.testing.assert_array_equal(actions.flatten(0, 1).numpy(), taken)
    assert torch.equal(actor.observations, again.observations)
