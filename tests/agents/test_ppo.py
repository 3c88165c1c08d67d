"""PPO's fields: separate networks, normalisation, value targets, and arms that sustain exploration."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, Normal

from agents.heads import log_probability, policy_logits
from agents.ppo import PPO
from launch.__main__ import main
from launch.config.parse import experiment
from plasticity_rl.networks.layers import HeadSpec, connected
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.records.checkpoint import load_latest
from plasticity_rl.records.events import Metric, Snapshot
from plasticity_rl.records.folder import RunFolder
from plasticity_rl.training.learner import Learner
from tests.run_folders import run_paths
from tests.training import CARTPOLE, PENDULUM, events, resumed_is_never_stopped

ACTIONS, STEPS, WIDTH = 3, 24, 7
HEADS = HeadSpec((("policy", ACTIONS), ("value", 1)), separate=True)
SEPARATE = "ppo:num_envs=4,rollout_length=8,epochs=2,minibatches=2,separate=true"


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def made_up(seed: int) -> dict[str, torch.Tensor]:
    """A minibatch of 24 steps, 4 of them ignored."""
    return {
        "inputs": draw(STEPS, 5, seed=seed),
        "task": torch.tensor(0),
        "actions": torch.arange(STEPS) % ACTIONS,
        "log_probabilities": -draw(STEPS, seed=seed + 1).abs() - 0.5,
        "real": (torch.arange(STEPS) % 6 != 1).float(),
        "advantages": draw(STEPS, seed=seed + 2) * 3 + 1,
        "goals": draw(STEPS, seed=seed + 3),
        "values": draw(STEPS, seed=seed + 4),
    }


def tower(outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, WIDTH), nn.LeakyReLU(0.1), nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(0.1), nn.Linear(WIDTH, outputs))


def separate(**fields: Any) -> Network:
    return Network(MLP(width=WIDTH, depth=2, activation="leaky-relu", slope=0.1, **fields), (5,), HEADS)


def test_separate_networks_share_nothing() -> None:
    layers = separate().layers
    assert {layer.name: layer.readers for layer in layers} == {
        "policy.hidden0": ("policy.hidden1",),
        "policy.hidden1": ("policy",),
        "policy": (),
        "value.hidden0": ("value.hidden1",),
        "value.hidden1": ("value",),
        "value": (),
    }
    policy, value = connected(layers)
    assert [layer.name.partition(".")[0] for layer in (*policy, *value)] == ["policy"] * 3 + ["value"] * 3
    together = Network(MLP(width=WIDTH, depth=2), (5,), HeadSpec(HEADS.heads, streams=True)).layers
    assert connected(together) == (together,)


def test_separate_networks_are_two_networks_trained_by_hand_with_torch() -> None:
    """The published loss: clipped ratios, advantages as they are, unclipped squared errors, one Adam without clipping."""
    agent = PPO(separate=True, advantage_norm="rollout", value_clip=False, clip_range=0.2, entropy_coef=0.02, value_coef=0.9)
    network = separate()
    learner = Learner(network, lambda params, batch: agent.loss(network, params, batch), Adam(), (), 1, 0, compile=False)
    policy, value = tower(ACTIONS), tower(1)
    for name, part in (("policy", policy), ("value", value)):
        ours = [f"{layer}.{kind}" for layer in (f"{name}.hidden0", f"{name}.hidden1", name) for kind in ("weight", "bias")]
        for theirs, mine in zip(part.parameters(), ours, strict=True):
            theirs.data.copy_(learner.one(0)[mine])
    optimizer = torch.optim.Adam([*policy.parameters(), *value.parameters()], lr=1e-3)
    for update in range(20):
        batch = made_up(10 * update)
        learner.update(1e-3, {name: tensor[None] for name, tensor in batch.items()})
        acting = batch["real"] > 0
        inputs, actions, old, advantages, goals = (
            batch[name][acting] for name in ("inputs", "actions", "log_probabilities", "advantages", "goals")
        )
        distribution = Categorical(logits=policy(inputs))
        ratio = torch.exp(distribution.log_prob(actions) - old)
        surrogate = torch.min(ratio * advantages, torch.clamp(ratio, 0.8, 1.2) * advantages)
        total = -surrogate.mean() - 0.02 * distribution.entropy().mean() + 0.9 * 0.5 * nn.functional.mse_loss(value(inputs)[:, 0], goals)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    inputs = draw(50, 5, seed=7)
    outputs = network.apply(learner.one(0), inputs)[0]
    torch.testing.assert_close(outputs, torch.cat([policy(inputs), value(inputs)], 1).detach(), rtol=1e-4, atol=1e-5)


def test_a_run_with_separate_networks_resumes_and_reports_every_layer() -> None:
    said = CARTPOLE | {"agent": SEPARATE, "chain": ["layer-norm", "redo:every=7"], "diagnose_every": 8}
    snapshot = next(event for event in resumed_is_never_stopped(said) if isinstance(event, Snapshot))
    assert {"params/policy.hidden0.weight", "params/value.hidden1.scale", "params/value.weight"} <= set(snapshot.tensors)
    named = {event.name for event in events(experiment(said)) if isinstance(event, Metric)}
    kinds = ("dormant_fraction", "stable_rank", "weight_norm", "gradient_l2", "update_norm", "cka_to_start", "preactivation_shift")
    assert {f"{kind}/{network}.hidden1" for kind in kinds for network in ("policy", "value")} <= named


@pytest.mark.long
def test_a_chain_for_each_network_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["run", "--name", "x", "--runs", str(tmp_path), "--eager", "--benchmark", "cartpole:tasks=2,frames=512", "--members", "1"]
    line += ["--agent", SEPARATE, "--diagnose-every", "20"]
    chain = ["policy.layer-norm", "value.redo:every=7", "policy.reset:clock=update,every=9", "value.weight-decay", "value.churn"]
    assert main([*line, "--chain", *chain, "value.plasticity-injection"]) == 0
    (path,) = run_paths(tmp_path)
    label, measured = RunFolder(path).read_spec().label, RunFolder(path).metrics.read_text()
    assert RunFolder(path).is_done and " + policy.reset:clock=update,every=9,part=network + " in label
    assert label.startswith("policy.layer-norm + value.redo:every=7 + ")
    for name in ("units_recycled/value.ReDo", "weights_refreshed/policy.Reset", "penalty_over_loss/value.Churn"):
        assert f",{name}," in measured
    last, _ = load_latest(path / "checkpoints")
    assert last is not None
    names = set(last.tensors)
    assert {"params/policy.hidden0.scale", "params/value.hidden0.bias", "params/value.injection", "params/value_injected.weight"} <= names
    assert not {"params/value.hidden0.scale", "params/policy.injection", "params/policy_injected.weight"} & names
    capsys.readouterr()
    for chain, said in (("actor.redo", "there is no network 'actor'; one of: policy, value"), ("policy.batch-norm", "take layer or rms")):
        assert main([*line, "--chain", chain]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    assert len(run_paths(tmp_path)) == 1


def rollout(steps: int = 6, members: int = 2, num_envs: int = 3) -> dict[str, torch.Tensor]:
    shape = (steps, members, num_envs)
    real = torch.ones(shape)
    real[2, 0, 1] = real[4, 1, 0] = 0.0
    discounts, continues = torch.full(shape, 0.9), torch.ones(shape)
    discounts[1, 0, 0] = continues[1, 0, 0] = 0.0  # a termination
    continues[3, 1, 2] = 0.0  # a cut
    kept = {"actions": torch.zeros(shape, dtype=torch.int64), "log_probabilities": draw(*shape), "real": real}
    return kept | {
        "rewards": draw(*shape, seed=1),
        "discounts": discounts,
        "continues": continues,
        "values": draw(steps + 1, *shape[1:], seed=2),
    }


def test_rewards_are_divided_and_the_returns_are_sums_to_the_end_of_an_episode() -> None:
    given = rollout()
    found = PPO(reward_divisor=20.0, value_targets="returns", rewards="raw", discount=0.9).prepare(given)
    for member in range(2):
        for environment in range(3):
            column = {name: given[name][:, member, environment].tolist() for name in ("rewards", "discounts", "continues", "values")}
            for start in range(6):
                total, factor = 0.0, 1.0
                for t in range(start, 6):
                    total, factor = total + factor * column["rewards"][t] / 20, factor * column["discounts"][t]
                    if not column["continues"][t] or t == 5:
                        total += factor * column["values"][t + 1]
                        break
                assert found["goals"][start, member, environment].item() == pytest.approx(total, abs=1e-5)
    plain = PPO(rewards="raw").prepare(given | {"rewards": given["rewards"] / 20})
    torch.testing.assert_close(found["advantages"], plain["advantages"])  # still lambda
    torch.testing.assert_close(plain["goals"], plain["advantages"] + given["values"][:-1])


def test_advantages_are_normalised_over_a_rollout_of_each_member() -> None:
    given = rollout()
    by_minibatch, by_rollout = PPO(advantage_norm="minibatch", rewards="raw"), PPO(advantage_norm="rollout", rewards="raw")
    plain, found = (agent.prepare(given)["advantages"] for agent in (by_minibatch, by_rollout))
    for member in range(2):
        acting = given["real"][:, member].bool()
        values = plain[:, member][acting].double().numpy()
        expected = (plain[:, member].double().numpy() - values.mean()) / values.std()
        np.testing.assert_allclose(found[:, member].numpy(), expected, rtol=1e-4, atol=1e-5)
    network, batch = separate(), made_up(0)
    params = network.init(torch.Generator().manual_seed(0))
    doubled = batch | {"advantages": 2 * batch["advantages"]}
    one, other = ([agent.loss(network, params, each)[0] for each in (batch, doubled)] for agent in (by_minibatch, by_rollout))
    torch.testing.assert_close(*one)
    assert not torch.isclose(*other)


def test_a_mixture_acts_learns_and_is_evaluated_with_its_own_probabilities() -> None:
    logits, epsilon = torch.tensor([[2.0, 0.0, -1.0], [300.0, 0.0, 0.0]]), 0.3
    powers = [[math.exp(2), 1.0, math.exp(-1)], [1.0, 0.0, 0.0]]
    by_hand = [[0.7 * power / sum(row) + 0.1 for power in row] for row in powers]
    found = policy_logits(logits, 0.0, epsilon)
    assert found.exp().flatten().tolist() == pytest.approx([each for row in by_hand for each in row])
    for action in range(3):
        logs = log_probability(found, torch.tensor([action, action]))
        assert logs.tolist() == pytest.approx([math.log(row[action]) for row in by_hand], abs=1e-5)
    agent, network = PPO(separate=True, mixture_epsilon=epsilon), separate()
    params = network.init(torch.Generator().manual_seed(0))
    params["policy.weight"] *= 100
    inputs = draw(1000, 5)
    outputs = network.apply(params, inputs)[0]
    mixed = (0.7 * outputs[:, :-1].softmax(-1) + 0.1).log()
    drawn = {"uniform": torch.rand(1000, 3, generator=torch.Generator().manual_seed(1))}
    acted = agent.act(network, params, inputs, drawn, {"task": torch.tensor(0)})
    torch.testing.assert_close(acted["log_probabilities"], mixed.gather(1, acted["actions"][:, None])[:, 0])
    torch.testing.assert_close(agent.decode_outputs(outputs)["logits"], mixed)
    # the acting policy's ratio to itself is 1, so the surrogate is the mean advantage, 0; values are met
    batch = {"inputs": inputs, "task": torch.tensor(0), "real": torch.ones(1000), "advantages": draw(1000, seed=3)}
    batch |= {
        "actions": acted["actions"],
        "log_probabilities": acted["log_probabilities"],
        "values": outputs[:, -1],
        "goals": outputs[:, -1],
    }
    loss, reported = agent.loss(network, params, batch)
    entropy = -(mixed.exp() * mixed).sum(-1).mean()
    assert loss.item() == pytest.approx(-0.01 * entropy.item(), abs=1e-5) and reported["entropy"].item() == pytest.approx(entropy.item())


def test_a_limit_bounds_the_odds_of_two_actions() -> None:
    found = policy_logits(torch.tensor([[500.0, -300.0], [0.2, 0.0], [7.0, 7.0]]), 2.0, 0.0)
    assert (found[:, 0] - found[:, 1]).tolist() == pytest.approx([4.0, 4 * math.tanh(0.05), 0.0], abs=1e-6)


def test_only_entropy_below_the_floor_adds_to_the_loss() -> None:
    network, batch = separate(), made_up(0)
    params = network.init(torch.Generator().manual_seed(0))
    params["policy.weight"] *= 6
    plain, floored = (PPO(entropy_floor=floor).loss(network, params, batch)[0].item() for floor in (0.0, 0.8))
    probabilities = network.apply(params, batch["inputs"])[0][:, :-1].softmax(-1).tolist()
    entropies = [-sum(p * math.log(p) for p in row) for row in probabilities]
    short = [max(0.8 - each, 0) for each, real in zip(entropies, batch["real"].tolist(), strict=True) if real]
    assert floored - plain == pytest.approx(sum(short) / len(short), abs=1e-5) and 0 < sum(each > 0 for each in short) < len(short)


@pytest.mark.parametrize("fields", ["reward_divisor=0", "mixture_epsilon=1", "logit_limit=-1", "entropy_floor=-1", "value_targets=td"])
def test_bad_fields_are_refused(fields: str) -> None:
    with pytest.raises(ValueError, match=fields.partition("=")[0]):
        experiment(CARTPOLE | {"agent": f"ppo:{fields}"})


# Gaussian policies


GAUSSIAN = "ppo:num_envs=4,rollout_length=8,epochs=2,minibatches=2,policy=gaussian,rewards=scale"
NUMBERS = 2


def gaussian(agent: PPO) -> Network:
    heads = HeadSpec((("policy", NUMBERS), ("value", 1)), separate=True, constants=(("policy.log_std", NUMBERS, 0.0),))
    network = Network(MLP(width=WIDTH, depth=2, activation="leaky-relu", slope=0.1), (5,), heads)
    assert agent.policy == "gaussian" and "policy.log_std" in network.shapes
    return network


@pytest.mark.parametrize("separate", [True, False])
def test_heads_of_a_gaussian_policy(separate: bool) -> None:
    made = experiment(PENDULUM | {"agent": f"{GAUSSIAN},separate={str(separate).lower()}"})
    heads = made.agent.heads(made.benchmark)
    assert heads.heads == (("policy", 1), ("value", 1)) and heads.separate == separate
    assert heads.constants == (("policy.log_std" if separate else "log_std", 1, 0.0),)


def test_a_gaussian_policy_is_trained_by_hand_with_torch() -> None:
    """Ratios and entropies of torch's Gaussians, with deviations that all states share; one Adam for all, as in CleanRL's
    ppo_continuous_action."""
    agent = PPO(policy="gaussian", separate=True, clip_range=0.2, entropy_coef=0.02, value_coef=0.9)
    network = gaussian(agent)
    learner = Learner(network, lambda params, batch: agent.loss(network, params, batch), Adam(), (), 1, 0, compile=False)
    policy, value, log_std = tower(NUMBERS), tower(1), nn.Parameter(torch.zeros(NUMBERS))
    for name, part in (("policy", policy), ("value", value)):
        ours = [f"{layer}.{kind}" for layer in (f"{name}.hidden0", f"{name}.hidden1", name) for kind in ("weight", "bias")]
        for theirs, mine in zip(part.parameters(), ours, strict=True):
            theirs.data.copy_(learner.one(0)[mine])
    optimizer = torch.optim.Adam([*policy.parameters(), *value.parameters(), log_std], lr=1e-3)
    for update in range(20):
        batch = made_up(10 * update) | {"actions": 1.5 * draw(STEPS, NUMBERS, seed=10 * update + 5)}  # also beyond [-1, 1]
        batch["log_probabilities"] = -(2.5 + draw(STEPS, seed=10 * update + 6).abs())
        learner.update(1e-3, {name: tensor[None] for name, tensor in batch.items()})
        acting = batch["real"] > 0
        inputs, actions, old, advantages, goals, before = (
            batch[name][acting] for name in ("inputs", "actions", "log_probabilities", "advantages", "goals", "values")
        )
        distribution = Independent(Normal(policy(inputs), log_std.exp().expand(len(inputs), -1)), 1)
        ratio = torch.exp(distribution.log_prob(actions) - old)
        assert (ratio > 1.2).any() and (ratio < 0.8).any()
        advantages = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
        surrogate = torch.min(ratio * advantages, torch.clamp(ratio, 0.8, 1.2) * advantages)
        values = value(inputs)[:, 0]
        near = before + torch.clamp(values - before, -0.2, 0.2)
        errors = torch.max((values - goals) ** 2, (near - goals) ** 2)
        total = -surrogate.mean() - 0.02 * distribution.entropy().mean() + 0.9 * 0.5 * errors.mean()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    inputs = draw(50, 5, seed=7)
    outputs = network.apply(learner.one(0), inputs)[0]
    torch.testing.assert_close(outputs, torch.cat([policy(inputs), value(inputs)], 1).detach(), rtol=1e-4, atol=1e-5)
    assert (log_std.abs() > 1e-3).all()
    torch.testing.assert_close(learner.one(0)["policy.log_std"], log_std.detach(), rtol=1e-4, atol=1e-6)


def test_actions_are_clipped_where_they_are_played_and_learned_from_as_drawn() -> None:
    agent = PPO(policy="gaussian", separate=True)
    network = gaussian(agent)
    params = network.init(torch.Generator().manual_seed(0)) | {"policy.log_std": torch.tensor([0.3, -0.7])}
    inputs, normal = draw(200, 5), draw(200, NUMBERS, seed=1)
    acted = agent.act(network, params, inputs, {"normal": normal}, {"task": torch.tensor(0)})
    outputs = network.apply(params, inputs)[0]
    chosen = outputs[:, :NUMBERS] + torch.tensor([0.3, -0.7]).exp() * normal
    torch.testing.assert_close(acted["chosen"], chosen)
    assert torch.equal(acted["actions"], acted["chosen"].clamp(-1, 1)) and (acted["chosen"].abs() > 1).any()
    theirs = Independent(Normal(outputs[:, :NUMBERS], torch.tensor([0.3, -0.7]).exp().expand(200, -1)), 1)
    torch.testing.assert_close(acted["log_probabilities"], theirs.log_prob(chosen), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(acted["values"], outputs[:, -1])
    shape = (6, 2, 3)
    given = rollout() | {"actions": torch.zeros(*shape, NUMBERS), "chosen": 3 * draw(*shape, NUMBERS, seed=9)}
    assert torch.equal(agent.prepare(given)["actions"], given["chosen"])
    # the acting policy's ratio to itself is 1, so the surrogate is the mean advantage, 0; values are met
    batch = {"inputs": inputs, "task": torch.tensor(0), "real": torch.ones(200), "advantages": draw(200, seed=3)}
    batch |= {
        "actions": acted["chosen"],
        "log_probabilities": acted["log_probabilities"],
        "values": outputs[:, -1],
        "goals": outputs[:, -1],
    }
    loss, reported = agent.loss(network, params, batch)
    entropy = NUMBERS * 0.5 * math.log(2 * math.pi * math.e) + 0.3 - 0.7
    assert loss.item() == pytest.approx(-0.01 * entropy, abs=1e-5) and reported["entropy"].item() == pytest.approx(entropy, rel=1e-6)


@pytest.mark.parametrize("separate", ["true", pytest.param("false", marks=pytest.mark.long)])
def test_a_gaussian_run_resumes_learns_its_deviations_and_reports_them(separate: str) -> None:
    said = PENDULUM | {"benchmark": "envpool:ids=Pendulum-v1,frames=160", "checkpoint_every": 60, "chain": ["redo:every=7"]}
    found = resumed_is_never_stopped(said | {"agent": f"{GAUSSIAN},separate={separate}", "diagnose_every": 8})
    snapshot = [event for event in found if isinstance(event, Snapshot)][-1]
    log_std = snapshot.tensors["params/policy.log_std" if separate == "true" else "params/log_std"]
    rows = [event.value for event in found if isinstance(event, Metric) and event.name == "policy_std"]
    assert log_std.abs().min() > 1e-4 and rows[-2:] == pytest.approx(log_std.exp()[:, 0].tolist(), rel=2e-3)
    assert {event.value for event in found if isinstance(event, Metric) and event.name == "policy_std_fresh"} == {1.0}
