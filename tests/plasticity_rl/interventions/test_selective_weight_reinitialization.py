"""Selective weight reinitialization by hand."""

import pytest
import torch

from plasticity_rl.interventions import SelectiveWeightReinitialization
from plasticity_rl.interventions.base import RefreshContext
from plasticity_rl.optim.optimizers import Adam, Net
from tests.learners import assert_same, built, generator, random_like, random_net, seen

pytestmark = pytest.mark.usefixtures("double")


def test_the_least_useful_weights_take_new_values() -> None:
    network = built("mlp")
    net = random_net(network)
    weight, gradient = torch.zeros(8, 5), torch.zeros(8, 5)
    weight[0], gradient[0] = torch.tensor([2.0, -3.0, 0.1, 4.0, 0.0]), torch.tensor([1.0, 2.0, 5.0, 0.0, 7.0])
    weight[1:], gradient[1:] = 1.0, 1.0
    net.params["hidden0.weight"] = weight
    grads = random_like(net.params, 3) | {"hidden0.weight": gradient}
    method = SelectiveWeightReinitialization(factor=0.5)
    _, state = method.after_step(net, method.init(net.params, network.layers, generator()), grads, network.layers, seen(network))
    assert state["hidden0.weight"][0].tolist() == [2.0, 6.0, 0.5, 0.0, 0.0]
    fresh = {name: torch.full_like(param, 9.0) for name, param in net.params.items()}
    after, _ = method.refresh(net, state, RefreshContext(fresh, {}), network.layers)
    # utilities add to 8.5 + 35, 40 elements: half of the mean is 0.54
    assert after.params["hidden0.weight"][0].tolist() == [2.0, -3.0, 9.0, 9.0, 9.0]
    assert (after.params["hidden0.weight"][1:] == 1).all()
    slots = Adam().slots
    for slot in slots:
        old, new = (each.slots[slot]["hidden0.weight"] for each in (net, after))
        assert not new[0, 2:].any() and torch.equal(new[0, :2], old[0, :2]) and torch.equal(new[1:], old[1:])


def test_magnitudes_need_no_gradient_and_a_part_may_be_chosen() -> None:
    network = built("mlp")
    net = Net({name: torch.ones(shape) for name, shape in network.shapes.items()}, {})
    net.params["hidden1.weight"][3, 4] = net.params["head.weight"][0, 0] = -0.1
    fresh = {name: torch.full_like(param, 9.0) for name, param in net.params.items()}
    method = SelectiveWeightReinitialization(utility="magnitude", factor=0.2, part="hidden")
    assert method.init(net.params, network.layers, generator()) == {}
    after, _ = method.refresh(net, {}, RefreshContext(fresh, {}), network.layers)
    expected = {name: param.clone() for name, param in net.params.items()}
    expected["hidden1.weight"][3, 4] = 9.0
    assert_same(after.params, expected)


def test_nothing_changes_before_there_is_a_gradient() -> None:
    network = built("mlp")
    net = random_net(network)
    method = SelectiveWeightReinitialization(factor=0.99)
    state = method.init(net.params, network.layers, generator())
    after, _ = method.refresh(net, state, RefreshContext(network.init(generator(1)), {}), network.layers)
    assert_same(after.params, net.params)
