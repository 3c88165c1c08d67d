"""AdamO beside torch's Adam and the gradient of its penalty by automatic differentiation."""

import pytest
import torch

from plasticity_rl.optim.adamo import AdamO
from plasticity_rl.optim.optimizers import Adam, Net
from tests.learners import built, random_like, random_net

pytestmark = pytest.mark.usefixtures("double")


def penalty(weight: torch.Tensor) -> torch.Tensor:
    """||W^T W - I||^2 for a weight with at least as many rows as columns, else ||W W^T - I||^2."""
    matrix = weight.flatten(1)
    gram = matrix.T @ matrix if len(matrix) >= matrix.shape[1] else matrix @ matrix.T
    return (gram - torch.eye(len(gram))).square().sum()


@pytest.mark.parametrize("kind", ["mlp", "convolutions"])
def test_the_tasks_gradient_goes_through_adam_and_the_penaltys_beside_it(kind: str) -> None:
    network = built(kind)
    ours, params = AdamO(isometry=0.05), random_net(network).params
    net = Net(params, ours.init(params))
    theirs = {name: torch.nn.Parameter(param.clone()) for name, param in params.items()}
    adam = torch.optim.Adam(theirs.values(), lr=0.01)
    for seed in range(8):
        grads = random_like(params, seed)
        pull = {}
        for layer in network.layers:
            if not layer.head:
                (pull[layer.weight],) = torch.autograd.grad(penalty(theirs[layer.weight]), theirs[layer.weight])
        for name, weight in theirs.items():
            weight.grad = grads[name]
        adam.step()
        with torch.no_grad():
            for name, gradient in pull.items():
                theirs[name].sub_(0.01 * 0.05 * gradient)
        net = ours.update(net, grads, torch.tensor(0.01), network.layers)
        for name, weight in theirs.items():
            torch.testing.assert_close(net.params[name], weight.detach(), rtol=1e-9, atol=1e-12)


def test_without_a_gradient_weights_become_orthogonal_and_heads_stay() -> None:
    network = built("mlp")
    optimizer, params = AdamO(isometry=1.0), random_net(network).params
    net = Net(params, optimizer.init(params))
    zeros = {name: torch.zeros_like(param) for name, param in params.items()}
    for _ in range(2000):
        net = optimizer.update(net, zeros, torch.tensor(0.01), network.layers)
    for layer in network.layers:
        singular = torch.linalg.svdvals(net.params[layer.weight])
        if layer.head:
            assert torch.equal(net.params[layer.weight], params[layer.weight])
        else:
            torch.testing.assert_close(singular, torch.ones_like(singular), rtol=1e-6, atol=0)


def test_without_strength_it_is_adam() -> None:
    network = built("mlp")
    params, grads = random_net(network).params, random_like(random_net(network).params, 1)
    nets = [each.update(Net(params, each.init(params)), grads, torch.tensor(0.1), network.layers) for each in (AdamO(isometry=0.0), Adam())]
    assert all(torch.equal(nets[0].params[name], nets[1].params[name]) for name in params)
