"""Bounds and lengths of weights: both projections beside loops and torch's own fans."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import NormConstraint, WeightClipping
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import Nature
from tests.learners import RATE, SPECS, batches, built, copies, generator, learn, length, random_net
from tests.refreshes import HEADS

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("heads", [True, False])
@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_clipping_is_a_clamp_to_the_fan_in(kind, norm, heads):
    network = built(kind, norm=norm)
    params = {name: param * 3 for name, param in random_net(network).params.items()}
    after, _ = WeightClipping(kappa=1.5, heads=heads).project(params, {}, network.layers)
    clipped = 0
    for name, old in params.items():
        layer, _, part = name.rpartition(".")
        if part in ("scale", "offset") or (not heads and name.startswith(HEADS[kind])):
            assert torch.equal(after[name], old), name
            continue
        fan_in = torch.nn.init._calculate_fan_in_and_fan_out(params[f"{layer}.weight"])[0]
        expected = [max(min(element, 1.5 / fan_in**0.5), -1.5 / fan_in**0.5) for element in old.flatten().tolist()]
        assert after[name].flatten().tolist() == pytest.approx(expected, rel=1e-12)
        clipped += int((after[name] != old).sum())
    assert clipped > 10


def test_kappa_one_is_the_initialisers_own_bound():
    network = Network(Nature(width=16), (4, 44, 44), 3)
    birth = network.init(generator())
    same, _ = WeightClipping(kappa=1.0).project(birth, {}, network.layers)
    assert all(torch.equal(same[name], birth[name]) for name in birth)
    smaller, _ = WeightClipping(kappa=0.9).project(birth, {}, network.layers)
    share = sum(int((smaller[name] != birth[name]).sum()) for name in birth) / sum(param.numel() for param in birth.values())
    assert share == pytest.approx(0.1, abs=0.01)


def test_clipping_follows_every_update_and_leaves_the_memory_alone():
    learner, plain = learn((WeightClipping(kappa=0.9),), "mlp", 2), learn((), "mlp", 2)
    (batch,) = batches("mlp", 2, 1)
    for each in (learner, plain):
        each.update(RATE, batch)
    found, without = copies(learner), copies(plain)
    for name, tensor in without.items():
        bound = 0.9 / (5 if "hidden0" in name else 8) ** 0.5
        expected = tensor.clamp(-bound, bound) if name.startswith("params/") else tensor
        torch.testing.assert_close(found[name], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("part", ["hidden", "heads", "all"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_weights_keep_their_initial_length_and_direction(kind, part):
    learner, plain = learn((NormConstraint(part=part),), kind, 2), learn((), kind, 2)
    birth = copies(learner)
    (batch,) = batches(kind, 2, 1)
    for each in (learner, plain):
        each.update(RATE, batch)
    found, without = learner.net.params, plain.net.params
    for layer in {name.rpartition(".")[0] for name in found}:
        then = length({name.removeprefix("params/"): tensor for name, tensor in birth.items()}, layer)
        free = part == ("hidden" if f"{layer}.weight".startswith(HEADS[kind]) else "heads")
        if not free:
            torch.testing.assert_close(length(found, layer), then, rtol=1e-12, atol=0)
        for m in range(2):
            ratio = 1.0 if free else (then[m] / length(without, layer)[m]).item()
            assert free or abs(ratio - 1) > 1e-6
            for name in (f"{layer}.weight", f"{layer}.weight_noise"):
                if name in found:
                    torch.testing.assert_close(found[name][m], without[name][m] * ratio, rtol=1e-9, atol=1e-12)
    for name, param in found.items():
        if not name.endswith((".weight", ".weight_noise")):
            torch.testing.assert_close(param, without[name], rtol=1e-12, atol=1e-15)


def test_a_weight_of_zeros_has_no_direction_and_stays():
    network = built("mlp")
    method, birth = NormConstraint(), network.init(generator())
    state = method.init(birth, network.layers, generator())
    after, _ = method.project({name: torch.zeros_like(param) for name, param in birth.items()}, state, network.layers)
    assert not any(param.any() for param in after.values())


@pytest.mark.parametrize(
    ("method", "fields", "message"),
    [
        (WeightClipping, {"kappa": 0.0}, "kappa must lie in (0, inf), not 0.0"),
        (WeightClipping, {"heads": "no"}, "heads must be a bool, not 'no'"),
        (NormConstraint, {"part": "head"}, "part cannot be 'head'; did you mean heads?"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(method, fields, message):
    with pytest.raises(UsageError) as raised:
        method(**fields)
    assert str(raised.value) == f"{method.__name__}: {message}"
