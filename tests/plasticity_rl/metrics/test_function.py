import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.metrics import function
from plasticity_rl.training.lift import lift, stack
from tests.learners import SPECS, built, generator, random_like
from tests.refreshes import READERS, columns_by_hand

pytestmark = pytest.mark.usefixtures("double")


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed))


def test_churn_by_hand():
    before = torch.tensor([[1.0, 2.0, 3.0], [0.0, 5.0, 1.0], [4.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    after = torch.tensor([[1.0, 4.0, 3.0], [0.0, 5.0, 0.0], [1.0, 2.0, 0.0], [1.0, 1.0, 0.0]])
    assert function.churn(before, after).item() == pytest.approx((2 + 1 + 3 + 2) / 12)
    assert function.policy_churn(before, after).item() == 2 / 4
    assert function.churn(before, before).item() == function.policy_churn(before, before).item() == 0.0


def test_policies_by_hand():
    even, sure = torch.zeros(3, 4), torch.tensor([[1000.0, 0.0], [0.0, 1000.0]])
    assert function.policy_entropy(even).item() == pytest.approx(math.log(4))
    assert function.policy_variance(even).item() == 0.0
    assert function.policy_entropy(sure).item() == 0.0
    assert function.policy_variance(sure).item() == pytest.approx(0.25 + 0.25)
    assert function.policy_variance(sure[:1]).item() == 0.0  # one state
    mixed = torch.log(torch.tensor([[0.25, 0.75], [0.5, 0.5]]))
    entropies = [-0.25 * math.log(0.25) - 0.75 * math.log(0.75), math.log(2)]
    assert function.policy_entropy(mixed).item() == pytest.approx(sum(entropies) / 2)
    assert function.policy_variance(mixed).item() == pytest.approx(2 * 0.125**2)
    assert function.smallest_probability(mixed).item() == pytest.approx((0.25 + 0.5) / 2)
    assert function.smallest_probability(sure).item() == 0.0
    assert function.logit_scale(sure).item() == pytest.approx(500.0)
    assert function.logit_scale(even + 7).item() == 0.0
    assert function.logit_scale(torch.tensor([[1.0, 2.0, 6.0]])).item() == pytest.approx(((4 + 1 + 9) / 3) ** 0.5)


def test_information_of_a_policy_by_hand():
    """The last output is a value, to which the policy does not respond."""

    def information(logits, change=lambda logits: logits):
        outputs = torch.cat([logits, torch.full((len(logits), 1), 3.0)], -1)
        return function.policy_information(lambda given: change(given[:, :-1]), outputs).item()

    assert information(torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()) == pytest.approx((1 - 0.0625 - 0.5625 + 1 - 0.5) / 2)
    assert information(torch.zeros(3, 4)) == pytest.approx(0.75)
    assert information(torch.tensor([[0.0, 1000.0]])) == 0.0
    # Two logits, x and -x. Mixed with a share of even draws, a probability p = (1 - share) q + share / 2 has in each logit the slope
    # (1 - share) q (1 - q), up to its sign, and the information is 2 slope^2 / (p (1 - p)). A bound by tanh multiplies slopes by its own.
    x, share, bound = 1.5, 0.1, 2.0

    def mixed(logits):
        return ((1 - share) * logits.softmax(-1) + share / 2).log()

    def bounded(logits):
        return bound * (logits / bound).tanh()

    q = 1 / (1 + math.exp(-2 * x))
    p = (1 - share) * q + share / 2
    assert information(torch.tensor([[x, -x]]), mixed) == pytest.approx(2 * ((1 - share) * q * (1 - q)) ** 2 / (p * (1 - p)))
    p = 1 / (1 + math.exp(-2 * bound * math.tanh(x / bound)))
    assert information(torch.tensor([[x, -x]]), bounded) == pytest.approx(2 * p * (1 - p) * (1 - math.tanh(x / bound) ** 2) ** 2)
    assert information(torch.tensor([[500.0, -500.0]]), mixed) == 0.0
    assert information(torch.tensor([[50.0, -50.0]]), bounded) < 1e-20


def test_values_by_hand():
    values, returns = torch.tensor([2.0, -4.0, 3.0]), torch.tensor([1.0, -1.0, 0.0])
    assert function.value_scale(values).item() == 3.0
    assert function.overestimation(values, returns).item() == pytest.approx((1 - 3 + 3) / 3)


SIMILARITIES = (function.linear_cka, function.pwcca)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_features_are_like_themselves_up_to_rotation_scale_and_offset(similarity):
    features = random(0, 60, 5) * torch.linspace(0.1, 2, 5)
    rotation = torch.linalg.qr(random(1, 5, 5)).Q
    assert similarity(features, features).item() == pytest.approx(1.0, abs=1e-9)
    assert similarity(features, 7 * features @ rotation + 3).item() == pytest.approx(1.0, abs=1e-9)


def test_only_pwcca_is_blind_to_any_linear_map():
    features, map = random(0, 60, 5), random(2, 5, 5) * torch.tensor([10.0, 1.0, 1.0, 1.0, 0.1])
    assert function.pwcca(features, features @ map).item() == pytest.approx(1.0, abs=1e-9)
    assert function.linear_cka(features, features @ map).item() < 0.9


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_independent_features_are_unlike(similarity):
    assert similarity(random(3, 20_000, 6), random(4, 20_000, 6)).item() < 0.03


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_features_that_do_not_vary_are_like_nothing(similarity):
    for constant in (torch.zeros(9, 3), torch.ones(9, 3)):
        assert similarity(constant, random(5, 9, 3)).item() == 0.0
        assert similarity(random(5, 9, 3), constant).item() == 0.0
        assert similarity(constant, constant).item() == 0.0
    assert similarity(random(6, 1, 3), random(7, 1, 3)).item() == 0.0  # one sample


def test_cka_is_the_alignment_of_centred_kernels():
    x, y = random(8, 30, 4).numpy(), random(9, 30, 7).numpy()
    y[:, :2] += x[:, :2]
    centre = np.eye(30) - 1 / 30
    k, l = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    expected = (k * l).sum() / math.sqrt((k * k).sum() * (l * l).sum())
    assert 0.1 < expected < 0.9
    assert function.linear_cka(torch.tensor(x), torch.tensor(y)).item() == pytest.approx(expected, abs=1e-10)
    assert function.linear_cka(torch.tensor(y), torch.tensor(x)).item() == pytest.approx(expected, abs=1e-10)


def pwcca_by_covariances(x: np.ndarray, y: np.ndarray) -> float:
    """The textbook's eigenvalue problem, without any singular value decomposition; the variates are those of `x`."""
    x, y = x - x.mean(0), y - y.mean(0)
    xx, yy, xy = x.T @ x, y.T @ y, x.T @ y
    squares, directions = np.linalg.eig(np.linalg.solve(xx, xy) @ np.linalg.solve(yy, xy.T))
    weights, correlations = [], []
    for i in range(x.shape[1]):
        variate = x @ directions[:, i].real
        variate /= np.linalg.norm(variate)
        weights.append(sum(abs(variate @ x[:, j]) for j in range(x.shape[1])))
        correlations.append(math.sqrt(max(squares[i].real, 0)))
    return sum(w * r for w, r in zip(weights, correlations, strict=True)) / sum(weights)


@pytest.mark.parametrize("widths", [(4, 4), (3, 6)])
def test_pwcca_is_numpys_by_covariances(widths):
    x, y = random(10, 80, widths[0]) * torch.linspace(0.2, 3, widths[0]), random(11, 80, widths[1])
    y = y + x[:, :1] * 2 + x[:, 1:2]
    expected = pwcca_by_covariances(x.numpy(), y.numpy())
    assert 0.2 < expected < 0.99
    assert function.pwcca(x, y).item() == pytest.approx(expected, abs=1e-9)
    if widths[0] < widths[1]:  # the variates are those of the narrower one whichever comes first
        assert function.pwcca(y, x).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_units_that_say_the_same_do_not_disturb_pwcca(precision):
    x, y = random(12, 80, 3), random(13, 80, 5)
    y = y + x[:, :1] * 2
    double = torch.cat([y, y[:, :2] * 3 - y[:, 2:4]], 1)  # still rank 5
    found = function.pwcca(x.to(precision), double.to(precision)).item()
    assert found == pytest.approx(pwcca_by_covariances(x.numpy(), y.numpy()), abs=1e-6 if precision == torch.float32 else 1e-9)


def test_anything_is_alike_on_few_samples():
    assert function.pwcca(random(14, 6, 9), random(15, 6, 9)).item() == pytest.approx(1.0, abs=1e-9)


def loss_of(network, inputs, labels):
    def loss(params):
        return F.cross_entropy(network.apply(params, inputs)[0].flatten(0, -2), labels)

    return loss


@pytest.mark.parametrize("kind", SPECS)
def test_reliance_is_a_loop_over_units(kind):
    network = built(kind)
    params = {name: param.double() for name, param in network.init(generator()).items()}
    rows = 4 * (8 if kind == "noisy" else 1)
    loss = loss_of(network, torch.randn(4, *network.inputs, generator=generator(1)), torch.arange(rows) % 3)
    for layer in network.layers:
        if layer.name not in READERS[kind]:
            continue
        expected = []
        for unit in range(layer.units):
            without = {name: param.clone() for name, param in params.items()}
            for name, columns in columns_by_hand(kind, layer.name, unit).items():
                without[name][:, columns] = 0
            expected.append((loss(without) - loss(params)).item())
        found = function.reliance(loss, params, layer, network.layers, chunk=5)
        assert found.tolist() == pytest.approx(expected, abs=1e-10)
        assert found.abs().max() > 1e-6


@pytest.mark.parametrize("activation", ["relu", "crelu"])
def test_reliance_is_that_of_outputs_set_to_zero(activation):
    network = built("mlp", activation=activation)
    params = {name: param.double() for name, param in network.init(generator()).items()}
    inputs, labels = torch.randn(6, *network.inputs, generator=generator(1)), torch.arange(6) % 3
    layer, head = network.layers[2], network.layers[3]
    features = network.apply(params, inputs)[1][layer.name].view(6, layer.copies, layer.units)

    def loss_by_hand(features):
        return F.cross_entropy(features.flatten(1) @ params[head.weight].T + params["head.bias"], labels).item()

    expected = []
    for unit in range(layer.units):
        silenced = features.clone()
        silenced[:, :, unit] = 0
        expected.append(loss_by_hand(silenced) - loss_by_hand(features))
    found = function.reliance(loss_of(network, inputs, labels), params, layer, network.layers)
    assert found.tolist() == pytest.approx(expected, abs=1e-10)


def test_residual_units_have_no_reliance_of_their_own():
    network = built("residual")
    with pytest.raises(AssertionError, match="hidden0"):
        function.reliance(lambda params: torch.zeros(()), network.init(generator()), network.layers[0], network.layers)


def test_lifted_is_a_loop():
    one, other = random(16, 3, 40, 5), random(17, 3, 40, 5) + random(16, 3, 40, 5)
    for metric in (function.churn, function.policy_churn, *SIMILARITIES, function.overestimation):
        assert lift(metric)(one, other).tolist() == pytest.approx([metric(a, b).item() for a, b in zip(one, other, strict=True)], abs=1e-10)
    for metric in (
        function.policy_entropy,
        function.smallest_probability,
        function.logit_scale,
        function.policy_variance,
        function.value_scale,
    ):
        assert lift(metric)(one).tolist() == pytest.approx([metric(each).item() for each in one], abs=1e-12)
    network = built("mlp")
    members = [random_like(network.init(generator()), seed) for seed in range(3)]
    loss = loss_of(network, torch.randn(4, *network.inputs, generator=generator(1)), torch.arange(4) % 3)

    def reliance(params):
        return function.reliance(loss, params, network.layers[1], network.layers, chunk=3)

    torch.testing.assert_close(lift(reliance)(stack(members)), torch.stack([reliance(each) for each in members]))
