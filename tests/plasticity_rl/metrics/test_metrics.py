import pytest
import torch

from plasticity_rl.metrics.norms import effective_learning_rate, weight_norm
from plasticity_rl.metrics.units import dormant, dormant_fraction
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP, Nature
from plasticity_rl.training.lift import lift

FEATURES = torch.tensor([[3.0, -1.0, 0.0, 0.1], [-5.0, 1.0, 0.0, -0.1]])
"""Two samples of four units whose mean |output| is 4, 1, 0, 0.1: 1.275 over the layer, so their scores are 3.14, 0.78, 0, 0.078"""


@pytest.mark.parametrize(
    ("tau", "expected"),
    [
        (0.0, [False, False, True, False]),
        (0.025, [False, False, True, False]),
        (0.1, [False, False, True, True]),
        (0.8, [False, True, True, True]),
    ],
)
def test_a_unit_is_dormant_whose_mean_magnitude_is_at_most_tau_of_the_layers(tau, expected):
    assert dormant(FEATURES, tau).tolist() == expected
    assert dormant_fraction(FEATURES, tau).item() == sum(expected) / 4


def test_a_score_of_exactly_tau_is_dormant():
    assert dormant(torch.tensor([[1.0, 3.0]]), 0.5).tolist() == [True, False]


def test_one_response_among_many_samples_counts_for_one():
    # Means 0.5 and 1, 0.75 over the layer; the maxima are 2 and 1.
    assert dormant(torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [2.0, 1.0]]), 0.7).tolist() == [True, False]


def test_outputs_that_cancel_are_not_dormant():
    assert dormant(torch.tensor([[1.0, 1.0], [-1.0, 1.0]]), 0.1).tolist() == [False, False]


@pytest.mark.parametrize("tau", [0.0, 0.1])
def test_a_silent_layer_is_dormant_throughout(tau):
    assert dormant(torch.zeros(5, 3), tau).tolist() == [True, True, True]
    assert dormant_fraction(torch.zeros(5, 3), tau).item() == 1.0


def test_a_sample_without_any_output_changes_nothing():
    # Both means shrink alike; scores divided per sample would be 0 / 0.
    silent = torch.cat([FEATURES, torch.zeros(1, 4)])
    for tau in (0.0, 0.1, 0.8):
        assert dormant(silent, tau).tolist() == dormant(FEATURES, tau).tolist()


def test_the_scale_of_a_layer_does_not_matter():
    assert dormant(FEATURES * 1e-20, 0.1).tolist() == dormant(FEATURES, 0.1).tolist()


def test_the_default_threshold_is_the_monitoring_one():
    assert dormant_fraction(FEATURES).item() == dormant_fraction(FEATURES, 0.1).item() == 0.5


def test_lifted_metrics_are_a_loop_over_members():
    features = torch.randn(3, 50, 8, generator=torch.Generator().manual_seed(0)).relu() * torch.linspace(0, 1, 8)
    expected = [dormant_fraction(each, 0.5) for each in features]
    assert lift(lambda each: dormant_fraction(each, 0.5))(features).tolist() == [each.item() for each in expected]
    assert min(expected) > 0 and max(expected) < 1


@pytest.mark.parametrize("norm", ["none", "layer", "rms"])
def test_an_untrained_network_is_dormant_too(norm):
    # Measured here over three seeds and norms, on noise: 14-34% of a convolution's channels and 27-40% of the dense units. Dormancy
    # means nothing without an untrained network's beside it.
    network, generator = Network(Nature(norm=norm), (4, 84, 84), 6), torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (8, 4, 84, 84), generator=generator, dtype=torch.uint8)
    features = network.apply(network.init(generator), frames)[1]
    fractions = {name: dormant_fraction(units).item() for name, units in features.items()}
    assert list(fractions) == ["hidden0", "hidden1", "hidden2", "hidden3"]
    assert all(0.1 <= fraction <= 0.6 for fraction in fractions.values()), fractions


def test_norms_by_hand():
    network = Network(MLP(width=2, depth=1), (2,), 1)
    before = {
        "hidden0.weight": torch.tensor([[3.0, 0.0], [0.0, 4.0]]),
        "hidden0.bias": torch.tensor([7.0, 7.0]),
        "head.weight": torch.tensor([[5.0, 12.0]]),
        "head.bias": torch.tensor([1.0]),
    }
    after = before | {"hidden0.weight": torch.tensor([[3.0, 1.0], [0.0, 4.0]]), "head.weight": torch.tensor([[2.0, 16.0]])}
    assert {name: norm.item() for name, norm in weight_norm(before, network.layers).items()} == {"hidden0": 5.0, "head": 13.0}
    rates = effective_learning_rate(before, after, network.layers)
    assert {name: rate.item() for name, rate in rates.items()} == pytest.approx({"hidden0": 1 / 5, "head": 5 / 13})


def test_the_norm_of_a_convolution_is_over_the_whole_tensor():
    network = Network(Nature(width=8), (4, 36, 36), 2)
    params = network.init(torch.Generator().manual_seed(0))
    for layer in network.layers:
        by_hand = sum(value**2 for value in params[layer.weight].double().flatten().tolist()) ** 0.5
        assert weight_norm(params, network.layers)[layer.name].item() == pytest.approx(by_hand, rel=1e-5)
