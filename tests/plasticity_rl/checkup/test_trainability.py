"""Pairs that learn side by side, held to a plain loop over one network."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from plasticity_rl.checkup import trainability
from plasticity_rl.checkup.network import Examined, examined
from plasticity_rl.checkup.trainability import BATCH, Task
from plasticity_rl.seeds import derive

INPUTS = torch.randn(80, 3, generator=torch.Generator().manual_seed(0))


def of(module: nn.Module) -> Examined:
    return examined(module, (INPUTS,), None, 0)


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))


def quiet(*_: int) -> None:
    pass


def test_pairs_learn_as_one_network_in_a_plain_loop() -> None:
    module = mlp()
    network, pairs, updates = of(module), 2, 20
    task = trainability.teachers(network, (INPUTS,), pairs)
    found = trainability.learn(network, (INPUTS,), task, updates, pairs, 1e-2, 3, quiet)
    draw = torch.Generator().manual_seed(derive(3, "probe batches"))
    orders = [torch.randint(len(INPUTS), (pairs, BATCH), generator=draw)[1] for _ in range(updates)]
    for side, learned in ((0, found.own), (1, found.fresh)):
        plain = mlp()
        if side:
            plain.load_state_dict(network.twin(1))
        optimizer, losses = torch.optim.Adam(plain.parameters(), lr=1e-2), []
        for order in orders:
            errors = (plain(INPUTS[order]) - task.targets[1, side][order]) / task.scales[1, side]
            loss = ((errors - errors.mean(0)).square().sum(0) / (BATCH - 1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(max(1 - loss.item(), 0.0))
        tenths = [sum(losses[i : i + 2]) / 2 for i in range(0, updates, 2)]
        assert learned[1] == pytest.approx(tenths, abs=1e-4)


class Unliftable(nn.Module):
    """Asks for the values of its outputs, which torch.func.vmap refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.layers(x)
        assert out.abs().max().item() < 1e6
        return out


def test_modules_that_cannot_be_lifted_learn_the_same() -> None:
    plain, other = of(mlp()), of(Unliftable())
    task = trainability.teachers(plain, (INPUTS,), 2)
    one, two = (trainability.learn(each, (INPUTS,), task, 10, 2, 1e-2, 0, quiet) for each in (plain, other))
    assert all(a == pytest.approx(b, abs=1e-5) for a, b in zip(one.own, two.own, strict=True))


def test_targets_have_the_scale_of_the_learners_outputs() -> None:
    before = torch.tensor([[100.0, 0.0], [300.0, 0.0]])  # mean 200, deviation 100; and a constant, whose unit is 1
    targets, scales = trainability.scaled(before, torch.tensor([[1.0, 5.0], [3.0, 7.0]]))
    assert scales.tolist() == [100.0, 1.0]
    assert targets.tolist() == [[100.0, -1.0], [300.0, 1.0]]


def test_errors_that_all_examples_share_cost_nothing() -> None:
    outputs, targets = torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([[101.0, 5.0], [107.0, 5.0]])
    assert trainability.differences(outputs, targets, torch.tensor([2.0, 1.0])) == pytest.approx(1.0)  # variances 2 and 0


def test_losses_of_own_targets_are_shares() -> None:
    numbers = trainability.own_targets(torch.tensor([[0.0], [4.0]]), 1)
    mean = torch.full((2, 1), 2.0)
    assert trainability.own_loss(mean, numbers.targets[0, 0], numbers.scales[0, 0]) == pytest.approx(1.0)
    classes = trainability.own_targets(torch.tensor([0, 1, 1, 1]), 2)
    shares = torch.tensor([0.25, 0.75]).log().expand(4, 2)
    assert trainability.own_loss(shares, classes.targets[0, 0], classes.scales) == pytest.approx(1.0)
    assert trainability.own_loss(shares, classes.targets[0, 0], torch.tensor(1.0)) == pytest.approx(
        F.cross_entropy(shares, torch.tensor([0, 1, 1, 1])).item()
    )


def test_networks_that_diverge_have_learned_nothing() -> None:
    network = of(mlp())
    task = Task(torch.full((1, 1, 80, 2), float("nan")), torch.ones(1, 1, 2), trainability.differences)
    found = trainability.learn(network, (INPUTS,), task, 10, 2, 1e-2, 0, quiet)
    assert found.own == found.fresh == ((0.0,) * 10,) * 2


def test_costly_networks_have_shorter_probes() -> None:
    assert trainability.budget(of(mlp()), (INPUTS,)) == (trainability.UPDATES, trainability.PAIRS)
    wide = examined(nn.Sequential(nn.Linear(3, 3000), nn.ReLU(), nn.Linear(3000, 3000), nn.ReLU(), nn.Linear(3000, 1)), (INPUTS,), None, 0)
    multiplications = 3 * 3000 + 3000 * 3000 + 3000
    updates, pairs = trainability.budget(wide, (INPUTS,))
    assert pairs == trainability.FEW_PAIRS
    assert updates == int(trainability.BUDGET / (multiplications * 3 * BATCH * 2 * pairs))
