"""The residual torso: against torch.nn modules, layer graph and parameters by hand."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.checks import UsageError
from plasticity_rl.networks.layers import HeadSpec
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import Impala
from tests.modules import ACTIVATIONS, IMPALA, NORMS, assert_equal_to_torch, count, generator, random_params

SMALL = (4, 20, 20)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", NORMS)
def test_outputs_and_features_are_those_of_torch_modules_with_the_same_weights(norm, activation):
    network = Network(Impala(width=256, norm=norm, activation=activation), SMALL, 3)
    assert_equal_to_torch(network, [*[("block", units) for units in IMPALA], ("dense", 256)])


def test_a_scaled_torso_is_that_of_torch_modules_of_as_many_channels():
    network = Network(Impala(width=16, scale=2, norm="layer"), SMALL, 3)
    assert_equal_to_torch(network, [*[("block", 2 * units) for units in IMPALA], ("dense", 16)])
    assert [layer.units for layer in network.layers] == [32] * 5 + [64] * 10 + [16, 3]


def parameters(channels: tuple[int, ...], flattened: int, outputs: int) -> int:
    """Count from channels of the image and three blocks, no norms."""
    blocks = sum((before * 9 + 1) * units + 4 * (units * 9 + 1) * units for before, units in pairwise(channels))
    return blocks + (flattened + 1) * 256 + (256 + 1) * outputs


def test_parameters_by_hand():
    # Sides 84 -> 42 -> 21 -> 11 and 64 -> 32 -> 16 -> 8.
    atari = parameters((4, 16, 32, 32), 32 * 11 * 11, 18)
    assert count(Network(Impala(), (4, 84, 84), 18)) == atari == 9_872 + 41_632 + 46_240 + 991_488 + 4_626
    procgen = parameters((3, 16, 32, 32), 32 * 8 * 8, 16)
    assert count(Network(Impala(), (3, 64, 64), 16)) == procgen == 626_256
    assert count(Network(Impala(scale=4), (3, 64, 64), 16)) == parameters((3, 64, 128, 128), 128 * 8 * 8, 16)
    # A norm removes the bias and adds scale and offset, except where a block's sum is read raw.
    for norm in ("layer", "rms"):
        assert count(Network(Impala(norm=norm), (3, 64, 64), 16)) == procgen + 4 * 16 + 4 * 32 + 5 * 32 + 256


def test_wiring_by_hand():
    layers = Network(Impala(), (4, 84, 84), 6).layers
    assert {layer.name: layer.readers for layer in layers} == {
        "hidden0": ("hidden0_1a", "hidden0_2a", "hidden1"),
        "hidden0_1a": ("hidden0_1b",),
        "hidden0_1b": ("hidden0_2a", "hidden1"),
        "hidden0_2a": ("hidden0_2b",),
        "hidden0_2b": ("hidden1",),
        "hidden1": ("hidden1_1a", "hidden1_2a", "hidden2"),
        "hidden1_1a": ("hidden1_1b",),
        "hidden1_1b": ("hidden1_2a", "hidden2"),
        "hidden1_2a": ("hidden1_2b",),
        "hidden1_2b": ("hidden2",),
        "hidden2": ("hidden2_1a", "hidden2_2a", "hidden3"),
        "hidden2_1a": ("hidden2_1b",),
        "hidden2_1b": ("hidden2_2a", "hidden3"),
        "hidden2_2a": ("hidden2_2b",),
        "hidden2_2b": ("hidden3",),
        "hidden3": ("head",),
        "head": (),
    }
    inner = {"hidden0_1a", "hidden0_2a", "hidden1_1a", "hidden1_2a", "hidden2_1a", "hidden2_2a"}
    assert {layer.name for layer in layers if not layer.shared} == inner | {"hidden3", "head"}
    assert {layer.name for layer in layers if layer.activation is None} == {"hidden0_2b", "hidden1_2b", "head"}
    assert {layer.activation for layer in layers} == {"relu", None}
    assert [layer.units for layer in layers] == [16] * 5 + [32] * 10 + [256, 6]
    assert [layer.name for layer in layers if layer.head] == ["head"]


def test_what_two_streams_read_of_a_residual_torso():
    network = Network(Impala(width=16), SMALL, HeadSpec((("value", 1), ("advantage", 3)), streams=True))
    readers = {layer.name: layer.readers for layer in network.layers}
    penultimate = ("hidden3_value", "hidden3_advantage")
    assert readers["hidden2"] == ("hidden2_1a", "hidden2_2a", *penultimate)
    assert readers["hidden2_1b"] == ("hidden2_2a", *penultimate) and readers["hidden2_2b"] == penultimate
    assert all(network.shapes[f"{top}.weight"] == (16, 32 * 3 * 3) for top in penultimate)  # 20 -> 10 -> 5 -> 3


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_no_bias_stands_before_a_norm_and_no_norm_before_a_sum_read_as_it_is(norm):
    for layer in Network(Impala(norm=norm), (4, 84, 84), 6).layers:
        bare = layer.name in ("hidden0_2b", "hidden1_2b", "head")
        kinds = ("weight", "bias") if bare else ("weight", "scale", "offset")
        assert layer.own == tuple(f"{layer.name}.{kind}" for kind in kinds)


def test_readers_have_as_many_columns_as_they_are_said_to():
    network = Network(Impala(width=16), SMALL, 3)
    for layer in network.layers:
        for reader in layer.readers:
            columns = 3 * 3 if reader == "hidden3" else layer.columns
            assert network.shapes[f"{reader}.weight"][1] == layer.units * columns


def test_features_are_of_the_activated_sum_with_positions_as_samples():
    network = Network(Impala(width=16), SMALL, 3)
    params, x = random_params(network), torch.randn(2, *SMALL, generator=generator())
    features = network.apply(params, x)[1]
    assert {name: tuple(units.shape) for name, units in features.items()} == {
        **dict.fromkeys(("hidden0", "hidden0_1a", "hidden0_1b", "hidden0_2a"), (2 * 10 * 10, 16)),
        **dict.fromkeys(("hidden1", "hidden1_1a", "hidden1_1b", "hidden1_2a"), (2 * 5 * 5, 32)),
        **dict.fromkeys(("hidden2", "hidden2_1a", "hidden2_1b", "hidden2_2a", "hidden2_2b"), (2 * 3 * 3, 32)),
        "hidden3": (2, 16),
    }
    # One position of one channel: the largest of 3 x 3 sums over 3 x 3 patches, around every second pixel.
    example, row, column, channel = 1, 3, 9, 5
    padded = F.pad(x[example], (1, 1, 1, 1))
    weight, bias = params["hidden0.weight"][channel], params["hidden0.bias"][channel]
    sums = [
        (padded[:, i : i + 3, j : j + 3] * weight).sum() + bias
        for i in range(2 * row - 1, 2 * row + 2)
        for j in range(2 * column - 1, 2 * column + 2)
        if 0 <= i < 20 and 0 <= j < 20
    ]
    found = features["hidden0"][100 * example + 10 * row + column, channel].item()
    assert found == pytest.approx(max(max(sums).item(), 0.0), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("inputs", "layer"),
    [((10,), "hidden0"), ((84, 84), "hidden0"), ((4, 2, 84), "hidden0"), ((4, 84, 4), "hidden1"), ((4, 8, 8), "hidden2")],
    ids=str,
)
def test_inputs_that_it_cannot_read_are_refused(inputs, layer):
    with pytest.raises(UsageError) as raised:
        Network(Impala(), inputs, 2)
    assert str(raised.value) == f"Impala cannot read inputs of shape {inputs}: {layer} reads images of 3 x 3 or more"


def test_the_smallest_image_that_it_reads():
    network = Network(Impala(width=16), (1, 9, 9), 2)  # 9 -> 5 -> 3 -> 2
    assert network.shapes["hidden3.weight"] == (16, 32 * 2 * 2)
    assert network.apply(network.init(generator()), torch.zeros(1, 1, 9, 9))[0].shape == (1, 2)


def test_weights_start_uniform_within_one_over_the_root_of_fan_in():
    network = Network(Impala(norm="layer"), (4, 84, 84), 18)
    params = network.init(generator())
    fan_ins = {"hidden0": 4 * 9, "hidden1": 16 * 9, "hidden3": 32 * 11 * 11, "head": 256}
    for layer in network.layers:
        fan_in = fan_ins.get(layer.name, 9 * 16 if layer.name.startswith("hidden0") else 9 * 32)
        weight, bound = params[layer.weight], fan_in**-0.5
        assert 0.99 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"width": 0}, "width must lie in [1, 65536], not 0"), ({"scale": 0}, "scale must lie in [1, 64], not 0")],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        Impala(**fields)
    assert str(raised.value) == f"Impala: {message}"
