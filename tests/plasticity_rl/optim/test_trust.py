"""LARS and LAMB beside plain readings of their formulas."""

import pytest
import torch

from plasticity_rl.optim.optimizers import LAMB, LARS, Adam, Net
from tests.learners import SPECS, built, generator, random_like
from tests.plasticity_rl.optim.test_optimizers import NETWORK, SHAPES, born, draws, train

pytestmark = pytest.mark.usefixtures("double")

Lists = dict[str, list[float]]


def lists(params: dict[str, torch.Tensor]) -> Lists:
    return {name: param.flatten().tolist() for name, param in params.items()}


def length(numbers: list[float]) -> float:
    return sum(number**2 for number in numbers) ** 0.5


def lars_by_loops(params: Lists, gradients: list[Lists], rate: float, trust: float, momentum: float, decay: float) -> Lists:
    """You et al. 2017, one tensor after another; a weight's name ends in `weight`."""
    weights, velocity = (
        {name: list(values) for name, values in params.items()},
        {name: [0.0] * len(values) for name, values in params.items()},
    )
    for gradient in gradients:
        for name, w in weights.items():
            g, local, pull = gradient[name], 1.0, 0.0
            if name.endswith(".weight"):
                local, pull = trust * length(w) / (length(g) + decay * length(w)), decay
            for i in range(len(w)):
                velocity[name][i] = momentum * velocity[name][i] + local * (g[i] + pull * w[i])
            for i in range(len(w)):
                w[i] -= rate * velocity[name][i]
    return weights


def lamb_by_loops(params: Lists, gradients: list[Lists], rate: float, decay: float) -> Lists:
    """You et al. 2019, algorithm 2, with the identity for phi."""
    weights = {name: list(values) for name, values in params.items()}
    m, v = ({name: [0.0] * len(values) for name, values in params.items()} for _ in range(2))
    for t, gradient in enumerate(gradients, start=1):
        for name, w in weights.items():
            direction = []
            for i, g in enumerate(gradient[name]):
                m[name][i] = 0.9 * m[name][i] + 0.1 * g
                v[name][i] = 0.999 * v[name][i] + 0.001 * g * g
                r = (m[name][i] / (1 - 0.9**t)) / ((v[name][i] / (1 - 0.999**t)) ** 0.5 + 1e-6)
                direction.append(r + (decay * w[i] if name.endswith(".weight") else 0.0))
            trust = length(w) / length(direction) if name.endswith(".weight") else 1.0
            weights[name] = [w[i] - rate * trust * direction[i] for i in range(len(w))]
    return weights


def assert_close(net: Net, expected: Lists) -> None:
    for name, values in expected.items():
        assert net.params[name].flatten().tolist() == pytest.approx(values, rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lars_is_the_paper_number_by_number(decay):
    optimizer, gradients = LARS(trust=0.02, momentum=0.8, weight_decay=decay), draws(1, 10)
    expected = lars_by_loops(lists(born(optimizer).params), [lists(each) for each in gradients], 0.5, 0.02, 0.8, decay)
    assert_close(train(optimizer, born(optimizer), gradients, 0.5), expected)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lamb_is_the_paper_number_by_number(decay):
    optimizer, gradients = LAMB(weight_decay=decay), draws(1, 10)
    expected = lamb_by_loops(lists(born(optimizer).params), [lists(each) for each in gradients], 0.03, decay)
    assert_close(train(optimizer, born(optimizer), gradients, 0.03), expected)


@pytest.mark.parametrize("kind", list(SPECS))
def test_each_weight_tensor_moves_by_its_own_length_and_nothing_else_does(kind):
    network = built(kind, norm="layer")
    params = network.init(generator(1))
    params |= {name: param for name, param in random_like(params, 3).items() if not name.endswith(".weight")}
    grads = random_like(params, 2)
    for optimizer, share in ((LARS(momentum=0.0, trust=0.01), 0.01), (LAMB(), 1.0)):
        after = optimizer.update(Net(params, optimizer.init(params)), grads, torch.tensor(0.1), network.layers)
        plain = Adam(epsilon=1e-6).update(Net(params, Adam().init(params)), grads, torch.tensor(0.1), network.layers)
        for name, param in params.items():
            moved = param - after.params[name]
            if name.endswith(".weight"):
                assert moved.norm().item() == pytest.approx(0.1 * share * param.norm().item(), rel=1e-9)
            else:
                expected = 0.1 * grads[name] if share < 1 else param - plain.params[name]
                torch.testing.assert_close(moved, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", [LARS(), LAMB()], ids=str)
def test_a_weight_of_zeros_moves_as_without_a_ratio(optimizer):
    grads = draws(1)[0]
    zeros = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    after = optimizer.update(Net(zeros, optimizer.init(zeros)), grads, torch.tensor(0.1), NETWORK.layers)
    for name, grad in grads.items():
        expected = -0.1 * (grad if isinstance(optimizer, LARS) else grad / (grad.abs() + 1e-6))
        torch.testing.assert_close(after.params[name], expected, rtol=1e-9, atol=0)
