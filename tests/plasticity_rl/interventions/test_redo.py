"""ReDo beside a plain reading of the paper, unit by unit."""

import math
from itertools import product

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import ReDo, RefreshContext
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Net
from plasticity_rl.training.learner import Learner
from tests.learners import RATE, SPECS, assert_same, batches, built, copies, deaden, evidence_for, generator, learn, random_net
from tests.refreshes import columns_by_hand, dormant_by_loops, recycled_by_loops

pytestmark = pytest.mark.usefixtures("double")


DEAD = {
    "mlp": {"hidden0": (1, 4), "hidden1": (0, 7), "hidden2": (3, 5)},
    "convolutions": {"hidden0": (1, 4), "hidden1": (0, 7), "hidden2": (3, 5)},
    "residual": {"hidden0_1a": (1, 3), "hidden0_2a": (0,), "hidden1_2a": (2, 5), "hidden2": (6,)},
    "noisy": {"hidden0": (1, 4), "quantiles": (0, 7, 23), "hidden1_value": (3,), "hidden1_advantage": (0, 5)},
    "separate": {"policy.hidden0": (1, 4), "policy.hidden1": (0, 7), "value.hidden0": (2,), "value.hidden1": (3, 5)},
}


def redo_by_loops(kind: str, net: Net, evidence: RefreshContext, tau: float) -> Net:
    """Sokar et al. 2023, one unit at a time."""
    return recycled_by_loops(kind, net, evidence.fresh, dormant_by_loops(kind, evidence.features, tau))


@pytest.mark.parametrize("norm", ["none", "layer", "rms"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_redo_is_the_paper_unit_by_unit(kind, norm):
    network = built(kind, norm=norm)
    net = random_net(network)
    net = net._replace(params=deaden(network, net.params, DEAD[kind]))
    evidence = evidence_for(network, net)
    after, _ = ReDo(tau=0.3).refresh(net, {}, evidence, network.layers)
    expected = redo_by_loops(kind, net, evidence, 0.3)
    torch.testing.assert_close(after.params, expected.params, rtol=1e-6, atol=0)
    torch.testing.assert_close(after.slots, expected.slots, rtol=1e-6, atol=0)
    marked = dormant_by_loops(kind, evidence.features, 0.3)
    assert all(set(units) <= set(marked[layer]) for layer, units in DEAD[kind].items())


def test_a_recycled_unit_does_not_speak_even_to_a_recycled_reader():
    dense = {("hidden0", "hidden1"), ("hidden1", "hidden2")}
    torn = {(layer, reader) for layer in ("hidden0", "quantiles") for reader in ("hidden1_value", "hidden1_advantage")}
    for kind, pairs in {"mlp": dense, "convolutions": dense, "noisy": torn}.items():
        network = built(kind)
        net = random_net(network)
        net = net._replace(params=deaden(network, net.params, DEAD[kind]))
        after, _ = ReDo(tau=0.0).refresh(net, {}, evidence_for(network, net), network.layers)
        for layer, reader in pairs:
            for unit, recycled in product(DEAD[kind][layer], DEAD[kind][reader]):
                for name, columns in columns_by_hand(kind, layer, unit).items():
                    if name.startswith(f"{reader}."):
                        assert after.params[name][recycled].any() and not after.params[name][recycled][columns].any(), (kind, name)
                assert after.params[f"{reader}.bias"][recycled] == 0


@pytest.mark.parametrize("kind", list(SPECS))
def test_recycling_silent_units_leaves_the_outputs_alone(kind):
    network = built(kind)
    net = random_net(network)
    net = net._replace(params=deaden(network, net.params, DEAD[kind]))
    (batch,) = batches(kind, 1, 1)
    x, given = batch["inputs"][0], {name: batch[name][0] for name in ("noise", "fractions", "task") if name in batch}
    outputs, features = network.apply(net.params, x, **given)
    after, _ = ReDo(tau=0.0).refresh(net, {}, RefreshContext(network.init(generator(4)), features), network.layers)
    first, *_ = DEAD[kind]
    assert not torch.equal(after.params[f"{first}.weight"], net.params[f"{first}.weight"])
    torch.testing.assert_close(network.apply(after.params, x, **given)[0], outputs, rtol=1e-10, atol=1e-12)
    responses = network.apply(after.params, x, **given)[1]
    assert any(responses[first][:, unit].any() for unit in DEAD[kind][first])  # alive again


def test_channels_of_a_residual_stream_are_left_alone_even_when_all_are_silent():
    network = built("residual")
    net, summed = random_net(network), ("hidden0", "hidden0_1b", "hidden0_2b", "hidden1", "hidden1_1b", "hidden1_2b")
    features = {layer.name: torch.zeros(2, layer.units) for layer in network.layers if layer.activation is not None}
    after, _ = ReDo(tau=0.0).refresh(net, {}, RefreshContext(network.init(generator(1)), features), network.layers)
    for name, old in net.params.items():
        layer, _, part = name.partition(".")
        heard = layer in ("hidden0_1b", "hidden0_2b", "hidden1_1b", "hidden1_2b") and part == "weight"  # reads a branch's inner units
        changed = after.params[name] != old
        assert changed.all() if heard or name == "head.weight" or layer not in (*summed, "head") else not changed.any(), name


def test_the_noise_of_a_recycled_unit_is_a_new_ones_and_nobody_hears_it():
    network = built("noisy")
    net = random_net(network)
    features = {layer.name: torch.ones(2, layer.units) for layer in network.layers if not layer.head}
    features["hidden1_value"][:, 3] = 0
    after, _ = ReDo(tau=0.0).refresh(net, {}, RefreshContext(network.init(generator(1)), features), network.layers)
    start = 0.5 * (6 * 2 * 2) ** -0.5  # sigma0 over the root of the fan in
    assert after.params["hidden1_value.weight_noise"][3].tolist() == pytest.approx([start] * 24)
    assert after.params["hidden1_value.bias_noise"][3].item() == pytest.approx(start)
    assert after.params["hidden1_value.bias"][3] == 0
    assert not after.params["value.weight_noise"][:, 3].any() and not after.params["value.weight"][:, 3].any()
    for name in ("value.weight_noise", "value.bias", "value.bias_noise"):
        assert (after.params[name] != net.params[name]).sum().item() == (2 if name == "value.weight_noise" else 0)  # two tasks


def test_newborn_weights_are_as_wide_as_the_initialisers():
    network = Network(MLP(width=64, depth=3), (100,), 2)
    net = random_net(network)
    evidence = evidence_for(network, net)
    after, _ = ReDo(tau=0.9).refresh(net, {}, evidence, network.layers)
    marked = dormant_by_loops("mlp", evidence.features, 0.9)
    for layer, before, fan_in in (("hidden0", None, 100), ("hidden1", "hidden0", 64), ("hidden2", "hidden1", 64)):
        units, silent = marked[layer], marked[before] if before else []
        heard = [column for column in range(fan_in) if column not in silent]
        weights, bound = after.params[f"{layer}.weight"][units][:, heard], fan_in**-0.5
        assert len(units) > 10 and 0.9 * bound < weights.abs().max() <= bound
        assert weights.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_a_sample_without_any_response_changes_nothing():
    network = Network(MLP(width=8, depth=2), (5,), 3)
    net = random_net(network)
    evidence = evidence_for(network, net)
    silent = evidence._replace(features={n: torch.cat([f, torch.zeros(2, 8)]) for n, f in evidence.features.items()})
    one, other = (ReDo(tau=0.5).refresh(net, {}, each, network.layers)[0] for each in (evidence, silent))
    assert_same(one.params, other.params)
    assert not torch.equal(one.params["hidden0.weight"], net.params["hidden0.weight"])


def ages_of_each(learner: Learner, member: int) -> dict[str, dict[str, torch.Tensor]]:
    """Optimizer state of one member, with the age of a tensor expanded to its elements."""
    params = learner.net.params
    return {
        slot: {n: t.expand_as(params[n])[member] for n, t in optimizer_state.items()} for slot, optimizer_state in learner.net.slots.items()
    }


def test_redo_finds_its_units_on_the_batch_just_learned_from():
    learner = learn((ReDo(every=2, tau=0.4),), "mlp", 2)
    plain = learn((), "mlp", 2)
    data = batches("mlp", 2, 2)
    for batch in data:
        learner.update(RATE, batch)
        plain.update(RATE, batch)
    for m in range(2):
        net = Net(
            plain.one(m),
            ages_of_each(plain, m),
        )
        features = plain.network.apply(net.params, data[-1]["inputs"][m])[1]
        fresh = {name: param[m] for name, param in learner.fresh("ReDo", 0, "update", 2).items()}
        expected = redo_by_loops("mlp", net, RefreshContext(fresh, features), 0.4)
        torch.testing.assert_close(learner.one(m), expected.params, rtol=1e-6, atol=1e-12)


def test_redo_at_a_task_boundary_before_any_batch_recycles_nothing():
    learner = learn((ReDo(clock="task", every=1),), "mlp", 2)
    before = copies(learner)
    learner.task_boundary()
    assert_same(copies(learner), before)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tau": 1.0}, "tau must lie in [0, 1), not 1.0"),
        ({"tau": -0.1}, "tau must lie in [0, 1), not -0.1"),
        ({"tau": math.nan}, "tau must be a finite number, not nan"),
        ({"every": 0}, "every must lie in [1, inf), not 0"),
        ({"every": True}, "every must be a whole number, not True"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        ReDo(**fields)
    assert str(raised.value) == f"ReDo: {message}"
