"""Free-running actors: two rollouts ahead of the learner, with a reported lag."""

from typing import Any

import pytest

from agents.acting.remote import ActorGroup
from agents.dqn import DQN
from agents.loops.replay import ReplayLoop
from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Metric
from tests.agents.acting.backends import ACTORS, MEMBERS, NUM_ENVS, ROLLOUT, WIDTH, InTurn, made
from tests.training import scores


def free_loop(dies: set[tuple[int, int, int]]) -> tuple[ReplayLoop, InTurn, list]:
    agent = DQN(num_envs=NUM_ENVS, batch_size=4, replay=600, min_replay=30, rollout_length=ROLLOUT, rewards="raw", final_epsilon=1.0)
    what = made(agent, 240, checkpoint_every=120, diagnose_every=10, free_running=True)
    loop = ReplayLoop(agent, what, "cpu", False)
    backend = InTurn(what, False, dies)
    loop.actors = ActorGroup(backend, ACTORS)
    return loop, backend, list(loop.run(None))


def test_two_rollouts_are_ahead_and_their_lag_is_told() -> None:
    loop, backend, found = free_loop(set())
    done = {}
    for step in range(NUM_ENVS, 240 + 1, NUM_ENVS):
        rows = step // NUM_ENVS
        due = step // 4 - (step - NUM_ENVS) // 4
        done[rows] = done.get(rows - 1, 0) + due * ((rows - 1 + (step > 120)) * NUM_ENVS >= 30)
    segments = (0, 20)
    expected = {}
    for segment in segments:  # a segment starts with two requests; each rollout taken adds one
        for place in range(4):
            expected[segment + place * ROLLOUT] = (
                done.get(segment + max(place - 2, 0) * ROLLOUT, 0) if segment else done.get(max(place - 2, 0) * ROLLOUT, 0)
            )
    versions = {tag.sequence: tag.version for tag in backend.weights}
    assert versions == expected
    lags = [event.value for event in found if isinstance(event, Metric) and event.name == "policy_lag_highest" and event.member == 0]
    assert max(lags) == max(done[sequence] - version for sequence, version in versions.items() if sequence) and len(lags) > 1
    assert loop.replay.written == 240 // NUM_ENVS + 2  # every step once, and the last frames of two segments


def test_all_that_a_dead_actor_had_before_it_is_played_by_the_next() -> None:
    loop, backend, found = free_loop({(1, 5, 0)})
    assert backend.started[ACTORS:] == [(1, 1)]
    assert sorted(tag[:3] for tag in backend.weights) == sorted(
        (actor, int(actor == 1 and sequence >= 5), sequence) for actor in range(ACTORS) for sequence in range(0, 40, ROLLOUT)
    )
    assert loop.replay.written == 240 // NUM_ENVS + 2
    assert len([row for row in scores(found, "cut") if row.steps == 5 * NUM_ENVS]) == MEMBERS * WIDTH


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"agent": "ppo", "actors": 2}, "PPO does not correct for the lag of its actors: free_running is for dqn, sac, td3 and impala"),
        ({"agent": "dqn"}, "free_running needs remote actors, but actors is 0"),
        ({"agent": "dqn", "actors": 2, "free_running": "yes"}, "free_running"),
    ],
)
def test_what_cannot_run_freely_is_refused(said: dict[str, Any], wrong: str) -> None:
    with pytest.raises(UsageError, match=wrong):
        experiment({"benchmark": "cartpole", "free_running": True} | said)
