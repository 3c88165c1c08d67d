"""Probes: learning of copies and untrained networks, with no effect on runs."""

import hashlib
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plasticity_rl.interventions import L2Init, NoisyUpdates, NormalizeAndProject, ReDo, Reset, WeightDecay, assemble
from plasticity_rl.interventions.chain import Chain
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import SGD, Adam
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.probes import OFFSET, Probe, Regression, squared_error, target
from plasticity_rl.training.update import Batch

CHAIN: Chain = (NormalizeAndProject(), L2Init(), NoisyUpdates(), ReDo(every=3), Reset(), WeightDecay())


def trained(chain: Chain = (), members: int = 2, updates: int = 30) -> Learner:
    """A learner of small networks that has learned something."""
    network, optimizer = assemble(MLP(width=8, depth=2), Adam(), chain, inputs=(5,), heads=3)
    learner = Learner(network, squared_error(network), optimizer, chain, members, seed=7, compile=False)
    draw = torch.Generator().manual_seed(1)
    for _ in range(updates):
        inputs, targets = (torch.randn(1, 16, size, generator=draw).expand(members, -1, -1) for size in (5, 3))
        learner.update(3e-3, {"inputs": inputs, "targets": targets, "task": torch.zeros(members, dtype=torch.int64)})
    return learner


def data(targets: int, members: int, updates: int) -> tuple[Batch, Callable[[int], Batch]]:
    """All training data, (updates, ...), and its batches."""
    draw = torch.Generator().manual_seed(2)
    whole = {
        "inputs": torch.randn(updates, 1, 1, members, 4, 5, generator=draw),
        "targets": torch.randn(updates, targets, 2, members, 4, 3, generator=draw),
        "task": torch.zeros(updates, 1, 1, members, dtype=torch.int64),
    }
    return whole, lambda update: {name: tensor[update] for name, tensor in whole.items()}


def plain_losses(params: dict[str, Tensor], inputs: Tensor, targets: Tensor, rates: list[float]) -> list[float]:
    """Losses of torch.nn and torch.optim.Adam."""
    plain = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for layer, name in zip(plain[::2], ("hidden0", "hidden1", "head"), strict=True):
            layer.weight.copy_(params[f"{name}.weight"])
            layer.bias.copy_(params[f"{name}.bias"])
    optimizer, losses = torch.optim.Adam(plain.parameters()), []
    for x, y, rate in zip(inputs, targets, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        loss = F.mse_loss(plain(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_copies_and_untrained_networks_learn_as_plain_loops_do() -> None:
    learner, rates = trained(), [1e-3 * (1 + update) for update in range(20)]
    whole, batches = data(targets=2, members=2, updates=20)
    outcome = Probe(learner, squared_error(learner.network), 2, compile=False)(batches, rates)
    untrained = learner.fresh("reference")
    for number in range(2):
        for member in range(2):
            for arm, params in enumerate((learner.net.params, untrained)):
                one = {name: param[member] for name, param in params.items()}
                losses = plain_losses(one, whole["inputs"][:, 0, 0, member], whole["targets"][:, number, arm, member], rates)
                final, mean = (outcome.fresh_final, outcome.fresh_mean) if arm else (outcome.final, outcome.mean)
                assert final[number, member].item() == pytest.approx(sum(losses[18:]) / 2, rel=1e-5)
                assert mean[number, member].item() == pytest.approx(sum(losses) / 20, rel=1e-5)


def hashes(learner: Learner) -> dict[str, str]:
    return {name: hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest() for name, tensor in learner.tensors().items()}


def test_the_probed_learner_and_the_random_numbers_stay_as_they_were() -> None:
    learner = trained(CHAIN)
    assert any(name.startswith("states/") for name in learner.tensors())
    before, ticks, random = hashes(learner), dict(learner.ticks), torch.random.get_rng_state()
    places = {name: tensor.data_ptr() for name, tensor in learner.tensors().items()}
    rates = [1e-2] * 7
    found = Regression(learner, torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(3)), ("random", "offset"), 1, 7, batch=4)
    outcome = Probe(learner, squared_error(learner.network), 2, compile=False)(found.batch, rates)
    assert torch.isfinite(outcome.final).all() and not torch.equal(outcome.final, outcome.fresh_final)
    assert hashes(learner) == before and learner.ticks == ticks
    assert {name: tensor.data_ptr() for name, tensor in learner.tensors().items()} == places
    assert torch.equal(torch.random.get_rng_state(), random)


def test_a_second_probe_says_the_same() -> None:
    learner = trained(CHAIN)
    probe = Probe(learner, squared_error(learner.network), 1, compile=False)
    _, batches = data(targets=1, members=2, updates=6)
    first, second = (probe(batches, [1e-2] * 6) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_copies_learn_by_the_runs_chain_from_an_empty_memory_of_the_optimizer() -> None:
    chain = (NormalizeAndProject(), L2Init(strength=0.1))
    learner = trained(chain)
    whole, batches = data(targets=1, members=2, updates=8)
    outcome = Probe(learner, squared_error(learner.network), 1, compile=False)(batches, [1e-2] * 8)
    alone = trained(chain)  # continues the run, but with empty slots
    for optimizer_state in alone.net.slots.values():
        for tensor in optimizer_state.values():
            tensor.zero_()
    losses = torch.stack(
        [alone.update(1e-2, {name: tensor[update, 0, 0] for name, tensor in whole.items()})["loss"] for update in range(8)]
    )
    torch.testing.assert_close(outcome.mean[0], losses.mean(0))
    torch.testing.assert_close(outcome.final[0], losses[-1])


def test_an_untrained_network_is_as_trainable_as_an_untrained_network() -> None:
    learner = trained()
    for name, param in learner.fresh("reference").items():
        learner.net.params[name].copy_(param)
    inputs = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(3))
    found = Regression(learner, inputs, ("random", "teacher", "offset"), 1, updates=5, batch=4)
    outcome = Probe(learner, squared_error(learner.network), 3, compile=False)(found.batch, [1e-2] * 5)
    assert torch.equal(outcome.final, outcome.fresh_final) and torch.equal(outcome.mean, outcome.fresh_mean)
    assert len(outcome.final.unique()) == 6


def test_a_member_does_not_feel_how_many_there_are() -> None:
    inputs = torch.randn(3, 12, 5, generator=torch.Generator().manual_seed(3))
    outcomes = []
    for members in (1, 3):
        learner = trained(members=members)
        found = Regression(learner, inputs[:members], ("random", "teacher"), 2, updates=5, batch=4)
        outcomes.append(Probe(learner, squared_error(learner.network), 4, compile=False)(found.batch, [1e-2] * 5))
    for few, many in zip(*outcomes, strict=True):  # a rounding of f, times 1e5
        torch.testing.assert_close(few[:, 0], many[:, 0], atol=1e-2, rtol=0)
        torch.testing.assert_close(few[2:, 0], many[2:, 0])


def test_targets_by_hand() -> None:
    function = torch.tensor([[[1e-5], [3e-5], [2e-5]]])  # one member, three observations, one output
    before = torch.tensor([[[[1.0], [2.0], [6.0]]], [[[0.0], [0.0], [0.3]]]])
    sines = torch.tensor([1.0, 3.0, 2.0]).sin()
    torch.testing.assert_close(target("random", function, before)[:, 0, :, 0], torch.stack([3.0 + sines, 0.1 + sines]))
    torch.testing.assert_close(target("offset", function, before)[:, 0, :, 0], torch.stack([OFFSET + sines] * 2))
    deviations = torch.tensor([-1.0, 1.0, 0.0]) / (2 / 3) ** 0.5
    torch.testing.assert_close(target("teacher", function, before)[:, 0, :, 0], torch.stack([deviations] * 2))
    assert target("teacher", torch.ones(1, 3, 1), before).abs().max() == 0


def test_a_regression_draws_its_batches_from_the_observations() -> None:
    learner = trained()
    inputs = torch.arange(2 * 6 * 5.0).view(2, 6, 5) / 10
    found = Regression(learner, inputs, ("random",), 2, updates=200, batch=4)
    met = torch.cat([found.batch(update)["inputs"][0, 0] for update in range(200)], 1)
    for member in range(2):
        first, counts = met[member, :, 0].unique(return_counts=True)
        assert first.tolist() == inputs[member, :, 0].tolist()
        assert ((counts - 800 / 6) ** 2 / (800 / 6)).sum() < 20.5  # chi-square, 5 degrees of freedom, p = 0.001
    one, other = found.batch(0), found.batch(1)
    assert one["targets"].shape == (2, 2, 2, 4, 3) and not torch.equal(one["inputs"], other["inputs"])
    for batch in (one, other):  # an observation has one target
        for member in range(2):
            rows = ((batch["inputs"][0, 0, member, :, 0] - inputs[member, 0, 0]) * 2).round().long()
            said = learner.network.apply({n: p[member] for n, p in learner.fresh("probe", 30, "random", 1).items()}, inputs[member])[0]
            own = learner.network.apply(learner.one(member), inputs[member])[0].mean(0)
            torch.testing.assert_close(batch["targets"][1, 0, member], (own + torch.sin(1e5 * said))[rows], atol=2e-2, rtol=0)


def test_new_functions_are_drawn_as_the_run_goes_on() -> None:
    inputs = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(3))
    earlier, later = (Regression(trained(updates=n), inputs, ("offset",), 1, updates=1, batch=12).batch(0)["targets"] for n in (29, 30))
    assert (earlier - later).abs().max() > 0.5


def test_a_loss_that_is_no_number_stays_none() -> None:
    network, optimizer = assemble(MLP(width=8, depth=2), SGD(), (), inputs=(5,), heads=3)
    learner = Learner(network, squared_error(network), optimizer, (), 2, seed=7, compile=False)
    _, batches = data(targets=1, members=2, updates=10)
    outcome = Probe(learner, squared_error(network), 1, compile=False)(batches, [1e20] * 10)
    assert not torch.isfinite(outcome.final).any() and not torch.isfinite(outcome.fresh_mean).any()


def test_scaled_targets_have_the_mean_and_the_deviation_of_the_networks_own_outputs():
    """An output of deviation 30 gets targets of that size; small outputs get a teacher's unit size."""
    draw = torch.Generator().manual_seed(0)
    before = torch.randn(2, 3, 400, 2, generator=draw) * torch.tensor([30.0, 0.1]) + torch.tensor([-50.0, 7.0])
    made = target("scaled", torch.randn(3, 400, 2, generator=draw) * 5 + 3, before)
    deviations = before.double().numpy().std(2)
    torch.testing.assert_close(made.mean(2), before.mean(2), rtol=1e-4, atol=1e-3)
    expected = torch.from_numpy(deviations).clamp(min=1)
    torch.testing.assert_close(made.double().std(2, correction=0), expected, rtol=1e-4, atol=1e-4)
    assert (expected[..., 0] > 25).all() and (expected[..., 1] == 1).all()


def test_the_loss_of_scaled_targets_is_in_units_of_their_variance():
    learner = trained()
    for name, param in learner.net.params.items():
        if name.startswith("head."):
            param *= 100
    inputs = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(4))
    found = Regression(learner, inputs, ("teacher", "scaled"), 1, updates=1, batch=30)
    outcome = Probe(learner, squared_error(learner.network), 2, compile=False)(found.batch, [0.0])
    batch = found.batch(0)
    for member in range(2):
        outputs = learner.network.apply(learner.one(member), inputs[member])[0]
        scale = outputs.double().numpy().std(0).clip(min=1)
        chosen = batch["inputs"][0, 0, member]
        errors = (learner.network.apply(learner.one(member), chosen)[0] - batch["targets"][1, 0, member]).double().numpy() / scale
        assert outcome.final[1, member].item() == pytest.approx((errors**2).mean(), rel=1e-4) and scale.max() > 5
        plain = F.mse_loss(learner.network.apply(learner.one(member), chosen)[0], batch["targets"][0, 0, member])
        assert outcome.final[0, member].item() == pytest.approx(plain.item(), rel=1e-4)
