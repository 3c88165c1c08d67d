"""Networks: shapes and layer graphs by hand, outputs against torch.nn with the same weights."""

from dataclasses import dataclass

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.networks.layers import Block, Conv, Dense, Layer, Stage
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP, MinAtarCNN, Nature, NetworkSpec
from tests.modules import ACTIVATIONS, NATURE, NORMS, assert_equal_to_torch, count, generator, random_params

SMALL = (4, 44, 44)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("kind", "inputs"), [(MLP, (7,)), (MLP, (2, 3, 4)), (Nature, SMALL)], ids=["mlp", "mlp-image", "nature"])
def test_outputs_are_those_of_torch_modules_with_the_same_weights(kind, inputs, norm, activation):
    network = Network(kind(width=16, norm=norm, activation=activation), inputs, 3)
    convolutions = [("conv", *convolution) for convolution in NATURE] if kind is Nature else []
    assert_equal_to_torch(network, [*convolutions, *[("dense", 16)] * (1 if kind is Nature else 3)])


@dataclass(frozen=True)
class Mixed(NetworkSpec):
    """Every kind of stage after every kind that it can follow."""

    def stages(self) -> tuple[Stage, ...]:
        return (Conv(5, 3, 1), Block(4), Block(3), Conv(6, 2, 1), Conv(7, 2, 1), Dense(8), Dense(9))


@pytest.mark.parametrize("norm", NORMS)
def test_a_torso_of_mixed_stages_is_that_of_torch_modules(norm):
    network = Network(Mixed(norm=norm), (2, 18, 18), 3)
    stages = [("conv", 5, 3, 1), ("block", 4), ("block", 3), ("conv", 6, 2, 1), ("conv", 7, 2, 1), ("dense", 8), ("dense", 9)]
    assert_equal_to_torch(network, stages)
    # 18 -> 16 -> 8 -> 4 -> 3 -> 2: the last convolution's channels are flattened to 2 x 2 positions each.
    columns = {layer.name: layer.columns for layer in network.layers if not layer.shared and layer.columns > 1}
    assert columns == {"hidden4": 4} and network.shapes["hidden5.weight"] == (8, 7 * 4)


def test_parameters_of_the_mlp_by_hand():
    assert count(Network(MLP(), (784,), 10)) == (784 + 1) * 100 + 2 * (100 + 1) * 100 + (100 + 1) * 10
    assert count(Network(MLP(width=5, depth=2, norm="layer"), (3, 2), 4)) == (6 + 2) * 5 + (5 + 2) * 5 + (5 + 1) * 4


@pytest.mark.parametrize("actions", [4, 18])
def test_parameters_of_nature_by_hand(actions):
    convolutions = (4 * 8 * 8 + 1) * 32 + (32 * 4 * 4 + 1) * 64 + (64 * 3 * 3 + 1) * 64
    by_hand = convolutions + (64 * 7 * 7 + 1) * 512 + (512 + 1) * actions
    assert by_hand == 1_684_128 + 513 * actions
    assert count(Network(Nature(), (4, 84, 84), actions)) == by_hand
    # A norm removes the bias and adds scale and offset.
    for norm in ("layer", "rms"):
        assert count(Network(Nature(norm=norm), (4, 84, 84), actions)) == by_hand + 32 + 64 + 64 + 512


def test_parameters_of_the_network_of_minatars_authors_by_hand():
    network = Network(MinAtarCNN(), (4, 10, 10), 6)
    assert count(network) == (4 * 3 * 3 + 1) * 16 + (16 * 8 * 8 + 1) * 128 + (128 + 1) * 6
    assert [layer.columns for layer in network.layers] == [8 * 8, 1, 1]


def test_wiring_of_the_mlp():
    hidden = {"bias": None, "columns": 1, "activation": "tanh"}
    assert Network(MLP(width=5, depth=2, norm="rms", activation="tanh"), (3,), 4).layers == (
        Layer("hidden0", "hidden0.weight", scale="hidden0.scale", offset="hidden0.offset", units=5, readers=("hidden1",), **hidden),
        Layer("hidden1", "hidden1.weight", scale="hidden1.scale", offset="hidden1.offset", units=5, readers=("head",), **hidden),
        Layer("head", "head.weight", "head.bias", scale=None, offset=None, units=4, readers=(), columns=1, activation=None),
    )


def test_wiring_of_nature():
    layers = Network(Nature(), (4, 84, 84), 6).layers
    assert [layer.name for layer in layers] == ["hidden0", "hidden1", "hidden2", "hidden3", "head"]
    assert [layer.units for layer in layers] == [32, 64, 64, 512, 6]
    assert [layer.readers for layer in layers] == [("hidden1",), ("hidden2",), ("hidden3",), ("head",), ()]
    assert [layer.columns for layer in layers] == [1, 1, 7 * 7, 1, 1]
    assert [layer.activation for layer in layers] == ["relu"] * 4 + [None]
    assert [layer.head for layer in layers] == [False] * 4 + [True]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("kind", "inputs"), [(MLP, (7,)), (Nature, SMALL)])
def test_parameters_have_the_shapes_that_the_layers_say(kind, inputs, norm):
    network = Network(kind(width=16, norm=norm), inputs, 3)
    params = network.init(generator())
    assert {name: tuple(param.shape) for name, param in params.items()} == network.shapes
    assert list(params) == [name for layer in network.layers for name in layer.own]
    for layer in network.layers:
        assert all(len(params[name]) == layer.units for name in layer.own)
        assert all(params[name].shape == (layer.units,) for name in layer.own if name != layer.weight)
        for reader in network.layers:
            if reader.name in layer.readers:
                assert params[reader.weight].shape[1] == layer.units * layer.columns


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_no_bias_stands_before_a_norm(norm):
    for layer in Network(Nature(norm=norm), (4, 84, 84), 6).layers:
        assert (layer.bias is None) == (not layer.head) == (layer.scale is not None) == (layer.offset is not None)


def test_without_a_norm_every_layer_has_a_bias_and_nothing_else():
    for layer in Network(Nature(), (4, 84, 84), 6).layers:
        assert layer.own == (f"{layer.name}.weight", f"{layer.name}.bias")


@pytest.mark.parametrize("norm", NORMS)
def test_weights_start_uniform_within_one_over_the_root_of_fan_in(norm):
    network = Network(Nature(norm=norm), (4, 84, 84), 18)
    params = network.init(generator())
    for layer, fan_in in zip(network.layers, (4 * 8 * 8, 32 * 4 * 4, 64 * 3 * 3, 64 * 7 * 7, 512), strict=True):
        weight, bound = params[layer.weight], fan_in**-0.5
        assert 0.999 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
        assert abs(weight.mean().item()) < 0.02 * bound
        if layer.bias is not None:
            assert 0.75 * bound < params[layer.bias].abs().max() <= bound
        if layer.scale is not None and layer.offset is not None:
            assert (params[layer.scale] == 1).all() and (params[layer.offset] == 0).all()


def test_initialisation_depends_on_the_generator_alone():
    network = Network(MLP(width=4, depth=2), (3,), 2)
    torch.manual_seed(0)
    first = network.init(generator(5))
    torch.manual_seed(1)
    second, other = network.init(generator(5)), network.init(generator(6))
    for name in first:
        assert torch.equal(first[name], second[name]) and not torch.equal(first[name], other[name])


def test_initialisation_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    Network(MLP(), (3,), 2).init(generator())
    assert torch.equal(torch.rand(3), expected)


def test_bytes_are_read_as_fractions_of_255():
    network = Network(Nature(width=16), SMALL, 3)
    params, frames = network.init(generator()), torch.randint(0, 256, (2, *SMALL), generator=generator(), dtype=torch.uint8)
    outputs, features = network.apply(params, frames)
    expected_outputs, expected_features = network.apply(params, frames.float() / 255)
    assert torch.equal(outputs, expected_outputs)
    assert all(torch.equal(features[name], expected_features[name]) for name in features)


def test_features_are_samples_by_units_with_positions_as_samples():
    network = Network(Nature(width=16), SMALL, 3)
    params, x = network.init(generator()), torch.randn(2, *SMALL, generator=generator())
    features = network.apply(params, x)[1]
    assert {name: tuple(units.shape) for name, units in features.items()} == {
        "hidden0": (2 * 10 * 10, 32),
        "hidden1": (2 * 4 * 4, 64),
        "hidden2": (2 * 2 * 2, 64),
        "hidden3": (2, 16),
    }
    example, row, column, channel = 1, 3, 7, 20
    patch = x[example, :, 4 * row : 4 * row + 8, 4 * column : 4 * column + 8]
    by_hand = ((patch * params["hidden0.weight"][channel]).sum() + params["hidden0.bias"][channel]).relu()
    assert features["hidden0"][100 * example + 10 * row + column, channel].item() == pytest.approx(by_hand.item(), rel=1e-4)


def test_examples_do_not_look_at_each_other():
    for norm in NORMS:
        network = Network(Nature(width=16, norm=norm), SMALL, 3)
        params, x = random_params(network), torch.randn(3, *SMALL, generator=generator())
        together = network.apply(params, x)[0]
        apart = torch.cat([network.apply(params, each[None])[0] for each in x])
        torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["hidden0", "hidden1", "hidden2", "hidden3"])
def test_the_columns_that_read_a_unit_are_those_that_the_wiring_names(name):
    network = Network(Nature(width=16), SMALL, 3)
    params, x = random_params(network), torch.randn(2, *SMALL, generator=generator())
    layer = next(layer for layer in network.layers if layer.name == name)
    assert layer.columns == (4 if name == "hidden2" else 1)
    unit = int(network.apply(params, x)[1][name].sum(0).argmax())
    silenced = {n: param.clone() for n, param in params.items()}
    for own in layer.own:
        silenced[own][unit] = 0
    unread = {n: param.clone() for n, param in params.items()}
    for reader in layer.readers:
        unread[f"{reader}.weight"][:, unit * layer.columns : (unit + 1) * layer.columns] = 0
    outputs = network.apply(unread, x)[0]
    torch.testing.assert_close(outputs, network.apply(silenced, x)[0], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(outputs, network.apply(params, x)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("inputs", "layer", "size"),
    [((10,), "hidden0", 8), ((84, 84), "hidden0", 8), ((4, 7, 84), "hidden0", 8), ((4, 16, 16), "hidden1", 4), ((4, 35, 84), "hidden2", 3)],
    ids=str,
)
def test_inputs_that_nature_cannot_read_are_refused(inputs, layer, size):
    with pytest.raises(UsageError) as raised:
        Network(Nature(), inputs, 2)
    assert str(raised.value) == f"Nature cannot read inputs of shape {inputs}: {layer} reads images of {size} x {size} or more"


def test_what_is_worth_several_threads():
    assert [MLP().shares_well(1), MLP().shares_well(5), MLP().shares_well(16), Nature().shares_well(1)] == [False, False, True, True]


def test_the_smallest_image_that_nature_reads():
    network = Network(Nature(), (1, 36, 36), 2)
    assert [layer.columns for layer in network.layers] == [1] * 5
    assert network.apply(network.init(generator()), torch.zeros(1, 1, 36, 36))[0].shape == (1, 2)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (MLP, {"width": 0}, "width must lie in [1, 65536], not 0"),
        (MLP, {"width": 10.0}, "width must be a whole number, not 10.0"),
        (MLP, {"depth": 0}, "depth must lie in [1, 1000], not 0"),
        (MLP, {"norm": "group"}, "norm cannot be 'group'; one of: batch, batch-mean, layer, none, rms"),
        (MLP, {"eta": 1.0}, "eta must lie in (0, 1), not 1.0"),
        (MLP, {"rank": 0.0}, "rank must lie in (0, 1], not 0.0"),
        (MLP, {"activation": "rleu"}, "activation cannot be 'rleu'; did you mean relu?"),
        (Nature, {"width": -1}, "width must lie in [1, 65536], not -1"),
        (Nature, {"norm": "layers"}, "norm cannot be 'layers'; did you mean layer?"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(kind, fields, message):
    with pytest.raises(UsageError) as raised:
        kind(**fields)
    assert str(raised.value) == f"{kind.__name__}: {message}"
