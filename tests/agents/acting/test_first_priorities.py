"""Initial priorities: a remote actor computes them before the learner sees its steps (Ape-X)."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from agents.acting.messages import RolloutId, RolloutRequest
from agents.acting.worker import RolloutWorker
from agents.data.replay import Replay
from agents.data.transitions import StepType
from agents.dqn import DQN
from agents.loops.replay import HIGHEST
from plasticity_rl.interventions import assemble
from tests.agents.acting.backends import MEMBERS, made, replay_loop


@pytest.mark.parametrize("value", ["scalar", "c51", "two-hot", "iqn"])
@pytest.mark.parametrize("steps", [1, 3])
def test_they_are_the_losses_of_an_update_that_looked_at_the_same(value: Any, steps: int) -> None:
    """Comparison with `DQN.loss` on a plain loop's transitions, the acting network as its own target."""
    agent = DQN(
        num_envs=2, replay=100, min_replay=8, value=value, num_atoms=7, fractions=8, n_step=steps, discount=0.9, priority_exponent=1.0
    )
    what = made(DQN(num_envs=6, replay=100, min_replay=8), 240)
    network, _ = assemble(what.network, what.optimizer, (), what.benchmark.inputs, agent.heads(what.benchmark))
    draw = torch.Generator().manual_seed(0)
    params = network.init(draw)
    length, width = 9, 2
    seen = torch.randn(length + 1, width, 4, 1, generator=draw)
    shared = {"epsilon": torch.tensor(0.5), "task": torch.tensor(0)}
    said = [agent.act(network, params, each, {"uniform": torch.rand(width, 2, generator=draw)}, shared) for each in seen]
    actions, outputs = (torch.stack([each[name] for each in said]) for name in ("actions", "outputs"))
    rewards = torch.randn(length, width, generator=draw)
    ends = torch.zeros(length, width, dtype=torch.int64)
    ends[2, 0], ends[4, 1], ends[7, 1] = StepType.TERMINATED, StepType.TRUNCATED, StepType.TERMINATED
    rows = []
    for t in range(length):
        for column in range(width):
            total, power, at = 0.0, 1.0, t
            for _ in range(steps):
                if at == length:
                    break
                total += power * float(rewards[at, column])
                power *= 0.9 * (ends[at, column] != StepType.TERMINATED)
                at += 1
                if ends[at - 1, column] != StepType.CONTINUES:
                    break
            rows.append((seen[t, column], actions[t, column], total, float(power), seen[at, column]))
    inputs, taken, returns, discounts, after = zip(*rows, strict=True)
    batch = {
        "inputs": torch.stack(inputs),
        "actions": torch.stack(taken),
        "returns": torch.tensor(returns),
        "discounts": torch.tensor(discounts),
        "next_inputs": torch.stack(after),
        "weights": torch.ones(len(rows)),
        "task": torch.zeros(len(rows), dtype=torch.int64),
    }
    if value == "iqn":
        batch["fractions"] = ((torch.arange(8) + 0.5) / 8).expand(3, len(rows), 8)
    expected = agent.loss(network, params, batch, params)[1]["errors"].view(length, width)
    torch.testing.assert_close(agent.first_errors(outputs, actions[:-1], rewards, ends), expected)
    if value == "iqn":  # twice as many fractions in the learner sum over twice as many
        wider = replace(agent, fractions=16)
        torch.testing.assert_close(wider.first_errors(outputs, actions[:-1], rewards, ends), 2 * expected)


def test_they_stand_in_the_replay_until_a_step_is_replayed() -> None:
    loop, _, _ = replay_loop(set(), priority_exponent=1.0, v_max=1e4)
    known = loop.replay.priorities
    assert known is not None
    real = loop.replay.real.values > 0
    assert (known.values[~real] == 0).all()
    found = known.values[real]
    assert found.max() <= HIGHEST and found.unique().numel() > 20  # without actors' losses all unreplayed steps would be alike
    fresh = Replay(1, 2, 20, (1,), "float32", 1, True, "cpu")
    nothing = torch.zeros(1, 2, dtype=torch.int64)
    fresh.write_frames(torch.zeros(1, 2, 1), nothing, nothing, 0)
    fresh.write_outcome(nothing.float(), nothing, torch.tensor([[True, False]]), torch.tensor([[0.25, 7.0]]))
    assert fresh.priorities is not None and fresh.priorities.values[0, :2].tolist() == [0.25, 0.0]


def test_rewards_are_judged_as_the_learner_will_learn_from_them() -> None:
    """A network of zeros predicts 0, so a step's loss is that of its reward."""
    for rewards, scale, expected in (("raw", 1.0, [1.5, 2.5]), ("clip", 1.0, [0.5, 0.5]), ("scale", 2.0, [0.5, 1.0])):
        what = made(DQN(num_envs=6, replay=100, min_replay=8, priority_exponent=1.0, rewards=rewards), 240)  # type: ignore[arg-type]
        worker = RolloutWorker(what, 0, 0, False, True)
        weights = np.zeros(sum(param.numel() for param in worker._params.values()), np.float32)
        scales = np.full(MEMBERS, scale, np.float32)
        tag = RolloutId(0, 0, 0, 0)
        rollout = worker.play(weights, RolloutRequest(tag, what.benchmark.visits()[0], 0, 240, 0, 5, False, False, scales))
        # rewards are 1, 2, ...; Huber losses of the second and third step: half a square up to 1, then the number less a half
        assert "outputs" not in rollout.outputs
        assert rollout.outputs["errors"][1:3, 0, 0].tolist() == pytest.approx(expected)
