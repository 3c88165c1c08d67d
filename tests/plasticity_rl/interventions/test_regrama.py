"""ReGraMa beside a plain reading, unit by unit."""

import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.interventions import ReGraMa
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Net
from tests.learners import SPECS, assert_same, built, evidence_for, generator, random_like, random_net, seen
from tests.refreshes import READERS, recycled_by_loops

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("kind", list(SPECS))
def test_units_with_little_gradient_are_recycled(kind: str) -> None:
    network = built(kind)
    net, grads = random_net(network), random_like(random_net(network).params, 5)
    marked = {layer: [0, 2] for layer in READERS[kind]}
    for layer, units in marked.items():
        for unit in units:
            grads[f"{layer}.weight"][unit] *= 0.01
    evidence, around = evidence_for(network, net), seen(network)
    method = ReGraMa(tau=0.1)
    _, state = method.after_step(net, method.init(net.params, network.layers, generator()), grads, network.layers, around)
    after, _ = method.refresh(net, state, evidence, network.layers)
    expected = recycled_by_loops(kind, net, evidence.fresh, marked)
    assert_same(after.params, expected.params)
    for slot, tensors in expected.slots.items():
        assert_same(after.slots[slot], tensors)


def test_scores_are_means_of_gradients_from_autograd_over_the_layers_mean() -> None:
    network = Network(MLP(width=4, depth=3, activation="tanh"), (3,), 2)
    params = {name: param.requires_grad_() for name, param in network.init(generator(1)).items()}
    inputs = torch.randn(6, 3, generator=generator(2))
    F.cross_entropy(network.apply(params, inputs)[0], torch.tensor([0, 1, 0, 1, 1, 0])).backward()
    grads = {name: param.grad for name, param in params.items() if param.grad is not None}
    net = Net({name: param.detach() for name, param in params.items()}, {})
    method = ReGraMa(tau=0.75)
    _, state = method.after_step(net, {}, grads, network.layers, seen(network))
    fresh = network.init(generator(3))
    recycled = {}
    for layer in READERS["mlp"]:
        rows = [sum(abs(g) for g in row) / len(row) for row in grads[f"{layer}.weight"].tolist()]
        recycled[layer] = [unit for unit, row in enumerate(rows) if row / (sum(rows) / 4) <= 0.75]
    assert all(0 < len(units) < 4 for units in recycled.values())
    after, _ = method.refresh(net, state, evidence_for(network, net)._replace(fresh=fresh), network.layers)
    assert_same(after.params, recycled_by_loops("mlp", net, fresh, recycled).params)


def test_nothing_is_recycled_before_there_is_a_gradient() -> None:
    network = built("mlp")
    net = random_net(network)
    method = ReGraMa(tau=0.9)
    after, _ = method.refresh(net, method.init(net.params, network.layers, generator()), evidence_for(network, net), network.layers)
    assert_same(after.params, net.params)
