"""The residual network for small images: beside torch.nn, and which units belong to a layer."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from plasticity_rl.interventions import ReDo, RefreshContext
from plasticity_rl.networks.layers import Block, Dense, Group, HeadSpec, Stage, unit_masks
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import NetworkSpec, Resnet18
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.training.learner import Learner
from tests.learners import RATE, random_net
from tests.modules import count, generator

pytestmark = pytest.mark.usefixtures("double")


@dataclass(frozen=True)
class Small(NetworkSpec):
    """Resnet18 with two groups."""

    def stages(self) -> tuple[Stage, ...]:
        return (Block(4, pool=False), Group(6), Group(5), Dense(8))


def by_hand(params: dict[str, Tensor], x: Tensor, norm: str, pairs: bool) -> Tensor:
    """Written as in pre-activation ResNets: x + branch(act(norm(x))), or shortcut(act(norm(x))) + branch(...)."""

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = params[f"{name}.weight"]
        return F.conv2d(x, weight, params.get(f"{name}.bias"), stride, padding=weight.shape[-1] // 2)

    def act(name: str, x: Tensor) -> Tensor:
        if f"{name}.scale" in params:
            module = torch.nn.BatchNorm2d if x.ndim == 4 else torch.nn.BatchNorm1d
            normed = module(x.shape[1], affine=False, track_running_stats=False)(x)
            shape = (1, -1, *(1,) * (x.ndim - 2))
            x = normed * params[f"{name}.scale"].view(shape) + params[f"{name}.offset"].view(shape)
        return torch.cat([x.relu(), (-x).relu()], 1) if pairs else x.relu()

    total = conv("hidden0", x)
    before = act("hidden0", total)  # each sum's norm belongs to its last addend
    for group in ("hidden0", "hidden1", "hidden2"):
        for branch in ("1", "2"):
            name, begins = f"{group}_{branch}", branch == "1" and group != "hidden0"
            around = conv(group, before, 2) if begins else total
            total = around + conv(f"{name}b", act(f"{name}a", conv(f"{name}a", before, 2 if begins else 1)))
            before = act(f"{name}b", total)
    x = act("hidden3", F.linear(before.mean((2, 3)), params["hidden3.weight"], params.get("hidden3.bias")))
    return F.linear(x, params["head.weight"], params["head.bias"])


@pytest.mark.parametrize("side", [8, 7])
@pytest.mark.parametrize(("norm", "activation"), [("none", "relu"), ("batch", "relu"), ("batch", "crelu"), ("none", "crelu")])
def test_outputs_are_those_of_a_pre_activation_resnet(norm, activation, side):
    network = Network(Small(norm=norm, activation=activation), (3, side, side), 3)
    params, x = random_net(network).params, torch.randn(4, 3, side, side, generator=generator())
    expected = by_hand(params, x, norm, activation == "crelu")
    torch.testing.assert_close(network.apply(params, x)[0], expected, rtol=1e-9, atol=1e-10)


def test_parameters_by_hand():
    network = Network(Resnet18(norm="batch"), (3, 32, 32), 10)
    squares = 3 * 64 + 4 * 64 * 64
    squares += sum(before * units + 3 * units * units for before, units in ((64, 128), (128, 256), (256, 512)))
    shortcuts = sum((before + 1) * units for before, units in ((64, 128), (128, 256), (256, 512)))  # with biases, as no norm follows
    norms = 2 * (5 * 64 + 4 * (128 + 256 + 512))
    assert count(network) == 9 * squares + shortcuts + norms + (512 + 2) * 512 + (512 + 1) * 10
    convolutions = [shape for name, shape in network.shapes.items() if len(shape) == 4]
    assert sum(shape[-1] == 3 for shape in convolutions) == 17 and sum(shape[-1] == 1 for shape in convolutions) == 3
    features = network.apply(network.init(generator()), torch.randn(2, 3, 32, 32, generator=generator()))[1]
    assert {name: tuple(units.shape) for name, units in features.items() if name.endswith("_2b") or name == "hidden4"} == {
        "hidden0_2b": (2 * 32 * 32, 64),
        "hidden1_2b": (2 * 16 * 16, 128),
        "hidden2_2b": (2 * 8 * 8, 256),
        "hidden3_2b": (2 * 4 * 4, 512),
        "hidden4": (2, 512),
    }


def test_wiring_by_hand():
    layers = {layer.name: layer for layer in Network(Small(), (3, 8, 8), 3).layers}
    assert {name: layer.readers for name, layer in layers.items()} == {
        "hidden0": ("hidden0_1a", "hidden0_2a", "hidden1", "hidden1_1a"),
        "hidden0_1a": ("hidden0_1b",),
        "hidden0_1b": ("hidden0_2a", "hidden1", "hidden1_1a"),
        "hidden0_2a": ("hidden0_2b",),
        "hidden0_2b": ("hidden1", "hidden1_1a"),
        "hidden1": ("hidden1_2a", "hidden2", "hidden2_1a"),
        "hidden1_1a": ("hidden1_1b",),
        "hidden1_1b": ("hidden1_2a", "hidden2", "hidden2_1a"),
        "hidden1_2a": ("hidden1_2b",),
        "hidden1_2b": ("hidden2", "hidden2_1a"),
        "hidden2": ("hidden2_2a", "hidden3"),
        "hidden2_1a": ("hidden2_1b",),
        "hidden2_1b": ("hidden2_2a", "hidden3"),
        "hidden2_2a": ("hidden2_2b",),
        "hidden2_2b": ("hidden3",),
        "hidden3": ("head",),
        "head": (),
    }
    own = {"hidden0_1a", "hidden0_2a", "hidden1_1a", "hidden1_2a", "hidden2_1a", "hidden2_2a", "hidden3", "head"}
    assert {name for name, layer in layers.items() if not layer.shared} == own
    assert {name for name, layer in layers.items() if layer.activation is None} == {"hidden1", "hidden2", "head"}


@pytest.mark.parametrize("activation", ["relu", "crelu"])
def test_nobody_hears_a_unit_of_a_branch_whose_columns_are_zero(activation):
    network = Network(Small(activation=activation), (3, 8, 8), 3)
    net, x = random_net(network), torch.randn(4, 3, 8, 8, generator=generator())
    for layer in (layer for layer in network.layers if not layer.shared and not layer.head):
        rows, columns = unit_masks(layer, network.layers, torch.arange(layer.units) == 1, net.params)
        unread = net.params | {name: torch.where(mask, 0.0, net.params[name]) for name, mask in columns.items()}
        changed = {name: torch.where(mask, net.params[name] + 1, net.params[name]) for name, mask in rows.items()}
        expected = network.apply(unread, x)[0]
        torch.testing.assert_close(network.apply(unread | changed, x)[0], expected, rtol=1e-10, atol=1e-12)
        assert not torch.allclose(network.apply(net.params | changed, x)[0], network.apply(net.params, x)[0], rtol=1e-6, atol=1e-6)


def test_redo_leaves_the_streams_alone():
    network = Network(Small(), (3, 8, 8), 3)
    net = random_net(network)
    features = {layer.name: torch.zeros(2, layer.units) for layer in network.layers if layer.activation is not None}
    after, _ = ReDo(tau=0.0).refresh(net, {}, RefreshContext(network.init(generator(1)), features), network.layers)
    for layer in network.layers:
        reads_a_branch = layer.name.endswith("b") or layer.head
        changed = (after.params[layer.weight] != net.params[layer.weight]).all()
        assert changed == (not layer.shared or reads_a_branch), layer.name
        assert layer.bias is None or (after.params[layer.bias] != net.params[layer.bias]).all() == (not layer.shared and not layer.head)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns_with_everything_that_an_agent_asks_for(precision):
    torch.set_default_dtype(torch.float32)
    ends = HeadSpec((("value", 1), ("advantage", 2)), streams=True, noise=0.5, cosines=4)
    network, chain = Network(Small(norm="layer", precision=precision), (3, 8, 8), ends), (ReDo(every=1, tau=0.3),)

    def loss(params: dict[str, Tensor], batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return network.apply(params, batch["inputs"])[0].square().mean(), {}

    learner = Learner(network, loss, Adam(), chain, 2, 0, compile=False)
    for seed in range(2):
        reported = learner.update(RATE, {"inputs": torch.randn(2, 4, 3, 8, 8, generator=generator(seed))})
        assert reported["loss"].isfinite().all()
    assert {tensor.dtype for tensor in learner.tensors().values()} == {torch.float32}


def test_its_word():
    from launch.config import parse

    assert parse.experiment({"benchmark": "random-labels", "network": "resnet18:width=100,precision=float32"}).network == Resnet18(
        width=100
    )
    assert parse.experiment({"network": "resnet18"}).to_json()["network"][0] == "resnet18"
