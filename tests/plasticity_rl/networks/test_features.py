"""Methods that hold features: InFeR, a trust region, and L2, beside plain readings per example."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import FeatureNorm, FeatureTrustRegion, InFeR
from plasticity_rl.optim.optimizers import SGD, Net
from tests.learners import RATE, SPECS, batches, built, generator, learn, loss, random_net, seen

pytestmark = pytest.mark.usefixtures("double")

LAST = {"mlp": ["hidden2"], "convolutions": ["hidden3"], "residual": ["hidden2"], "noisy": ["hidden1_value", "hidden1_advantage"]}
LAST["separate"] = ["policy.hidden1", "value.hidden1"]


def plain_loss_gradient(network, params, batch, extra):
    """Gradient of the loss plus an extra term, by torch's autograd on one network."""
    leaves = {name: param.clone().requires_grad_() for name, param in params.items()}
    total = loss(network, leaves, batch)[0] + extra(leaves)
    return dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))


@pytest.mark.parametrize("kind", list(SPECS))
def test_infer_is_the_distance_of_random_functions_from_their_scaled_births(kind):
    method, network = InFeR(functions=3, beta=2.5, alpha=0.3), built(kind)
    birth, (batch,) = network.init(generator()), batches(kind, 1, 1)
    state = method.init(birth, network.layers, generator(5))
    params, mine = random_net(network).params, {name: tensor[0] for name, tensor in batch.items()}
    penalty = method.penalty(params, state, network.layers, seen(network, mine))
    total = 0.0
    for layer in LAST[kind]:
        now, then = (network.apply(each, mine["inputs"])[1][layer].tolist() for each in (params, birth))
        for weights in state[layer].tolist():
            errors = [
                sum(w * a for w, a in zip(weights, one, strict=True)) - 2.5 * sum(w * b for w, b in zip(weights, other, strict=True))
                for one, other in zip(now, then, strict=True)
            ]
            total += sum(error**2 for error in errors) / len(errors)
    assert penalty.item() == pytest.approx(0.3 * total, rel=1e-9)


def test_infer_teaches_the_network_and_not_its_functions():
    method = InFeR(functions=4, beta=3.0, alpha=0.5)
    learner = learn((method,), "mlp", 1, optimizer=SGD())
    birth, state = learner.one(0), {name: tensor[0].clone() for name, tensor in learner.states[0].items()}
    birth = {name: param.clone() for name, param in birth.items()}
    network, params = learner.network, {name: param.clone() for name, param in birth.items()}
    for batch in batches("mlp", 1, 3):
        learner.update(RATE, batch)
        mine = {name: tensor[0] for name, tensor in batch.items()}
        target = 3.0 * network.apply(birth, mine["inputs"])[1]["hidden2"] @ state["hidden2"].T

        def pull(leaves, mine=mine, target=target):
            found = network.apply(leaves, mine["inputs"])[1]["hidden2"] @ state["hidden2"].T
            return 0.5 * (found - target).pow(2).sum() / len(found)

        grads = plain_loss_gradient(network, params, mine, pull)
        params = {name: param - RATE * grads[name] for name, param in params.items()}
    torch.testing.assert_close(learner.one(0), params, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close({name: tensor[0] for name, tensor in learner.states[0].items()}, state, rtol=0, atol=0)


def test_infers_functions_are_drawn_as_heads_are_and_members_have_their_own():
    learner = learn((InFeR(functions=500),), "mlp", 2)
    weights = learner.states[0]["hidden2"]
    assert weights.shape == (2, 500, 8) and not torch.equal(weights[0], weights[1])
    assert 0.98 * 8**-0.5 < weights.abs().max() <= 8**-0.5
    assert weights.mean().item() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_the_trust_region_is_the_mean_squared_change_of_what_the_last_activation_reads(kind, norm):
    method, network = FeatureTrustRegion(coefficient=0.3), built(kind, norm=norm)
    anchor, (batch,) = network.init(generator()), batches(kind, 1, 1)
    params, mine = random_net(network).params, {name: tensor[0] for name, tensor in batch.items()}
    state = method.init(anchor, network.layers, generator())
    penalty = method.penalty(params, state, network.layers, seen(network, mine))
    total = 0.0
    for layer in LAST[kind]:
        now, then = (network.apply(each, mine["inputs"], raw=True)[1][layer] for each in (params, anchor))
        assert (now < 0).any()
        changes = [(a - b) ** 2 for a, b in zip(now.flatten().tolist(), then.flatten().tolist(), strict=True)]
        total += sum(changes) / len(changes)
    assert penalty.item() == pytest.approx(0.3 * total, rel=1e-9)


def test_raw_features_of_a_plain_network_are_its_last_product():
    network = built("mlp")
    net, x = random_net(network), torch.randn(4, 5, generator=generator(2))
    h = x
    for layer in ("hidden0", "hidden1"):
        h = torch.relu(h @ net.params[f"{layer}.weight"].T + net.params[f"{layer}.bias"])
    raw = h @ net.params["hidden2.weight"].T + net.params["hidden2.bias"]
    torch.testing.assert_close(network.apply(net.params, x, raw=True)[1]["hidden2"], raw, rtol=1e-12, atol=1e-14)


def test_the_anchor_moves_every_few_updates_and_holds_what_is_learned_between():
    method = FeatureTrustRegion(coefficient=5.0, every=3)
    learner = learn((method,), "mlp", 1, optimizer=SGD())
    network = learner.network
    params = {name: param.clone() for name, param in learner.one(0).items()}
    anchor = params
    for count, batch in enumerate(batches("mlp", 1, 8), start=1):
        learner.update(RATE, batch)
        mine = {name: tensor[0] for name, tensor in batch.items()}
        then = network.apply(anchor, mine["inputs"], raw=True)[1]["hidden2"]

        def hold(leaves, mine=mine, then=then):
            return 5.0 * torch.nn.functional.mse_loss(network.apply(leaves, mine["inputs"], raw=True)[1]["hidden2"], then)

        grads = plain_loss_gradient(network, params, mine, hold)
        params = {name: param - RATE * grads[name] for name, param in params.items()}
        anchor = params if count % 3 == 0 else anchor
        torch.testing.assert_close(learner.one(0), params, rtol=1e-9, atol=1e-12)
        assert learner.states[0]["updates"].tolist() == [count]
    kept = {name: tensor[0] for name, tensor in learner.states[0].items() if name != "updates"}
    torch.testing.assert_close(kept, anchor, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("where", ["last", "all"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_feature_norm_is_the_mean_square(kind, where):
    network, (batch,) = built(kind), batches(kind, 1, 1)
    mine = {name: tensor[0] for name, tensor in batch.items()}
    net: Net = random_net(network)
    penalty = FeatureNorm(strength=0.3, where=where).penalty(net.params, {}, network.layers, seen(network, mine))
    features = network.apply(net.params, mine["inputs"])[1]
    total = 0.0
    for layer in LAST[kind] if where == "last" else features:
        squares = [element**2 for element in features[layer].flatten().tolist()]
        total += sum(squares) / len(squares)
    assert penalty.item() == pytest.approx(0.3 * total, rel=1e-9)
    assert where == "last" or len(features) > len(LAST[kind])


@pytest.mark.parametrize(
    ("method", "fields", "message"),
    [
        (InFeR, {"functions": 0}, "functions must lie in [1, 10_000], not 0"),
        (InFeR, {"alpha": 0.0}, "alpha must lie in (0, inf), not 0.0"),
        (InFeR, {"beta": -1.0}, "beta must lie in [0, inf), not -1.0"),
        (InFeR, {"beta": float("nan")}, "beta must be a finite number, not nan"),
        (FeatureTrustRegion, {"coefficient": 0.0}, "coefficient must lie in (0, inf), not 0.0"),
        (FeatureTrustRegion, {"every": 1}, "every must lie in [2, inf), not 1"),
        (FeatureNorm, {"strength": 0.0}, "strength must lie in (0, inf), not 0.0"),
        (FeatureNorm, {"where": "lats"}, "where cannot be 'lats'; did you mean last?"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(method, fields, message):
    with pytest.raises(UsageError) as raised:
        method(**fields)
    assert str(raised.value) == f"{method.__name__}: {message}"
