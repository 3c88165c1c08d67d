"""Kron beside its algorithm for a matrix, written out with inverses, and by what it is for: steps of whitened gradients."""

import math

import pytest
import torch
from torch import Tensor

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import ContinualBackprop, LayerNorm, ReDo, Reset, assemble
from plasticity_rl.optim.by_network import ByNetwork
from plasticity_rl.optim.kron import Kron
from plasticity_rl.optim.optimizers import Net
from tests.learners import SPECS, assert_same, batches, built, copies, learn, loss

pytestmark = pytest.mark.usefixtures("double")


def numbers(seed: int, count: int, *shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def run(optimizer: Kron, given: list[Tensor], noise: list[Tensor], rate: float = 0.1) -> tuple[list[Tensor], Net]:
    """A weight that starts at 0, after each update; and the network at the end."""
    net, weights = Net({"w": torch.zeros_like(given[0])}, optimizer.init({"w": given[0]})), []
    for gradient, drawn in zip(given, noise, strict=True):
        net = optimizer.update(net, {"w": gradient}, torch.tensor(rate), (), {"w": drawn})
        weights.append(net.params["w"])
    return weights, net


def bound(matrix: Tensor) -> float:
    """A lower bound of the largest singular value: the matrix times the direction of (its longest column's row) times it."""
    largest = matrix.abs().max()
    scaled = matrix / largest
    column = max(range(len(scaled)), key=lambda j: float(scaled[:, j] @ scaled[:, j]))
    x = scaled.T @ scaled[:, column]
    return float((scaled @ (x / x.norm())).norm() * largest)


def algorithm(given: list[Tensor], noise: list[Tensor], beta1: float, fit_rate: float, rate: float) -> list[Tensor]:
    """Every update fits both factors Q1 and Q2 to the momentum M and the noise V: A = Q1 M Q2^T beside B = Q1^-T V Q2^-1."""
    mean, weight, weights = torch.zeros_like(given[0]), torch.zeros_like(given[0]), []
    left, right = (torch.eye(size) for size in given[0].shape)
    for t, (gradient, v) in enumerate(zip(given, noise, strict=True), start=1):
        mean = beta1 * mean + (1 - beta1) * gradient
        m = mean / (1 - beta1**t)
        m = m + 2**-11.5 * m.abs().mean() * v  # the root of single precision's 2^-23
        a, b = left @ m @ right.T, left.inverse().T @ v @ right.inverse()
        for_left = a @ a.T - b @ b.T, bound(a @ a.T + b @ b.T)
        for_right = a.T @ a - b.T @ b, bound(a.T @ a + b.T @ b)
        left, right = (q - fit_rate / norm * slope.triu() @ q for q, (slope, norm) in ((left, for_left), (right, for_right)))
        step = left.T @ left @ m @ right.T @ right
        weight = weight - rate * step * min(1.0, 1.1 / float(step.square().mean()) ** 0.5)
        weights.append(weight)
    return weights


def test_a_matrix_is_moved_as_by_the_algorithm() -> None:
    given, noise = numbers(1, 40, 5, 3), numbers(2, 40, 5, 3)
    ours, theirs = run(Kron(beta1=0.8, fit_rate=0.2), given, noise)[0], algorithm(given, noise, 0.8, 0.2, 0.1)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-7, atol=1e-9)


def test_a_vector_has_a_diagonal_factor() -> None:
    given, noise = numbers(1, 30, 4), numbers(2, 30, 4)
    ours, q, weight = run(Kron(beta1=0.0), given, noise)[0], torch.ones(4), torch.zeros(4)
    for mine, gradient, v in zip(ours, given, noise, strict=True):
        m = gradient + 2**-11.5 * gradient.abs().mean() * v
        q = q - 0.1 * ((q * m) ** 2 - (v / q) ** 2) * q / ((q * m) ** 2 + (v / q) ** 2).max()
        step = q**2 * m
        weight = weight - 0.1 * step * min(1.0, 1.1 / float(step.square().mean()) ** 0.5)
        torch.testing.assert_close(mine, weight, rtol=1e-10, atol=1e-12)
    long = run(Kron(largest=3), [each.repeat(2, 1) for each in given], [each.repeat(2, 1) for each in noise])[1]
    assert long.slots["factors"]["w"].shape == (2 * 2 + 4,)


def test_convolutions_are_matrices_as_in_the_authors_code() -> None:
    merged = {(32, 4, 8, 8): (1024, 8), (4, 2, 3): (8, 3), (2, 3, 20): (6, 20), (2, 9, 9): (18, 9), (7, 3): (7, 3), (5,): (5,)}
    assert {shape: Kron()._matrix(shape) for shape in merged} == merged
    given, noise = numbers(1, 10, 4, 2, 3), numbers(2, 10, 4, 2, 3)
    flat = run(Kron(), [each.view(8, 3) for each in given], [each.view(8, 3) for each in noise])[0]
    torch.testing.assert_close(run(Kron(), given, noise)[0][-1].view(8, 3), flat[-1], rtol=1e-12, atol=0)


def test_fits_become_rarer() -> None:
    optimizer, waited, fits, expected = Kron(settled=20, rarest=0.5), 0, 0, []
    given = numbers(1, 1, 2, 2) * 800
    net = Net({"w": given[0]}, optimizer.init({"w": given[0]}))
    found = []
    for update, gradient in enumerate(given):
        waited += 1
        if waited >= 1 / min(max(math.exp(-0.001 * (update - 20)), 0.5), 1.0):
            waited, fits = 0, fits + 1
        expected.append([update + 1, waited, fits])
        net = optimizer.update(net, {"w": gradient}, torch.tensor(0.0), (), {"w": gradient})
        found.append(net.slots["counts"]["w"].tolist())
    assert found == expected
    assert [waited for _, waited, _ in found[-6:]] in ([0, 1] * 3, [1, 0] * 3)  # every other update at the end


def test_steps_are_whitened_gradients() -> None:
    """Gradients L X R^T have correlated elements of unequal size; after many fits, those of their steps are independent and of size 1."""
    (left, right), count = numbers(5, 2, 3, 3), 1500
    given = [left @ x @ right.T for x in numbers(6, count, 3, 3)]
    _, net = run(Kron(beta1=0.0, fit_rate=0.03, settled=count), given, numbers(7, count, 3, 3))
    q1, q2 = (each.view(3, 3) for each in net.slots["factors"]["w"].split([9, 9]))
    before, after = (torch.stack(each).flatten(1).T.cov() for each in (given, [q1.T @ q1 @ g @ q2.T @ q2 for g in given]))
    assert (after - torch.eye(9)).abs().max() < 0.6 < 2 < (before - torch.eye(9)).abs().max()


def test_factors_are_scaled_to_equal_size_at_every_hundredth_fit() -> None:
    given, noise = numbers(1, 100, 4, 4), numbers(2, 100, 4, 4)
    optimizer = Kron()
    net = run(optimizer, given[:99], noise[:99])[1]
    slots = net.slots | {"factors": {"w": net.slots["factors"]["w"] * torch.tensor([8.0, 0.125]).repeat_interleave(16)}}  # the same step
    nets = [optimizer.update(each, {"w": given[99]}, torch.tensor(0.1), (), {"w": noise[99]}) for each in (net, net._replace(slots=slots))]
    torch.testing.assert_close(nets[0].slots["factors"]["w"], nets[1].slots["factors"]["w"], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(nets[0].params["w"], nets[1].params["w"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("members", [1, 3])
def test_a_reset_tensor_begins_anew_and_a_resumed_run_is_the_run(members: int) -> None:
    straight, resumed = (learn((Reset(clock="task", part="optimizer"),), "mlp", members, optimizer=Kron()) for _ in range(2))
    data = batches("mlp", members, 8)
    for batch in data[:4]:
        straight.update(0.05, batch)
    straight.task_boundary()
    assert not any(tensor.any() for state in straight.net.slots.values() for tensor in state.values())
    resumed.load({name: tensor.clone() for name, tensor in straight.tensors().items()}, dict(straight.ticks))
    for batch in data[4:]:
        straight.update(0.05, batch)
        resumed.update(0.05, batch)
    assert_same(copies(straight), copies(resumed))
    assert {float(each) for each in straight.net.slots["counts"]["hidden0.weight"][:, 0]} == {4.0}
    assert loss(straight.network, straight.one(0), {name: tensor[0] for name, tensor in data[0].items()})[0].isfinite()


def test_networks_with_settings_of_their_own_share_the_noise() -> None:
    params = {name: each for name, each in zip(("policy.weight", "value.weight"), numbers(3, 2, 3, 3), strict=True)}
    grads, noise = ({name: each for name, each in zip(params, numbers(seed, 2, 3, 3), strict=True)} for seed in (4, 5))
    layers = built("separate").layers
    by_network = ByNetwork.of(Kron(), {"policy": Kron(weight_decay=0.5)})
    one, other = (each.update(Net(params, each.init(params)), grads, torch.tensor(0.1), layers, noise) for each in (by_network, Kron()))
    expected = other.params["policy.weight"] - 0.1 * 0.5 * params["policy.weight"]
    torch.testing.assert_close(one.params["policy.weight"], expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(one.params["value.weight"], other.params["value.weight"])


@pytest.mark.parametrize("method", [ReDo(), ContinualBackprop()])
def test_methods_that_reset_single_weights_are_refused(method: ReDo | ContinualBackprop) -> None:
    spec, inputs, ends = SPECS["mlp"]
    with pytest.raises(UsageError, match=f"{type(method).__name__} may reset .* and that of Kron belongs to whole tensors"):
        assemble(spec, Kron(), (LayerNorm(), method), inputs, ends)


def test_a_gradient_that_is_not_finite_ends_in_weights_that_are_not() -> None:
    given = numbers(1, 6, 3, 3)
    given[2] = given[2].index_fill(0, torch.tensor([1]), torch.nan)
    assert not run(Kron(), given, numbers(2, 6, 3, 3))[0][-1].isfinite().any()
