"""Defaults of continual control: the published protocol's numbers, for its own agent alone."""

import pytest

from agents.loops.rollout import RolloutLoop
from launch.config.parse import experiment
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.optim.schedules import Constant


@pytest.mark.parametrize("problem", ["cartpole", "acrobot", "lunarlander", "mountaincar"])
def test_continual_control_has_the_papers_protocol(problem: str) -> None:
    """TRAC's and C-CHAIN's code: 200 iterations a task, 800 steps each, 5 epochs of 25 minibatches of 32."""
    made = experiment({"benchmark": f"continual-{problem}"})
    agent, network = made.agent, made.network
    assert (agent.num_envs * agent.rollout_length, agent.epochs, agent.batch_size) == (800, 5, 32)
    assert (agent.discount, agent.gae_lambda, agent.clip_range, agent.entropy_coef, agent.reward_divisor) == (0.99, 0.95, 0.2, 0.01, 20.0)
    assert agent.value_coef * 0.5 == 0.5 and not agent.value_clip and agent.value_targets == "returns" and agent.rewards == "raw"
    assert agent.separate and agent.advantage_norm == "rollout"
    assert (network.width, network.depth, network.activation, network.slope, network.norm) == (256, 3, "leaky-relu", 0.1, "none")
    assert (made.optimizer, made.schedule) == (Adam(), Constant(rate=1e-3))
    visits = made.benchmark.visits()
    assert [visit.budget // 800 for visit in visits] == [200] * 10
    assert RolloutLoop(agent, made, "cpu", False).planned_updates(visits[0]) == 25_000 == made.probe_every


def test_settings_of_the_same_agent_are_added_to_the_protocol() -> None:
    made = experiment({"benchmark": "continual-cartpole", "agent": "ppo:entropy_floor=0.1", "network": "mlp:width=64"})
    assert made.agent.separate and made.agent.entropy_floor == 0.1 and made.optimizer == Adam()
    assert (made.network.width, made.network.depth, made.network.slope) == (64, 3, 0.1)


def test_other_agents_have_the_defaults_of_control_problems() -> None:
    for agent in ("dqn", "pqn", "impala"):
        ours, plain = (experiment({"benchmark": benchmark, "agent": agent}) for benchmark in ("continual-cartpole", "cartpole"))
        assert (ours.agent, ours.network, ours.optimizer, ours.schedule) == (plain.agent, plain.network, plain.optimizer, plain.schedule)


def test_sequences_of_small_environments() -> None:
    """The words' own agent, and the defaults of control problems for others."""
    for word, actions in (("minigrid-4", (7, 7, 7, 3)), ("jumanji-3", (4, 5, 4))):
        made = experiment({"benchmark": word})
        assert type(made.agent).__name__ == "PPO" and made.agent.rewards == "scale-per-visit"
        assert made.benchmark.num_actions == actions and [visit.budget for visit in made.benchmark.visits()] == [32_768] * 2 * len(actions)
        assert len(made.benchmark.references()) == len(actions)
        for agent in ("dqn", "pqn", "impala"):
            ours, plain = (experiment({"benchmark": benchmark, "agent": agent}) for benchmark in (word, "cartpole"))
            assert (ours.agent, ours.network, ours.schedule) == (plain.agent, plain.network, plain.schedule)


def test_nonstationary_catch_is_catch_untold() -> None:
    made = experiment({"benchmark": "nonstationary-catch"})
    assert made == experiment({"benchmark": "catch:told=false,tasks=20,frames=8192", "checkpoint_every": 8_192})
