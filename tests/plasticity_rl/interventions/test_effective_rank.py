"""Steps along the gradient of the effective rank: by differences of numpy's singular values."""

import numpy as np
import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import EffectiveRank, RefreshContext
from plasticity_rl.interventions.effective_rank import effective_rank
from plasticity_rl.networks.layers import Params
from plasticity_rl.optim.optimizers import Net
from tests.learners import SPECS, assert_same, batches, built, copies, deaden, generator, learn, random_net

pytestmark = pytest.mark.usefixtures("double")


def rank_by_numpy(units: torch.Tensor) -> float:
    shares = np.linalg.svd(units.numpy(), compute_uv=False)
    shares = shares[shares > 0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


@pytest.mark.parametrize("kind", ["mlp", "convolutions", "separate"])
def test_a_step_is_rate_times_the_gradient(kind: str) -> None:
    network, draw = built(kind, activation="tanh"), generator(4)
    net, x = random_net(network), torch.randn(5, *SPECS[kind][1], generator=generator(2))

    def mean(params: Params) -> float:
        return float(np.mean([rank_by_numpy(units) for units in network.apply(params, x)[1].values()]))

    evidence = RefreshContext({}, network.apply(net.params, x)[1], lambda params: network.apply(params, x))
    after, _ = EffectiveRank(rate=0.1).refresh(net, {}, evidence, network.layers)
    heads = {name for layer in network.layers if layer.head for name in layer.own}
    for name, param in net.params.items():
        moved = after.params[name] - param
        assert name not in heads or not moved.any()
        place = tuple(int(torch.randint(size, (), generator=draw)) for size in param.shape)
        step = torch.zeros_like(param)
        step[place] = 1e-5
        slope = (mean(net.params | {name: param + step}) - mean(net.params | {name: param - step})) / 2e-5
        assert moved[place].item() == pytest.approx(0.1 * slope, rel=1e-5, abs=1e-9), name
    assert mean(after.params) > mean(net.params)
    assert_same(after.slots["mean"], net.slots["mean"])


def test_ranks_by_hand() -> None:
    # Two orthogonal directions of equal size, then of sizes 3 and 1: H = -(3/4) log(3/4) - (1/4) log(1/4).
    assert effective_rank(torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]])).item() == pytest.approx(2.0)
    assert effective_rank(torch.tensor([[3.0, 0.0], [0.0, -1.0]])).item() == pytest.approx(4 / 3**0.75)


def test_dead_layers_and_directions_have_no_gradient() -> None:
    network = built("mlp")
    net, x = random_net(network), torch.randn(5, 5, generator=generator(2))
    net = Net(deaden(network, net.params, {"hidden1": tuple(range(8))}), net.slots)
    evidence = RefreshContext({}, network.apply(net.params, x)[1], lambda params: network.apply(params, x))
    after, _ = EffectiveRank(rate=1.0).refresh(net, {}, evidence, network.layers)
    assert all(param.isfinite().all() for param in after.params.values())
    assert torch.equal(after.params["hidden1.weight"], net.params["hidden1.weight"])
    flat = torch.ones(4, 3).requires_grad_()  # one direction: the rank is 1 along every change of its length
    (slope,) = torch.autograd.grad(effective_rank(flat), flat)
    assert slope.abs().max() < 1e-9


def test_it_waits_for_a_batch() -> None:
    learner = learn((EffectiveRank(clock="task", every=1, rate=0.1),), "mlp", 2)
    before = copies(learner)
    learner.task_boundary()
    assert_same(copies(learner), before)
    learner.update(0.0, batches("mlp", 2, 1)[0])
    before = copies(learner)
    learner.task_boundary()
    assert not torch.equal(copies(learner)["params/hidden0.weight"], before["params/hidden0.weight"])
    with pytest.raises(UsageError, match="no batch has been learned from yet"):
        RefreshContext({}, {}).apply({})
