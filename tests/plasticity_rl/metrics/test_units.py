import math

import pytest
import torch

from plasticity_rl.metrics import units
from plasticity_rl.metrics.units import finite
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP, Nature
from plasticity_rl.training.lift import lift

pytestmark = pytest.mark.usefixtures("double")

RAW = [[1.0, -2.0, 0.0, 3.0], [2.0, -1.0, 0.0, -1.0], [0.5, -3.0, 0.0, 1.0], [4.0, -0.1, 0.0, 2.0]]
"""Four samples of units: always positive, never positive, zero, and positive thrice"""
SCALARS = (units.dead_fraction, units.linearised_fraction, units.zero_fraction, units.saturated_fraction, units.sign_entropy)


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_units_by_hand():
    raw = torch.tensor(RAW)
    assert units.dead(raw).tolist() == [False, True, True, False]
    assert units.linearised(raw).tolist() == [True, False, False, False]
    assert units.dead_fraction(raw).item() == 0.5
    assert units.linearised_fraction(raw).item() == 0.25
    assert units.zero_fraction(raw).item() == 4 / 16
    assert units.zero_fraction(raw.relu()).item() == 9 / 16
    assert units.sign_entropy(raw).item() == pytest.approx((0.25 * 2 + 0.75 * math.log2(4 / 3)) / 4, abs=1e-12)


def test_saturation_by_hand():
    outputs = torch.tensor([[0.96, -0.96, 0.5], [0.95, -0.94, -1.0]])
    assert units.saturated_fraction(outputs).item() == 3 / 6
    assert units.saturated_fraction(outputs, threshold=0.4).item() == 1.0
    assert units.saturated_fraction(outputs * 3, bound=3.0, threshold=0.955).item() == 3 / 6


def test_the_threshold_of_saturation_is_where_tanh_has_that_slope():
    x = torch.atanh(torch.tensor(0.95)).requires_grad_()
    (slope,) = torch.autograd.grad(torch.tanh(x), x)
    assert slope.item() == pytest.approx(0.0975, abs=1e-9)


def test_sign_entropy_has_its_ends():
    halves = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert units.sign_entropy(halves).item() == pytest.approx(1.0, abs=1e-12)
    assert units.sign_entropy(torch.tensor([[1.0, -1.0], [3.0, -2.0]])).item() == 0.0


def test_each_metric_is_its_formula_in_loops():
    raw = random(0, 17, 9) + torch.linspace(-2, 2, 9)
    rows, columns = raw.tolist(), raw.T.tolist()
    flat = [value for row in rows for value in row]

    def entropy(column):
        shares = [sum(value > 0 for value in column) / 17, sum(value <= 0 for value in column) / 17]
        return -sum(p * math.log2(p) for p in shares if p)

    assert units.dead_fraction(raw).item() == pytest.approx(sum(max(column) <= 0 for column in columns) / 9, abs=1e-6)
    assert units.linearised_fraction(raw).item() == pytest.approx(sum(min(column) > 0 for column in columns) / 9, abs=1e-6)
    assert units.zero_fraction(raw.relu()).item() == pytest.approx(sum(value <= 0 for value in flat) / 153, abs=1e-6)
    assert units.saturated_fraction(raw.tanh()).item() == pytest.approx(sum(abs(math.tanh(value)) > 0.95 for value in flat) / 153, abs=1e-6)
    assert units.sign_entropy(raw).item() == pytest.approx(sum(map(entropy, columns)) / 9, abs=1e-12)
    means = [sum(column) / 17 for column in columns]
    variances = [sum((value - mean) ** 2 for value in column) / 17 for column, mean in zip(columns, means, strict=True)]
    assert units.moments(raw).mean.tolist() == pytest.approx(means, abs=1e-12)
    assert units.moments(raw).variance.tolist() == pytest.approx(variances, abs=1e-12)


def test_shifts_by_hand():
    then = units.Moments(torch.tensor([0.0, 1.0, 2.0, 5.0, 5.0]), torch.tensor([1.0, 4.0, 1.0, 0.0, 0.0]))
    now = units.Moments(torch.tensor([3.0, 1.0, 2.0, 5.0, 7.0]), torch.tensor([1.0, 16.0, 1.0, 0.0, 0.0]))
    assert units.shift(then, now).tolist() == pytest.approx([3.0, 2 / math.sqrt(10), 0.0, 0.0, 0.0], abs=1e-12)
    assert torch.equal(units.shift(then, now), units.shift(now, then))


def test_a_shift_does_not_depend_on_the_scale_or_the_place():
    one, other = random(1, 50, 3), random(2, 50, 3) * 2 + 1
    plain = units.shift(units.moments(one), units.moments(other))
    torch.testing.assert_close(units.shift(units.moments(one * 7 + 3), units.moments(other * 7 + 3)), plain)


@pytest.mark.parametrize("activation", ["relu", "leaky-relu", "gelu", "tanh"])
def test_outputs_serve_where_the_activation_keeps_the_sign(activation):
    network = Network(MLP(width=12, depth=2, activation=activation), (3,), 2)
    params, x = network.init(torch.Generator().manual_seed(0)), random(3, 6, 3).float()
    outputs, raw = network.apply(params, x)[1], network.apply(params, x, raw=True)[1]
    for name in outputs:
        assert torch.equal(units.dead(outputs[name]), units.dead(raw[name]))
        assert torch.equal(units.linearised(outputs[name]), units.linearised(raw[name]))
    assert any(units.dead(each).any() for each in raw.values())


@pytest.mark.parametrize("metric", SCALARS)
def test_lifted_is_a_loop(metric):
    raw = random(4, 3, 20, 6) * 2 + torch.linspace(-4, 4, 6)
    assert lift(metric)(raw).tolist() == pytest.approx([metric(each).item() for each in raw], abs=1e-12)


@pytest.mark.parametrize("metric", SCALARS)
def test_one_sample_and_silent_layers_have_numbers(metric):
    for raw in (torch.zeros(5, 3), torch.zeros(1, 3), torch.tensor([[1.0, -1.0, 0.0]])):
        assert 0 <= metric(raw).item() <= 1
    assert units.dead_fraction(torch.zeros(5, 3)).item() == units.zero_fraction(torch.zeros(5, 3)).item() == 1.0
    assert units.linearised_fraction(torch.zeros(5, 3)).item() == 0.0
    assert units.moments(torch.tensor([[1.0, -1.0]])).variance.tolist() == [0.0, 0.0]


def test_numbers_that_are_none_are_an_error_that_names_the_layer():
    raw = torch.tensor([[1.0, math.nan], [math.inf, 2.0]])
    with pytest.raises(FloatingPointError, match="hidden2: 2 of 4 numbers are infinite or not a number"):
        finite("hidden2", raw)
    assert units.dormant_fraction(torch.tensor([[1.0, math.nan]])).item() == 0.0  # a plausible number: why `finite` comes first
    assert finite("hidden2", raw[:1, :1]) is not None


def test_a_members_features_are_found_whose_numbers_are_none():
    network = Network(Nature(width=8), (4, 36, 36), 2)
    params = network.init(torch.Generator().manual_seed(0))
    params["hidden2.weight"][3, 0, 0, 0] = math.nan
    features = network.apply(params, random(5, 2, 4, 36, 36).float())[1]
    finite("hidden1", features["hidden1"])
    with pytest.raises(FloatingPointError, match="hidden2"):
        finite("hidden2", features["hidden2"])
