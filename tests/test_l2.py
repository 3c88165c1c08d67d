"""L2 in the loss, alone and against the initial distribution, beside plain readings of the formulas and torch's own."""

import math

import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import L2, L2Init, Wasserstein
from plasticity_rl.optimizers import SGD
from tests.learners import RATE, SPECS, batches, built, generator, learn, random_net, seen

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("decayed", ["weights", "all"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_l2_is_the_squared_length(kind, decayed):
    network = built(kind, norm="layer")
    params = {name: param.clone().requires_grad_() for name, param in random_net(network).params.items()}
    penalty = L2(strength=0.3, decayed=decayed).penalty(params, {}, network.layers, seen(network))
    counted = [name for name in params if decayed == "all" or name.endswith(".weight")]
    by_hand = sum(element**2 for name in counted for element in params[name].flatten().tolist())
    assert penalty.item() == pytest.approx(0.3 * by_hand, rel=1e-9)
    grads = torch.autograd.grad(penalty, list(params.values()), allow_unused=True)
    for name, grad in zip(params, grads, strict=True):
        if name in counted:
            torch.testing.assert_close(grad, 0.6 * params[name].detach(), rtol=1e-9, atol=0)
        else:
            assert grad is None


def test_l2_is_half_of_torchs_coupled_weight_decay():
    learner = learn((L2(strength=0.05, decayed="all"),), "mlp", 1, optimizer=SGD())
    params = {name: param.clone().requires_grad_() for name, param in learner.one(0).items()}
    theirs = torch.optim.SGD(list(params.values()), lr=RATE, weight_decay=0.1)
    for batch in batches("mlp", 1, 3):
        learner.update(RATE, batch)
        theirs.zero_grad()
        F.cross_entropy(learner.network.apply(params, batch["inputs"][0])[0], batch["labels"][0]).backward()
        theirs.step()
    for name, param in params.items():
        torch.testing.assert_close(learner.one(0)[name], param.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", list(SPECS))
def test_wasserstein_pairs_elements_by_rank(kind):
    method, network = Wasserstein(strength=0.3), built(kind)
    birth = network.init(generator())
    state = method.init(birth, network.layers, generator())
    params = {name: param.clone().requires_grad_() for name, param in random_net(network).params.items()}
    penalty = method.penalty(params, state, network.layers, seen(network))
    pulls, by_hand = {}, 0.0
    for name in params:
        now, then = params[name].flatten().tolist(), sorted(birth[name].flatten().tolist())
        pull = [0.0] * len(now)
        for rank, at in enumerate(sorted(range(len(now)), key=now.__getitem__)):
            by_hand += (now[at] - then[rank]) ** 2
            pull[at] = 0.6 * (now[at] - then[rank])
        pulls[name] = torch.tensor(pull).view(params[name].shape)
    assert penalty.item() == pytest.approx(0.3 * by_hand, rel=1e-9)
    for name, grad in zip(params, torch.autograd.grad(penalty, list(params.values())), strict=True):
        torch.testing.assert_close(grad, pulls[name], rtol=1e-9, atol=1e-12)


def test_wasserstein_forgives_a_permutation_and_never_exceeds_l2_init():
    network = built("mlp")
    birth = network.init(generator())
    methods = Wasserstein(strength=1.0), L2Init(strength=1.0)
    states = [method.init(birth, network.layers, generator()) for method in methods]

    def penalties(params):
        return [method.penalty(params, state, network.layers, seen(network)).item() for method, state in zip(methods, states, strict=True)]

    mixed = {name: param.flatten()[torch.randperm(param.numel(), generator=generator(1))].view_as(param) for name, param in birth.items()}
    permuted, kept = penalties(mixed)
    assert permuted == 0 < kept
    moved, further = penalties(random_net(network, 3).params)
    assert 0 < moved < further


@pytest.mark.parametrize(
    ("method", "fields", "message"),
    [
        (L2, {"strength": 0.0}, "strength must lie in (0, inf), not 0.0"),
        (L2, {"decayed": "biases"}, "decayed cannot be 'biases'; one of: all, weights"),
        (Wasserstein, {"strength": -1e-3}, "strength must lie in (0, inf), not -0.001"),
        (Wasserstein, {"strength": math.inf}, "strength must be a finite number, not inf"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(method, fields, message):
    with pytest.raises(UsageError) as raised:
        method(**fields)
    assert str(raised.value) == f"{method.__name__}: {message}"
