"""UPGD beside a plain reading of its formula, and beside the authors' own once its averages have grown."""

import math

import pytest
import torch

from plasticity_rl.interventions.recycling import overwrite
from plasticity_rl.optim.optimizers import SGD, UPGD
from tests.plasticity_rl.optim.test_optimizers import NETWORK, born, draws, train

pytestmark = pytest.mark.usefixtures("double")


def by_loops(params, gradients, noises, rate, beta, sigma, decay, official=False):
    """One number after another; `official` divides by the largest uncorrected average."""
    weights = {name: param.flatten().tolist() for name, param in params.items()}
    utility = {name: [0.0] * len(values) for name, values in weights.items()}
    for t, (gradient, noise) in enumerate(zip(gradients, noises, strict=True), start=1):
        g = {name: each.flatten().tolist() for name, each in gradient.items()}
        n = {name: each.flatten().tolist() for name, each in noise.items()}
        for name, w in weights.items():
            for i in range(len(w)):
                utility[name][i] = beta * utility[name][i] + (1 - beta) * -g[name][i] * w[i]
        grown = 1 - beta**t
        largest = max(max(values) for values in utility.values()) / (1 if official else grown)
        for name, w in weights.items():
            for i in range(len(w)):
                kept = 1 / (1 + math.exp(-utility[name][i] / grown / largest))
                w[i] = w[i] * (1 - rate * decay) - 2 * rate * (g[name][i] + sigma * n[name][i]) * (1 - kept)
    return weights


def updated(optimizer, gradients, noises, rate):
    net = born(optimizer)
    for grads, noise in zip(gradients, noises, strict=True):
        net = optimizer.update(net, grads, torch.tensor(rate), NETWORK.layers, noise)
    return net


@pytest.mark.parametrize(("beta", "sigma", "decay"), [(0.999, 0.1, 1e-3), (0.5, 0.0, 0.0), (0.0, 1.0, 0.1)])
def test_upgd_is_the_formula_number_by_number(beta, sigma, decay):
    optimizer, gradients, noises = UPGD(beta=beta, sigma=sigma, weight_decay=decay), draws(1, 12), draws(2, 12)
    expected = by_loops(born(optimizer).params, gradients, noises, 0.01, beta, sigma, decay)
    net = updated(optimizer, gradients, noises, 0.01)
    for name, values in expected.items():
        assert net.params[name].flatten().tolist() == pytest.approx(values, rel=1e-9, abs=1e-12)


def test_the_authors_maximum_is_ours_once_averages_have_grown():
    gradients, noises = draws(1, 3), draws(2, 3)
    early, late = (by_loops(born(UPGD()).params, gradients, noises, 0.01, beta, 0.1, 0.0, official=True) for beta in (0.999, 0.0))
    for beta, theirs in ((0.999, early), (0.0, late)):
        net = updated(UPGD(beta=beta, sigma=0.1, weight_decay=0.0), gradients, noises, 0.01)
        same = net.params["head.weight"].flatten().tolist() == pytest.approx(theirs["head.weight"], rel=1e-9)
        assert same == (beta == 0)


def test_a_weight_without_utility_takes_a_step_of_gradient_descent_and_the_most_useful_about_half_of_it():
    # 1 - sigmoid(0) is a half, and twice that is one; 2 (1 - sigmoid(1)) is 0.538.
    optimizer = UPGD(sigma=0.0, weight_decay=0.0)
    grads = {name: -param.sign() * 0.5 for name, param in born(optimizer).params.items()}
    params = {
        name: torch.where(torch.arange(param.numel()).view(param.shape) == 0, 0.0, param.sign())
        for name, param in born(optimizer).params.items()
    }
    before = born(optimizer)._replace(params=params)
    after = optimizer.update(before, grads, torch.tensor(0.1), NETWORK.layers, draws(1)[0]).params
    for name, grad in grads.items():
        shares = ((params[name] - after[name]) / (0.1 * grad)).flatten().tolist()
        assert shares[0] == pytest.approx(1.0) and shares[1:] == pytest.approx([2 / (1 + math.e)] * (len(shares) - 1))


def test_where_nobody_is_of_use_nobody_is_protected():
    # The authors' ratio would be positive here, and protect the most harmful.
    optimizer = UPGD(sigma=0.0, weight_decay=0.0)
    before = born(optimizer)
    harmful = {name: param.clone() for name, param in before.params.items()}
    for beta in (0.0, 0.999):
        after = train(UPGD(sigma=0.0, weight_decay=0.0, beta=beta), before, [harmful], 0.1)
        plain = train(SGD(), born(SGD()), [harmful], 0.1)
        for name, param in plain.params.items():
            torch.testing.assert_close(after.params[name], param, rtol=1e-12, atol=0)


def test_a_newborn_weights_utility_is_its_own():
    optimizer = UPGD(sigma=0.0, weight_decay=0.0)
    net = train(optimizer, born(optimizer), draws(1, 30), 0.01)
    masks = {"head.bias": torch.tensor([True, False])}
    net = overwrite(net, masks, {"head.bias": torch.tensor([3.0, 3.0])})
    (grads,) = draws(2)
    after = train(optimizer, net, [grads], 0.01)
    corrected = after.slots["utility"]["head.bias"] / after.slots["seen"]["head.bias"]
    assert corrected[0].item() == pytest.approx(-3 * grads["head.bias"][0].item(), rel=1e-9)
    grown = 1 - 0.999**31
    assert after.slots["seen"]["head.bias"].tolist() == pytest.approx([0.001, grown], rel=1e-9)
