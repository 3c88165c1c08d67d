"""The running scale of rewards, against the plain variance of all discounted sums so far."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from agents.data.rewards import Scale
from agents.loops.base import Loop
from launch.config.parse import experiment
from plasticity_rl.records.events import Snapshot
from tests.training import CARTPOLE, events, resumed_is_never_stopped

MEMBERS, NUM_ENVS, DISCOUNT = 2, 3, 0.9
EVERYWHERE = slice(None)


def scaled(scale: Scale, rewards: np.ndarray, over: np.ndarray, columns: slice = EVERYWHERE) -> np.ndarray:
    return scale.apply(torch.from_numpy(rewards).float(), torch.from_numpy(over), columns).numpy()


def test_rewards_are_divided_by_the_deviation_of_discounted_sums() -> None:
    draw, scale = np.random.default_rng(0), Scale(MEMBERS, NUM_ENVS, DISCOUNT, "cpu")
    sums, seen = np.zeros((MEMBERS, NUM_ENVS)), [[] for _ in range(MEMBERS)]
    for _ in range(300):
        rewards, over = draw.normal(1, 5, (MEMBERS, NUM_ENVS)) * [[1], [100]], draw.random((MEMBERS, NUM_ENVS)) < 0.1
        found = scaled(scale, rewards, over)
        for member in range(MEMBERS):
            for column in range(NUM_ENVS):
                sums[member, column] = DISCOUNT * sums[member, column] + rewards[member, column]
                seen[member].append(sums[member, column])
            np.testing.assert_allclose(found[member], rewards[member] / np.std(seen[member]), rtol=1e-4)
        sums[over] = 0


def test_by_hand() -> None:
    scale = Scale(1, 2, 0.5, "cpu")
    nothing = np.zeros((1, 2), bool)
    assert scaled(scale, np.zeros((1, 2)), nothing).tolist() == [[0, 0]]  # sums 0, 0: no deviation, no division
    assert scaled(scale, np.array([[2.0, 6.0]]), ~nothing)[0] == pytest.approx(np.array([2, 6]) / 6**0.5)  # 0, 0, 2, 6: variance 10 - 4
    assert scaled(scale, np.array([[1.0, 1.0]]), nothing)[0] == pytest.approx(np.ones(2) / (38 / 9) ** 0.5)  # and 1, 1: 42 / 6 - (10 / 6)^2
    scale.begin_segment()  # sums begin again, the deviation's statistics stay
    assert scaled(scale, np.array([[1.0, 1.0]]), nothing)[0] == pytest.approx(np.ones(2) / 3.25**0.5)  # and 1, 1 again: 44 / 8 - 1.5^2
    scale.forget()
    scale.begin_segment()
    assert scaled(scale, np.array([[3.0, 1.0]]), nothing).tolist() == [[3, 1]]  # a deviation of 1


def test_pools_of_a_run_share_the_scale_but_not_the_sums() -> None:
    whole, parts = (Scale(MEMBERS, 4, DISCOUNT, "cpu") for _ in range(2))
    draw = np.random.default_rng(1)
    for _ in range(20):
        rewards, over = draw.normal(size=(MEMBERS, 4)), draw.random((MEMBERS, 4)) < 0.2
        scaled(whole, rewards, over)
        for columns in (slice(0, 2), slice(2, 4)):
            scaled(parts, rewards[:, columns], over[:, columns], columns)
    torch.testing.assert_close(whole.tensors()["rewards/moments"], parts.tensors()["rewards/moments"])
    other = Scale(MEMBERS, 4, DISCOUNT, "cpu")
    other.load(whole.tensors())
    whole.begin_segment()
    rewards, over = np.ones((MEMBERS, 4)), np.zeros((MEMBERS, 4), bool)
    np.testing.assert_array_equal(scaled(other, rewards, over), scaled(whole, rewards, over))


@pytest.mark.parametrize(("kind", "learned"), [("clip", [1, -1, 0.5, 0]), ("raw", [7, -3, 0.5, 0])])
def test_what_is_learned_from_is_clipped_or_raw(kind: str, learned: list[float]) -> None:
    made = experiment(CARTPOLE | {"agent": f"{CARTPOLE['agent']},rewards={kind}", "members": 1})
    loop = SimpleNamespace(agent=made.agent, benchmark=made.benchmark, _columns=lambda values: torch.from_numpy(values).view(1, -1))
    nothing, rewards = np.zeros(4, bool), np.array([7, -3, 0.5, 0], np.float32)
    step: Any = SimpleNamespace(
        rewards=rewards,
        clipped_rewards=rewards.clip(-1, 1),
        terminated=np.array([True, False, False, False]),
        truncated=np.array([False, True, False, False]),
        life_lost=nothing,
        first=np.array([False, False, False, True]),
    )
    found, ends, real = Loop.outcome(loop, step, EVERYWHERE)  # type: ignore[arg-type]
    assert found.tolist() == [learned] and ends.tolist() == [[1, 2, 0, 0]] and real.tolist() == [[True, True, True, False]]


@pytest.mark.parametrize("agent", ["dqn", "ppo"])
def test_a_resumed_run_goes_on_with_its_scale(agent: str) -> None:
    words = CARTPOLE["agent"] if agent == "dqn" else "ppo:num_envs=4,rollout_length=10,epochs=1,minibatches=2"
    whole = resumed_is_never_stopped(CARTPOLE | {"agent": f"{words},rewards=scale"})
    moments = [event.tensors["rewards/moments"] for event in whole if isinstance(event, Snapshot)]
    steps = [event.counters["number"] // 4 for event in whole if isinstance(event, Snapshot)]
    assert [moment[0].tolist() for moment in moments] == [[4 * step] * 2 for step in steps]  # all sums since the run began
    assert all((moment[2] > 0).all() for moment in moments)


def test_a_scale_per_visit_forgets_the_last_task() -> None:
    found = {}
    for kind in ("scale", "scale-per-visit"):
        made = experiment(CARTPOLE | {"agent": f"{CARTPOLE['agent']},rewards={kind}", "checkpoint_every": 200})
        found[kind] = [event.tensors["rewards/moments"][0].tolist() for event in events(made) if isinstance(event, Snapshot)]
    assert found == {"scale": [[200, 200], [400, 400]], "scale-per-visit": [[200, 200], [200, 200]]}
