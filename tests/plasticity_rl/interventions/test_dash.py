"""DASH beside its formula, one direction at a time."""

import math

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import DASH
from tests.learners import RATE, SPECS, batches, built, copies, evidence_for, generator, learn, random_like, random_net, seen

pytestmark = pytest.mark.usefixtures("double")


def factor(weights: list[float], average: list[float], least: float) -> float:
    """max(least, cos(w, -g)) of one direction."""
    along = -sum(w * g for w, g in zip(weights, average, strict=True))
    return max(least, along / math.sqrt(sum(w * w for w in weights)) / math.sqrt(sum(g * g for g in average)))


@pytest.mark.parametrize("kind", list(SPECS))
def test_dash_is_the_formula_direction_by_direction(kind):
    method, network = DASH(least=0.1, alpha=0.25), built(kind)
    net = random_net(network)
    state = method.init(net.params, network.layers, generator())
    averages = {name: torch.zeros_like(param) for name, param in net.params.items()}
    for step in range(3):
        grads = random_like(net.params, step)
        net, state = method.after_step(net, state, grads, network.layers, seen(network))
        averages = {name: 0.75 * old + 0.25 * grads[name] for name, old in averages.items()}
    after, _ = method.refresh(net, state, evidence_for(network, net), network.layers)
    factors = []
    for name, old in net.params.items():
        if not name.endswith((".weight", ".bias")):
            assert torch.equal(after.params[name], old)
            continue
        ends = 2 if old.ndim == 4 else 1  # a kernel, a row, or all biases

        def directions(tensor, ends=ends):
            return tensor.flatten(-ends).flatten(0, -2) if tensor.ndim > 1 else tensor[None]

        rows, kept, new = (directions(tree[name]) for tree in (net.params, averages, after.params))
        for row in range(min(len(rows), 40)):
            expected = factor(rows[row].tolist(), kept[row].tolist(), 0.1)
            factors.append(expected)
            torch.testing.assert_close(new[row], rows[row] * expected, rtol=1e-9, atol=1e-12)
    assert after.slots is net.slots
    assert min(factors) == 0.1 and max(factors) > 0.3


def test_what_points_along_the_negative_gradient_stays_and_what_points_elsewhere_shrinks():
    method, network = DASH(least=0.3), built("mlp")
    net = random_net(network)
    weight = net.params["hidden1.weight"]
    state = {name: -1e-9 * net.params[name] for name in method.init(net.params, network.layers, generator())}
    state["hidden1.weight"][0] *= -1  # points along the gradient
    state["hidden1.weight"][1] = 0.0  # zero gradient
    after, _ = method.refresh(net, state, evidence_for(network, net), network.layers)
    expected = weight.clone()
    expected[:2] *= 0.3
    torch.testing.assert_close(after.params["hidden1.weight"], expected, rtol=1e-12, atol=0)


def test_the_gradients_are_those_of_the_updates():
    learner = learn((DASH(alpha=1.0),), "mlp", 2)
    first, second = batches("mlp", 2, 2)
    learner.update(RATE, first)
    before = copies(learner)
    learner.update(RATE, second)
    for name, average in learner.states[0].items():
        new = learner.net.slots["mean"][name] - 0.9 * before[f"slots/mean/{name}"]
        torch.testing.assert_close(average, new / 0.1, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"least": 1.5}, "least must lie in [0, 1], not 1.5"), ({"alpha": 0.0}, "alpha must lie in (0, 1], not 0.0")],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        DASH(**fields)
    assert str(raised.value) == f"DASH: {message}"
