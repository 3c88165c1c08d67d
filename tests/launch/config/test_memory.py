"""Words of memorising with rewards, and their sweep."""

from typing import Any

import pytest

from agents.loops.replay import ReplayLoop
from launch.config.parse import experiment
from launch.sweeps import memory, replay_ratios
from plasticity_rl.experiment import Experiment


@pytest.mark.parametrize(("word", "discount"), [("bandit-memory", 0.0), ("image-mdp-memory", 0.9)])
def test_a_member_makes_an_update_every_step_of_twelve_tasks(word: str, discount: float) -> None:
    made: Any = experiment({"benchmark": word})
    benchmark, agent, network = made.benchmark, made.agent, made.network
    assert (benchmark.tasks, benchmark.frames, benchmark.images, benchmark.length, benchmark.labels) == (12, 2000, 100, 20, "random")
    assert (agent.discount, agent.train_every, agent.batch_size, agent.min_replay, agent.target_every) == (discount, 1, 32, 100, 100)
    assert (network.depth, network.width) == (2, 64)
    visit = benchmark.visits()[0]
    assert ReplayLoop(agent, made, "cpu", False).planned_updates(visit) == 2000 - 100  # a task change clears the replay
    assert benchmark.references()[visit.task] == {"random": 2.0}
    assert Experiment.from_json(made.to_json()) == made


def test_other_agents_have_the_defaults_of_control_problems() -> None:
    ours: Any
    plain: Any
    for agent in ("c51", "ppo"):
        ours, plain = (experiment({"benchmark": benchmark, "agent": agent}) for benchmark in ("bandit-memory", "bandit"))
        assert (ours.agent, ours.network, ours.optimizer, ours.schedule) == (plain.agent, plain.network, plain.optimizer, plain.schedule)


@pytest.mark.parametrize("word", memory.TUNED)
def test_the_sweep_has_a_control_at_every_rate_and_each_method_once(word: str) -> None:
    made: list[Any] = [experiment(said) for said in memory.EXPERIMENTS if said["benchmark"] == word]
    assert len({each.key for each in made}) == len(made) and {each.members for each in made} == {10}
    rates: dict[str, list[float]] = {}
    for each in made:
        rates.setdefault(each.label, []).append(each.schedule.rate)
    assert rates.pop("none") == rates.pop("fresh") == [3e-4, 1e-3, 3e-3]
    assert rates == {label: [float(memory.TUNED[word][label])] for label in memory.TUNED[word]}


def test_high_replay_ratios_are_compared_at_equal_steps_between_resets() -> None:
    made: list[Any] = [experiment(said) for said in replay_ratios.EXPERIMENTS]
    assert [each.agent.updates_per_step for each in made] == [1, 1, 16, 16]
    assert [[reset.every // each.agent.updates_per_step for reset in each.chain] for each in made] == [[], [250], [], [250]]
    for each in made:
        loop, visits = ReplayLoop(each.agent, each, "cpu", False), each.benchmark.visits()
        planned = sum(map(loop.planned_updates, visits))
        assert planned == 6 * (600 - 100) * each.agent.updates_per_step
        assert not any(reset.clears_replay for reset in each.chain)
    assert experiment({"benchmark": "primacy-bias-bandit"}).agent == made[2].agent
