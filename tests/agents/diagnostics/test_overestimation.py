"""Overestimation: episodes added up by hand, random ones by the metric's definition, and playing agents."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from agents.diagnostics.overestimation import Overestimation
from agents.dqn import DQN
from agents.impala import IMPALA
from agents.loops.evaluation import evaluate
from agents.loops.replay import ReplayLoop
from agents.loops.rollout import RolloutLoop
from agents.ppo import PPO
from agents.pqn import PQN
from launch.config.parse import experiment
from plasticity_rl.experiment import Experiment
from plasticity_rl.metrics.function import overestimation
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.optim.schedules import Constant
from plasticity_rl.records.events import Metric
from tests.learners import generator
from tests.training import CARTPOLE, Counted, events

SIZES: dict[str, Any] = dict(num_envs=2, discount=0.5, rewards="raw")
AGENTS = {
    "dqn": (ReplayLoop, DQN(**SIZES, batch_size=2, min_replay=8)),
    "pqn": (RolloutLoop, PQN(**SIZES, rollout_length=4, minibatches=1)),
    "ppo": (RolloutLoop, PPO(**SIZES, rollout_length=4, minibatches=1)),
    "impala": (RolloutLoop, IMPALA(**SIZES, rollout_length=4)),
}


def test_whole_cut_and_shorter_episodes_are_as_the_metric_says() -> None:
    """Random values, rewards and discounts, zeros among them; returns computed backwards, episode by episode."""
    draw, lengths, cut = generator(), torch.tensor([[7, 3, 1], [4, 7, 2]]), torch.tensor([[True, False, True], [False, False, True]])
    values, rewards = torch.randn(8, 2, 3, generator=draw), torch.randn(7, 2, 3, generator=draw)
    discounts = 0.9 * (torch.rand(7, 2, 3, generator=draw) < 0.8)
    for member, episode in ((0, 1), (1, 0), (1, 1)):  # these terminate
        discounts[lengths[member, episode] - 1, member, episode] = 0.0
    bias = Overestimation(2, 3, "cpu")
    for t in range(7):
        going = t < lengths
        bias.bootstrap(values[t], cut & (t == lengths))
        bias.act(values[t], going)
        bias.receive(rewards[t], discounts[t], going)
    bias.bootstrap(values[7], cut & (lengths == 7))
    for member in range(2):
        said, came = [], []
        for episode, length in enumerate(lengths[member].tolist()):
            after = values[length, member, episode] if cut[member, episode] else torch.tensor(0.0)
            for t in reversed(range(length)):
                after = rewards[t, member, episode] + discounts[t, member, episode] * after
                said.append(values[t, member, episode])
                came.append(after)
        assert bias.mean[member].item() == pytest.approx(overestimation(torch.stack(said), torch.stack(came)).item(), abs=1e-6)


@pytest.mark.parametrize(("rewards", "expected"), [("raw", [4.125, 29.6875 / 13]), ("clip", [66.125 / 9, 98.03125 / 13])])
@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_whose_values_are_ten_everywhere(name: str, rewards: Any, expected: list[float]) -> None:
    """By hand: each member plays an episode that terminates and one that is cut, of 4 and 5 steps, the second of 6 and 7, which pay 1, 2,
    3, ...; a discount of 1/2.

    Returns of the first's are 3.25, 4.5, 5, 4 and, with 5 + 10 / 2 at last, 3.875, 5.75, 7.5, 9, 10: together 52.875 of 9 states. The
    second's are 3.75, 5.5, 7, 8, 8, 6 and 3.9375, 5.875, 7.75, 9.5, 11, 12, 12: 100.3125 of 13. Clipped, each reward is 1: 1.875, 1.75,
    1.5, 1 and 2.25, 2.5, 3, 4, 6 are 23.875; the second's are 31.96875.
    """
    loop, agent = AGENTS[name]
    made = Experiment(Counted(64), replace(agent, rewards=rewards), MLP(width=4, depth=1), Adam(), Constant(), members=2, evaluate=2)
    training = loop(made.agent, made, "cpu", False)
    head = training.network.layers[-1].name if name in ("dqn", "pqn") else "value"
    for param, value in training.learner.net.params.items():
        value.fill_(10.0 if param == f"{head}.bias" else 0.0)
    (visit,) = made.benchmark.visits()
    rows = [event for event in evaluate(training, visit, visit) if isinstance(event, Metric)]
    assert [(row.name, row.member) for row in rows] == [("overestimation", 0), ("overestimation", 1)]
    assert [row.value for row in rows] == pytest.approx(expected)


def test_values_of_divided_rewards_are_held_against_divided_returns() -> None:
    """The same episodes with halved rewards. Returns of the first's: half of 16.75, and from 2.5 + 10 / 2 back 7.5, 5.75, 4.375, 3.1875,
    2.09375; of the second's: half of 38.25, and from 3.5 + 10 / 2 back 8.5, 7.25, 6.125, 5.0625, 4.03125, 3.015625, 2.0078125."""
    agent = replace(AGENTS["ppo"][1], reward_divisor=2.0)
    made = Experiment(Counted(64), agent, MLP(width=4, depth=1), Adam(), Constant(), members=2, evaluate=2)
    training = RolloutLoop(made.agent, made, "cpu", False)
    for param, value in training.learner.net.params.items():
        value.fill_(10.0 if param == "value.bias" else 0.0)
    (visit,) = made.benchmark.visits()
    rows = [event.value for event in evaluate(training, visit, visit) if isinstance(event, Metric)]
    assert rows == pytest.approx([(90 - 8.375 - 22.90625) / 9, (130 - 19.125 - 35.9921875) / 13])


def test_rows_come_with_evaluations_of_the_task_that_is_learned_and_without_them_there_are_none() -> None:
    said = CARTPOLE | {"checkpoint_every": 200}
    assert not [event for event in events(experiment(said)) if isinstance(event, Metric) and event.name == "overestimation"]
    found = [event for event in events(experiment(said | {"evaluate": 1})) if isinstance(event, Metric) and event.name == "overestimation"]
    assert [(row.steps, row.visit, row.task, row.member) for row in found] == [
        (200 * (visit + 1), visit, f"CartPole-{visit}", member) for visit in range(2) for member in range(2)
    ]
