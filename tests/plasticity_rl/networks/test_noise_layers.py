"""Factorised noise against the textbook's formula with explicit matrices (Fortunato et al. 2018, section 3.2)."""

import pytest
import torch
from torch import Tensor

from plasticity_rl.networks.layers import HeadSpec, Params
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP, Nature
from tests.modules import NORMS, generator, random_params

pytestmark = pytest.mark.usefixtures("double")

HEADS = (("value", 2), ("advantage", 3))
WIDTH, BATCH = 6, 4


def build(norm, streams: bool) -> Network:
    return Network(MLP(width=WIDTH, depth=2, norm=norm), (5,), HeadSpec(HEADS, streams=streams, noise=0.5))


def squashed(numbers: Tensor) -> Tensor:
    """f(x) = sgn(x) sqrt(|x|)"""
    return torch.tensor([(1 if x > 0 else -1) * abs(x) ** 0.5 for x in numbers.tolist()])


def noisy(params: Params, name: str, x: Tensor, numbers: Tensor) -> Tensor:
    """(mu + sigma * epsilon) x + mu_b + sigma_b * epsilon_b, epsilon = f(out) f(in)^T and epsilon_b = f(out)."""
    into, out = squashed(numbers[: len(x)]), squashed(numbers[len(x) :])
    weight = params[f"{name}.weight"] + params[f"{name}.weight_noise"] * torch.outer(out, into)
    bias = params[f"{name}.bias"] + params[f"{name}.bias_noise"] * out if f"{name}.bias" in params else 0.0
    return weight @ x + bias


def activated(params: Params, name: str, z: Tensor, norm: str) -> Tensor:
    if norm != "none":
        z = z - z.mean() if norm == "layer" else z
        z = z / (z.square().mean() + 1e-5).sqrt() * params[f"{name}.scale"] + params[f"{name}.offset"]
    return z.relu()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("streams", [False, True])
def test_each_example_sees_the_textbooks_noise(streams, norm):
    network = build(norm, streams)
    params, draw = random_params(network), generator()
    x, noise = torch.randn(BATCH, 5, generator=draw), torch.randn(BATCH, network.noise, generator=draw)
    outputs = network.apply(params, x, noise)[0]
    # Numbers come layer by layer, inputs' before outputs'.
    penultimate = ["hidden1_value", "hidden1_advantage"] if streams else ["hidden1"]
    sizes = {top: 6 + WIDTH for top in penultimate} | {"value": WIDTH + 2, "advantage": WIDTH + 3}
    assert network.noise == sum(sizes.values()) == (41 if streams else 29)
    for example in range(BATCH):
        numbers = dict(zip(sizes, noise[example].split(list(sizes.values())), strict=True))
        z = params["hidden0.weight"] @ x[example] + params.get("hidden0.bias", 0.0)
        first = activated(params, "hidden0", z, norm)
        by_hand = []
        for head, _ in HEADS:
            top = f"hidden1_{head}" if streams else "hidden1"
            second = activated(params, top, noisy(params, top, first, numbers[top]), norm)
            by_hand.append(noisy(params, head, second, numbers[head]))
        torch.testing.assert_close(outputs[example], torch.cat(by_hand), rtol=1e-9, atol=1e-12)


def test_noise_of_one_row_is_everybodys():
    network = build("none", True)
    params, draw = random_params(network), generator()
    x, noise = torch.randn(BATCH, 5, generator=draw), torch.randn(1, network.noise, generator=draw)
    shared, each = (network.apply(params, x, numbers)[0] for numbers in (noise, noise.repeat(BATCH, 1)))
    torch.testing.assert_close(shared, each, rtol=1e-12, atol=1e-14)
    assert not torch.isclose(shared, network.apply(params, x)[0]).any()


def test_without_noise_a_noisy_network_is_its_mean():
    network, plain = build("layer", True), Network(MLP(width=WIDTH, depth=2, norm="layer"), (5,), HeadSpec(HEADS, streams=True))
    params, x = random_params(network), torch.randn(BATCH, 5, generator=generator())
    means = {name: param for name, param in params.items() if name in plain.shapes}
    assert len(means) == len(params) - 2 - 4  # two hidden layers without biases, two heads with
    outputs = network.apply(params, x)[0]
    assert torch.equal(outputs, plain.apply(means, x)[0])
    torch.testing.assert_close(network.apply(params, x, torch.zeros(1, network.noise))[0], outputs, rtol=1e-12, atol=1e-14)


def test_fractions_of_one_example_share_its_noise():
    network = Network(MLP(width=WIDTH, depth=2), (5,), HeadSpec(HEADS, noise=0.5, cosines=8))
    params, draw = random_params(network), generator()
    x, noise = torch.randn(BATCH, 5, generator=draw), torch.randn(BATCH, network.noise, generator=draw)
    outputs = network.apply(params, x, noise, fractions=torch.full((BATCH, 3), 0.3))[0]
    assert all(torch.equal(outputs[:, 0], outputs[:, k]) for k in (1, 2))
    for i in range(BATCH):
        alone = network.apply(params, x[i : i + 1], noise[i : i + 1], fractions=torch.full((1, 1), 0.3))[0][0, 0]
        torch.testing.assert_close(outputs[i, 0], alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_standard_deviations_start_at_sigma0_over_the_root_of_fan_in(norm):
    network = Network(Nature(width=16, norm=norm), (4, 44, 44), HeadSpec(HEADS, streams=True, noise=0.7))
    params = network.init(generator())
    fan_ins = {"hidden3_value": 64 * 2 * 2, "hidden3_advantage": 64 * 2 * 2, "value": 16, "advantage": 16}
    deviations = {name for name in params if name.endswith("_noise")}
    biases = {f"{name}.bias_noise" for name in fan_ins if norm == "none" or not name.startswith("hidden")}
    assert deviations == {f"{name}.weight_noise" for name in fan_ins} | biases
    for name in deviations:
        layer, _, _ = name.partition(".")
        assert params[name].shape == params[name.removesuffix("_noise")].shape
        torch.testing.assert_close(params[name], torch.full_like(params[name], 0.7 * fan_ins[layer] ** -0.5), rtol=1e-12, atol=0)


def test_noise_changes_no_other_parameters_start():
    quiet, noisy = (Network(MLP(width=WIDTH), (5,), HeadSpec(HEADS, noise=noise)).init(generator(3)) for noise in (None, 0.5))
    assert all(torch.equal(param, noisy[name]) for name, param in quiet.items())
    assert len(noisy) == len(quiet) + 2 * 3


def test_how_many_numbers_rainbow_takes_by_hand():
    ends = HeadSpec((("value", 51), ("advantage", 51 * 18)), streams=True, noise=0.5)
    by_hand = 2 * (64 * 7 * 7 + 512) + (512 + 51) + (512 + 51 * 18)
    assert Network(Nature(), (4, 84, 84), ends).noise == by_hand == 9_289
    assert Network(Nature(), (4, 84, 84), 18).noise == 0


def test_what_multiplies_a_layers_inputs():
    layers = {layer.name: layer for layer in build("none", False).layers}
    assert layers["hidden0"].weights == ("hidden0.weight",) and layers["hidden0"].own == ("hidden0.weight", "hidden0.bias")
    assert layers["hidden1"].weights == ("hidden1.weight", "hidden1.weight_noise")
    assert set(layers["value"].own) == {f"value.{kind}" for kind in ("weight", "bias", "weight_noise", "bias_noise")}


def test_gradients_reach_means_and_standard_deviations():
    network = build("none", True)
    leaves = {name: param.requires_grad_() for name, param in random_params(network).items()}
    x, noise = torch.randn(BATCH, 5, generator=generator()), torch.randn(1, network.noise, generator=generator(1))
    grads = torch.autograd.grad(network.apply(leaves, x, noise)[0].sum(), list(leaves.values()))
    assert all(grad.any() for grad in grads)
