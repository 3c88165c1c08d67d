"""Static sparsity: what is removed, and that it stays away."""

import pytest
import torch
from torch import nn

from plasticity_rl.attach import attach
from plasticity_rl.interventions import ReDo, Reset, StaticSparsity
from plasticity_rl.interventions.static_sparsity import drawn_mask
from tests.learners import RATE, SPECS, batches, generator, learn

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("kind", list(SPECS))
def test_that_share_of_each_hidden_weight_is_zero_from_birth_through_updates_and_refreshes(kind: str) -> None:
    chain = (StaticSparsity(sparsity=0.3), ReDo(tau=0.9, every=2), Reset(part="network"))
    learner = learn(chain, kind, 2)
    hidden = [layer for layer in learner.network.layers if not layer.head]

    def zeros() -> dict[str, torch.Tensor]:
        return {layer.name: learner.net.params[layer.weight] == 0 for layer in hidden}

    births = zeros()
    for layer in hidden:
        size = learner.net.params[layer.weight][0].numel()
        assert births[layer.name].flatten(1).sum(1).tolist() == [round(0.3 * size)] * 2
        assert not torch.equal(*births[layer.name])  # members have masks of their own
    assert all(learner.net.params[layer.weight].all() for layer in learner.network.layers if layer.head)
    for count, batch in enumerate(batches(kind, 2, 5), start=1):
        learner.update(RATE, batch)
        if count == 3:
            learner.task_boundary()
        for name, mask in zeros().items():
            assert mask[births[name]].all(), (count, name)
    untrained = learner.projected(learner.fresh("reference"))
    for layer in hidden:  # an untrained network to compare with is as sparse
        assert torch.equal(untrained[layer.weight] == 0, births[layer.name])


def test_a_mask_holds_an_exact_number_and_never_everything() -> None:
    mask = drawn_mask(torch.ones(4, 5), 0.25, generator())
    assert sorted(mask.flatten().tolist()) == [0.0] * 5 + [1.0] * 15
    assert drawn_mask(torch.ones(1, 3), 0.99, generator()).sum() == 1
    counts = sum(drawn_mask(torch.ones(10), 0.5, generator(seed)) for seed in range(400))
    assert isinstance(counts, torch.Tensor) and counts.min() > 150 and counts.max() < 250  # each place about as often


def test_a_module_is_pruned_when_it_is_attached() -> None:
    module = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 2))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    plan = attach(module, optimizer, (StaticSparsity(sparsity=0.5),), torch.randn(3, 6))
    weight = plan.params["0.weight"]
    gone = weight == 0
    assert gone.sum() == 30
    module(torch.randn(8, 6)).square().mean().backward()
    optimizer.step()
    assert weight[gone].any()
    plan.after_step()
    assert not weight[gone].any() and weight[~gone].all()
