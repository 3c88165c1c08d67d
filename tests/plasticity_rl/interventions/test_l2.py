"""L2 in the loss, alone and against the initial distribution, beside plain readings of the formulas and torch's own."""

import math

import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import L2, L2Init, RefreshContext, Wasserstein
from plasticity_rl.optim.optimizers import SGD, Net
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


def ranked(method, params, state, network):
    """State of the method after a refresh."""
    return method.refresh(Net(params, {}), state, RefreshContext({}, {}), network.layers)[1]


@pytest.mark.parametrize("kind", list(SPECS))
def test_wasserstein_pairs_elements_by_rank(kind):
    method, network = Wasserstein(strength=0.3), built(kind)
    birth = network.init(generator())
    state = method.init(birth, network.layers, generator())
    params = {name: param.clone().requires_grad_() for name, param in random_net(network).params.items()}
    state = ranked(method, params, state, network)
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
        given = [ranked(methods[0], params, states[0], network), states[1]]
        return [method.penalty(params, state, network.layers, seen(network)).item() for method, state in zip(methods, given, strict=True)]

    mixed = {name: param.flatten()[torch.randperm(param.numel(), generator=generator(1))].view_as(param) for name, param in birth.items()}
    permuted, kept = penalties(mixed)
    assert permuted == 0 < kept
    moved, further = penalties(random_net(network, 3).params)
    assert 0 < moved < further


def test_wasserstein_looks_ranks_up_when_it_is_due_and_keeps_them_in_between():
    learner = learn((Wasserstein(strength=0.1, every=3),), "mlp", 1)
    network, birth = learner.network, {name: param.clone() for name, param in learner.one(0).items()}
    params = birth
    for count, batch in enumerate(batches("mlp", 1, 7), start=1):
        if count in (1, 4, 7):  # the pairs' parts for the next three updates
            params = {name: param.clone() for name, param in learner.one(0).items()}
        aims = {name: learner.states[0][f"{name}.target"][0] for name in birth}
        for name, aim in aims.items():
            order = sorted(range(aim.numel()), key=params[name].flatten().tolist().__getitem__)
            assert [aim.flatten()[at].item() for at in order] == sorted(birth[name].flatten().tolist())
        sorts = [(p.flatten().sort().values, birth[n].flatten().sort().values) for n, p in learner.one(0).items()]
        nearest = torch.stack([(now - then).square().sum() for now, then in sorts]).sum()
        penalty = learner.chain[0].penalty(learner.one(0), {f"{n}.target": aim for n, aim in aims.items()}, network.layers, seen(network))
        assert penalty >= 0.1 * nearest - 1e-12 and (count not in (1, 4, 7) or penalty.item() == pytest.approx(0.1 * nearest.item()))
        learner.update(RATE, batch)


@pytest.mark.parametrize(
    ("method", "fields", "message"),
    [
        (L2, {"strength": 0.0}, "strength must lie in (0, inf), not 0.0"),
        (L2, {"decayed": "biases"}, "decayed cannot be 'biases'; one of: all, weights"),
        (Wasserstein, {"strength": -1e-3}, "strength must lie in (0, inf), not -0.001"),
        (Wasserstein, {"every": 0}, "every must lie in [1, inf), not 0"),
        (Wasserstein, {"strength": math.inf}, "strength must be a finite number, not inf"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(method, fields, message):
    with pytest.raises(UsageError) as raised:
        method(**fields)
    assert str(raised.value) == f"{method.__name__}: {message}"
