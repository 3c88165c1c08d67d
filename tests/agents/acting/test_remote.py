"""Remote actors without Ray, in this process: assignment of rollouts and weights."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from agents.acting import ray_actors
from agents.acting.messages import RolloutId, RolloutRequest, flat
from agents.acting.remote import ActorGroup
from agents.acting.worker import RolloutWorker
from agents.dqn import DQN
from agents.heads import log_probability
from agents.impala import IMPALA
from agents.loops.replay import ReplayLoop
from agents.loops.rollout import RolloutLoop
from agents.ppo import PPO
from envs.reinforcement.backends.pool import Opening
from envs.reinforcement.control import CartPole
from launch.__main__ import main
from launch.bench import actors
from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.events import Snapshot
from tests.agents.acting.backends import ACTORS, MEMBERS, NUM_ENVS, ROLLOUT, WIDTH, Here, Scored, Two, Watched, made, replay_loop
from tests.learners import Small
from tests.training import CARTPOLE, PENDULUM, comparable, events, resumed_is_never_stopped, scores

AGENTS = {
    "dqn": CARTPOLE["agent"] + ",rollout_length=3",
    "often": CARTPOLE["agent"] + ",rollout_length=3,train_every=1,updates_per_step=3",
    "rainbow": "rainbow:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10,rollout_length=4",
    "pqn": "pqn:num_envs=4,rollout_length=8,epochs=1,minibatches=2",
    "ppo": "ppo:num_envs=4,rollout_length=8,epochs=1,minibatches=2,rewards=scale",
    "impala": "impala:num_envs=4,rollout_length=8,minibatches=2",
}


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Here]]:
    """In-process actors for runs."""
    kept: list[Here] = []

    def hire(experiment: Experiment, compile: bool, bootstraps: bool) -> ActorGroup:
        kept.append(Here(experiment, bootstraps))
        return ActorGroup(kept[-1], experiment.actors)

    monkeypatch.setattr(ray_actors, "hire", hire)
    yield kept
    assert all(backend.closed for backend in kept)


@pytest.mark.parametrize("agent", ["rainbow", "ppo"])
def test_workers_choose_among_a_tasks_own_actions(agent: str, stages: list[Here]) -> None:
    two = "gymnasium:ids=CartPole-v1+Acrobot-v1,pad=true,kwargs=max_episode_steps=12,frames=160"
    found = events(experiment(CARTPOLE | {"agent": AGENTS[agent], "actors": 2, "benchmark": two}))  # a pool refuses other actions
    assert {row.task for row in scores(found, "return")} == {"CartPole-v1", "Acrobot-v1"} and stages


@pytest.mark.parametrize("agent", list(AGENTS))
def test_a_resumed_run_is_one_that_was_never_stopped(agent: str, stages: list[Here]) -> None:
    whole = resumed_is_never_stopped(CARTPOLE | {"agent": AGENTS[agent], "actors": 2, "evaluate": 1})
    inline = events(experiment(CARTPOLE | {"agent": AGENTS[agent], "evaluate": 1}))
    for kind in ("cut", "evaluation"):  # equal numbers of steps and updates
        mine, theirs = ([replace_score(row) for row in scores(found, kind)] for found in (whole, inline))
        assert sorted(mine) == sorted(theirs) != []


@pytest.mark.parametrize("place", ["here", "remote"])
def test_an_episode_has_the_benchmarks_score_where_that_is_no_return(place: str) -> None:
    """Environment i has episodes of 4 + i % 5 steps, of which all but the last score a half."""
    if place == "remote":
        _, _, found = replay_loop(set(), Scored)
        width = WIDTH
    else:
        agent = DQN(num_envs=NUM_ENVS, batch_size=4, replay=600, min_replay=30, final_epsilon=1.0)
        found, width = events(replace(made(agent, 240, Scored), actors=0)), NUM_ENVS
    ended = scores(found, "return")
    lengths = {member: {4 + (member * width + rest) % 5 for rest in range(width)} for member in range(MEMBERS)}
    assert {row.member for row in ended} == {*range(MEMBERS)} and len(ended) > 20
    for row in ended:
        assert row.score in {1 + 0.5 * (length - 1) for length in lengths[row.member]}


@pytest.mark.parametrize("agent", ["sac", pytest.param("ppo", marks=pytest.mark.long)])
def test_a_resumed_run_of_continuous_actions_is_one_that_was_never_stopped(agent: str, stages: list[Here]) -> None:
    words = PENDULUM["agent"] + ",rollout_length=5" if agent == "sac" else f"{AGENTS['ppo']},policy=gaussian"
    said = PENDULUM | {"benchmark": "envpool:ids=Pendulum-v1,frames=160", "checkpoint_every": 60, "agent": words, "actors": 2}
    whole = resumed_is_never_stopped(said | {"diagnose_every": 1000})
    inline = events(experiment(said | {"actors": 0}))
    mine, theirs = ([replace_score(row) for row in scores(found, "cut")] for found in (whole, inline))
    assert sorted(mine) == sorted(theirs) != []


@pytest.mark.parametrize("agent", ["dqn", "ppo"])
def test_pools_know_where_in_the_run_they_open(agent: str, stages: list[Here], monkeypatch: pytest.MonkeyPatch) -> None:
    openings: list[Opening] = []
    pool = CartPole.pool
    monkeypatch.setattr(CartPole, "pool", lambda self, *given: openings.append(given[4]) or pool(self, *given))
    for count in (0, 2):
        openings.clear()
        found = events(experiment(CARTPOLE | {"agent": AGENTS[agent], "actors": count}))
        ends = [event.counters["number"] for event in found if isinstance(event, Snapshot)]
        # A segment begins where the last ended; a step of the pool is one of the four environments, even if an actor has two.
        assert openings == [Opening(step, 4) for step in (0, *ends[:-1]) for _ in range(max(count, 1))] and len(ends) > 3


def replace_score(row: Any) -> Any:
    return row._replace(score=0.0)


@pytest.mark.parametrize("agent", ["dqn", "ppo"])
def test_what_arrives_again_or_from_the_dead_is_dropped(agent: str) -> None:
    found = []
    for twice in (False, True):
        what = experiment(CARTPOLE | {"agent": AGENTS[agent], "actors": 2})
        loop = (ReplayLoop if agent == "dqn" else RolloutLoop)(what.agent, what, "cpu", False)
        loop.actors = ActorGroup(Here(what, loop.bootstraps, twice=twice), 2)
        found.append(comparable([event for event in loop.run(None) if not hasattr(event, "tensors")]))
    assert found[0] == found[1]


@pytest.mark.parametrize(("agent", "updates"), [(PPO, 6), (IMPALA, 2)])
def test_weights_are_those_from_before_the_rollout_that_was_learned_from_last(agent: Any, updates: int) -> None:
    more: Any = dict(epochs=3) if agent is PPO else {}
    loop = Watched(agent(num_envs=NUM_ENVS, rollout_length=ROLLOUT, minibatches=2, **more), 6, checkpoint_every=4 * ROLLOUT * NUM_ENVS)
    versions = [0, 0, 1, 2, 4, 4]  # rollouts learned from; the second segment begins with the fifth
    assert sorted({(tag.sequence, tag.version) for tag in loop.backend.weights}) == [
        (ROLLOUT * place, updates * version) for place, version in enumerate(versions)
    ]
    assert len(loop.backend.weights) == ACTORS * len(versions) and {tag.incarnation for tag in loop.backend.weights} == {0}
    born = flat({name: param - 1e-3 * 6 * updates for name, param in loop.learner.net.params.items()})
    for tag, weights in loop.backend.weights.items():
        np.testing.assert_allclose(weights, born + 1e-3 * tag.version, atol=1e-6)


def test_rollouts_are_put_together_in_the_actors_order_and_probabilities_are_those_of_the_weights_that_acted() -> None:
    loop = Watched(IMPALA(num_envs=NUM_ENVS, rollout_length=ROLLOUT, rewards="raw"), 4)
    assert len(loop.learned) == 4
    names = sorted(loop.learner.net.params)
    for place, batch in enumerate(loop.learned):
        inputs = batch["inputs"].view(MEMBERS, ROLLOUT + 1, NUM_ENVS, 4, 1)
        for member in range(MEMBERS):
            for column in range(NUM_ENVS):
                actor, rest = divmod(column, WIDTH)
                local = member * WIDTH + rest  # each actor's pool numbers its own environments
                weights, begins, params = loop.backend.weights[RolloutId(actor, 0, place * ROLLOUT, max(place - 1, 0))], 0, {}
                for name in names:
                    stacked = loop.learner.net.params[name]
                    params[name] = torch.tensor(weights[begins : begins + stacked.numel()]).view_as(stacked)[member]
                    begins += stacked.numel()
                for t in range(ROLLOUT + 1):
                    assert inputs[member, t, column, -1, 0] == 1000 * local + place * ROLLOUT + t
                    if t == ROLLOUT:
                        continue
                    count = place * ROLLOUT + t + 1
                    ignored = count % (5 + local % 5) == 0
                    assert batch["real"][member, t, column] == (not ignored)
                    assert batch["rewards"][member, t, column] == (0 if ignored else count)
                    logits = loop.network.apply(params, inputs[member, t, column][None])[0][:, :-1]
                    expected = log_probability(logits, batch["actions"][member, t, column][None])[0]
                    torch.testing.assert_close(batch["log_probabilities"][member, t, column], expected, rtol=1e-5, atol=1e-5)


def test_ppo_learns_from_the_values_and_probabilities_of_its_actors() -> None:
    agent = PPO(num_envs=NUM_ENVS, rollout_length=ROLLOUT, epochs=1, minibatches=1, rewards="raw")
    found = []
    for what in (agent, IMPALA(num_envs=NUM_ENVS, rollout_length=ROLLOUT, rewards="raw")):  # weights move alike in both
        found.append(torch.stack([batch["log_probabilities"].flatten(1).sort(-1).values for batch in Watched(what, 4).learned]))
    torch.testing.assert_close(*found)
    loop = Watched(agent, 4)
    for place, batch in enumerate(loop.learned):
        weights = loop.backend.weights[RolloutId(0, 0, place * ROLLOUT, max(place - 1, 0))]
        delta = float(weights[0]) - flat(loop.learner.net.params)[0]
        params = {name: param + delta for name, param in loop.learner.net.params.items()}
        for member in range(MEMBERS):
            one = {name: param[member] for name, param in params.items()}
            values = loop.network.apply(one, batch["inputs"][member])[0][:, -1]
            torch.testing.assert_close(batch["values"][member], values, rtol=1e-4, atol=1e-3)


def test_replay_holds_what_was_played_row_by_row() -> None:
    loop, backend, _ = replay_loop(set())
    data, real = loop.replay.data, loop.replay.real.values
    assert loop.replay.written == 240 // NUM_ENVS + 1 and len(backend.weights) == 8 * ACTORS
    for row in range(loop.replay.written - 1):
        for member in range(MEMBERS):
            for column in range(NUM_ENVS):
                local = member * WIDTH + column % WIDTH
                length = 4 + local % 5
                over, ignored = (row + 2) % (length + 1) == 0, (row + 1) % (length + 1) == 0
                assert data["frames"][row, member, column, 0] == 1000 * local + row
                assert data["ages"][row, member, column] == min(row % (length + 1), 3)
                assert data["rewards"][row, member, column] == (0 if ignored else row + 1)
                ends = 0 if not over else 2 if local % 2 else 1
                assert data["step_type"][row, member, column] == (ends or 2 * (row == loop.replay.written - 2))
                assert real[member, row * NUM_ENVS + column] == (not ignored)


def test_updates_are_as_many_as_without_actors_and_versions_are_a_rollout_old() -> None:
    loop, backend, _ = replay_loop(set())
    done = {}
    for step in range(NUM_ENVS, 240 + 1, NUM_ENVS):  # an update every 4 steps, once 30 have a known outcome
        rows = step // NUM_ENVS
        due = step // 4 - (step - NUM_ENVS) // 4
        done[rows] = done.get(rows - 1, 0) + due * ((rows - 1) * NUM_ENVS >= 30)
    assert loop.learner.ticks["update"] == done[40]
    versions = {tag.sequence: tag.version for tag in backend.weights}
    assert versions == {sequence: done.get(sequence - ROLLOUT, 0) for sequence in range(0, 40, ROLLOUT)}


def test_no_frame_of_a_task_is_stored_under_another_and_pools_end_with_a_visit() -> None:
    loop, backend, _ = replay_loop({(0, 40, 0)}, Two, 240, replay_at_switch="keep")
    tasks, frames = loop.replay.data["task"][:82], loop.replay.data["frames"][:82, :, :, 0]
    real = loop.replay.real.values[:, : 82 * NUM_ENVS].view(MEMBERS, 82, NUM_ENVS).movedim(0, 1)
    assert loop.replay.written == 82 and (real.sum() > 500)
    assert torch.equal(tasks[real > 0] == 1, frames[real > 0] < 0)
    assert (frames[:41] >= 0).all() and (frames[41:] < 0).all()
    assert all(worker._actor is None for worker in backend._workers.values())


def test_actors_have_streams_and_environments_of_their_own() -> None:
    what = experiment(CARTPOLE | {"agent": "ppo:num_envs=4,rollout_length=8,epochs=1,minibatches=2", "actors": 2})
    visit = what.benchmark.visits()[0]
    request = RolloutRequest(RolloutId(0, 0, 0, 0), visit, 0, 200, 0, 8, False, False, np.ones(2, np.float32))
    played = {}
    for actor, incarnation in ((0, 0), (0, 1), (1, 0), (0, 0)):
        worker = RolloutWorker(what, actor, incarnation, False, True)
        weights = np.zeros(sum(param.numel() for param in worker._params.values()), np.float32)
        rollout = worker.play(weights, request)
        key = rollout.outputs["actions"].tobytes(), rollout.frames[0].tobytes()
        assert played.setdefault((actor, incarnation), key) == key
        assert rollout.frames.flags.c_contiguous and rollout.frames.shape == (9, 2, 2, 4)
        again = worker.play(weights, request._replace(id=RolloutId(0, 0, 8, 0), follows=True, last=True))
        np.testing.assert_array_equal(again.frames[0], rollout.frames[8])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        first, second = list(played.values())[one], list(played.values())[other]
        assert first[0] != second[0] and first[1] != second[1]


def test_the_benchmark_counts_steps_and_the_time_in_which_the_learner_waits(stages: list[Here], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(actors, "Nature", Small)
    quick, slow = (actors.run(actors.Stub(seconds), 1, 0.2) for seconds in (0.0, 0.02))
    assert slow.learning is not None and quick.learning is not None and 0 <= slow.learning <= 1
    assert slow.speed < actors.NUM_ENVS / 0.02 and slow.learning < quick.learning
    assert main(["bench", "actors", "--actors", "0"]) == main(["bench", "actors", "--seconds", "0"]) == 2


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"benchmark": "random-labels", "actors": 1}, "Supervised does not act"),
        ({"benchmark": "cartpole", "actors": 3}, "8 environments cannot be shared equally by 3 actors"),
        ({"benchmark": "cartpole", "agent": "ppo:num_pools=2", "actors": 2}, "with actors, num_pools must be 1"),
        ({"benchmark": "cartpole", "actors": -1}, "actors must lie in"),
        ({"benchmark": "cartpole", "agent": "dqn:rollout_length=0"}, "rollout_length must lie in"),
    ],
)
def test_what_cannot_be_is_refused(said: dict[str, Any], wrong: str) -> None:
    with pytest.raises(UsageError, match=wrong):
        experiment(said)


def test_actors_are_part_of_what_a_run_is() -> None:
    one = experiment({"benchmark": "cartpole"})
    two = experiment({"benchmark": "cartpole", "actors": 2})
    assert one.key != two.key and one.setting != two.setting and two == replace(one, actors=2)
    assert Experiment.from_json(two.to_json()) == two
