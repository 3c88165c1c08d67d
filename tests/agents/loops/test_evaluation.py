"""Evaluations: their number, their tasks, and no effect on training."""

from typing import Any

import pytest
import torch

from agents.loops.replay import ReplayLoop
from agents.loops.rollout import RolloutLoop
from launch.config.parse import experiment
from plasticity_rl.records.events import Media, Metric, Score, Snapshot
from tests.training import CARTPOLE, comparable, events, resumed_is_never_stopped, scores

AGENTS = {
    "dqn": CARTPOLE["agent"],
    "pqn": "pqn:num_envs=4,rollout_length=8,epochs=1,minibatches=2",
    "ppo": "ppo:num_envs=4,rollout_length=8,epochs=1,minibatches=2",
    "impala": "impala:num_envs=4,rollout_length=8",
}


@pytest.mark.parametrize("agent", list(AGENTS))
def test_every_checkpoint_has_its_episodes_and_the_end_of_a_visit_those_of_every_task_met(agent: str) -> None:
    said = CARTPOLE | {"agent": AGENTS[agent], "benchmark": "cartpole:tasks=2,frames=200,cycles=2", "checkpoint_every": 128, "evaluate": 2}
    found = events(experiment(said))
    ends = {event.counters["number"] for event in found if isinstance(event, Snapshot)}
    assert len(ends) >= 7 and ends >= {200, 400, 600, 800}
    rows = scores(found, "evaluation")
    counted = {(row.steps, row.visit, row.task, row.member): 0 for row in rows}
    for row in rows:
        counted[row.steps, row.visit, row.task, row.member] += 1
        assert row.cycle == row.visit // 2 and row.frames == row.steps and row.score >= 8  # no pole falls earlier
    expected = {}
    for steps in ends:
        visit = (steps - 1) // 200
        tasks = range(2)[: visit + 1] if steps % 200 == 0 else [visit % 2]
        expected |= {(steps, visit, f"CartPole-{task}", member): 2 for task in tasks for member in range(2)}
    assert counted == expected
    for place, event in enumerate(found):  # a checkpoint follows its evaluations: a resumed run has them
        if isinstance(event, Snapshot):
            row = next(each for each in reversed(found[:place]) if not isinstance(each, Media | Metric))
            assert isinstance(row, Score) and row.kind == "evaluation"


@pytest.mark.parametrize("agent", list(AGENTS))
def test_training_is_the_same_with_and_without(agent: str) -> None:
    without, with_them = (
        [event for event in events(experiment(CARTPOLE | {"agent": AGENTS[agent], "evaluate": episodes}))] for episodes in (0, 2)
    )
    assert not scores(without, "evaluation")
    for kind in ("return", "cut"):
        assert scores(without, kind) == scores(with_them, kind) != []
    assert comparable([event for event in without if isinstance(event, Snapshot)]) == comparable(
        [event for event in with_them if isinstance(event, Snapshot)]
    )


def test_a_resumed_run_evaluates_what_it_would_have() -> None:
    whole = resumed_is_never_stopped(CARTPOLE | {"agent": AGENTS["ppo"], "evaluate": 2})
    assert len({row.score for row in scores(whole, "evaluation")}) > 4


@pytest.mark.parametrize(("agent", "loop"), [("dqn", ReplayLoop), ("pqn", RolloutLoop)])
def test_values_are_followed_greedily_and_members_play_their_own_episodes(agent: str, loop: Any) -> None:
    made = experiment(CARTPOLE | {"agent": f"{AGENTS[agent]},exploration_fraction=1,final_epsilon=1", "evaluate": 3})
    training, epsilons, firsts = loop(made.agent, made, "cpu", False), set(), []
    act = training.act_without_noise

    def watched(params: Any, observations: torch.Tensor, drawn: Any, shared: dict[str, torch.Tensor]) -> Any:
        epsilons.add(shared["epsilon"].item())
        firsts.append(observations.flatten(0, 1))
        return act(params, observations, drawn, shared)

    training.act_without_noise = watched
    for event in training.run(None):
        if isinstance(event, Snapshot):
            break
    assert epsilons == {0.0}
    assert len(firsts[0].unique(dim=0)) == 2 * 3  # no two begin alike


def test_a_chance_of_a_random_action_can_be_asked_for() -> None:
    made = experiment(CARTPOLE | {"agent": f"{AGENTS['dqn']},evaluation_epsilon=1", "evaluate": 20, "checkpoint_every": 200})
    rows = [row.score for row in scores(events(made), "evaluation")]
    assert len(rows) == 20 * 2 * 3 and 18 < sum(rows) / len(rows) < 27  # uniformly random actions score 22
