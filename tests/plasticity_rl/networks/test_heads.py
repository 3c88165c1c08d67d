"""An agent's additions to a torso: streams, heads for each task, cosines. Against plain loops and hand computation."""

import math

import pytest
import torch

from plasticity_rl.networks.layers import HeadSpec
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP, Impala, Nature
from tests.modules import NORMS, count, generator, random_params

pytestmark = pytest.mark.usefixtures("double")

DUELING = (("value", 2), ("advantage", 6))


# Streams


def test_which_layers_a_dueling_network_has():
    layers = Network(Nature(), (4, 84, 84), HeadSpec(DUELING, streams=True)).layers
    assert {layer.name: (layer.units, layer.columns, layer.readers) for layer in layers} == {
        "hidden0": (32, 1, ("hidden1",)),
        "hidden1": (64, 1, ("hidden2",)),
        "hidden2": (64, 7 * 7, ("hidden3_value", "hidden3_advantage")),
        "hidden3_value": (512, 1, ("value",)),
        "hidden3_advantage": (512, 1, ("advantage",)),
        "value": (2, 1, ()),
        "advantage": (6, 1, ()),
    }
    assert [layer.name for layer in layers if layer.head] == ["value", "advantage"]
    assert [layer.activation for layer in layers] == ["relu"] * 5 + [None] * 2


def test_two_heads_without_streams_share_the_last_hidden_layer():
    layers = Network(Nature(), (4, 84, 84), HeadSpec(DUELING)).layers
    assert [layer.name for layer in layers] == ["hidden0", "hidden1", "hidden2", "hidden3", "value", "advantage"]
    assert {layer.name: layer.readers for layer in layers}["hidden3"] == ("value", "advantage")
    assert {layer.name: layer.readers for layer in layers}["hidden2"] == ("hidden3",)


def test_parameters_of_dueling_heads_by_hand():
    torso = (4 * 8 * 8 + 1) * 32 + (32 * 4 * 4 + 1) * 64 + (64 * 3 * 3 + 1) * 64
    last, heads = (64 * 7 * 7 + 1) * 512, (512 + 1) * (2 + 6)
    assert count(Network(Nature(), (4, 84, 84), HeadSpec(DUELING))) == torso + last + heads
    assert count(Network(Nature(), (4, 84, 84), HeadSpec(DUELING, streams=True))) == torso + 2 * last + heads
    assert count(Network(Nature(), (4, 84, 84), HeadSpec(DUELING, tasks=3))) == torso + last + 3 * heads


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("streams", [False, True])
def test_heads_stand_side_by_side_each_on_its_own_stream(streams, norm):
    network = Network(MLP(width=7, depth=2, norm=norm), (5,), HeadSpec(DUELING, streams=streams))
    params, x = random_params(network), torch.randn(3, 5, generator=generator())
    outputs, features = network.apply(params, x)
    by_hand = []
    for name, _ in DUELING:
        top = f"hidden1_{name}" if streams else "hidden1"
        z = features["hidden0"] @ params[f"{top}.weight"].T + params.get(f"{top}.bias", 0.0)
        if norm != "none":
            centred = z - z.mean(1, keepdim=True) if norm == "layer" else z
            z = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() * params[f"{top}.scale"] + params[f"{top}.offset"]
        torch.testing.assert_close(features[top], z.relu(), rtol=1e-10, atol=1e-12)
        by_hand.append(z.relu() @ params[f"{name}.weight"].T + params[f"{name}.bias"])
    assert (network.outputs, outputs.shape) == (8, (3, 8))
    torch.testing.assert_close(outputs, torch.cat(by_hand, 1), rtol=1e-10, atol=1e-12)


def test_a_number_of_outputs_is_one_plain_head():
    assert Network(MLP(), (3,), 4).layers == Network(MLP(), (3,), HeadSpec((("head", 4),))).layers


# Heads for each task


def tasked() -> tuple:
    network = Network(MLP(width=7, depth=2), (5,), HeadSpec((("policy", 2), ("value", 1)), tasks=3))
    return network, random_params(network), torch.randn(4, 5, generator=generator())


def rows_by_hand(params, features, row: int, task: int) -> list[float]:
    """Task t has the rows from t n on in a head of n outputs."""
    return [
        (params[f"{head}.weight"][task * outputs + i] @ features["hidden1"][row] + params[f"{head}.bias"][task * outputs + i]).item()
        for head, outputs in (("policy", 2), ("value", 1))
        for i in range(outputs)
    ]


def test_a_task_picks_its_rows():
    network, params, x = tasked()
    assert (network.shapes["policy.weight"], network.shapes["value.weight"], network.outputs) == ((6, 7), (3, 7), 3)
    tasks = [2, 0, 1, 2]
    outputs, features = network.apply(params, x, task=torch.tensor(tasks))
    assert outputs.shape == (4, 3)
    for row, task in enumerate(tasks):
        assert outputs[row].tolist() == pytest.approx(rows_by_hand(params, features, row, task), rel=1e-10)


def test_one_task_for_all_and_none_is_the_first():
    network, params, x = tasked()
    for task in range(3):
        every, one = (network.apply(params, x, task=torch.tensor(given))[0] for given in ([task] * 4, task))
        assert torch.equal(every, one)
        assert task == 0 or not torch.isclose(one, network.apply(params, x)[0]).any()
    assert torch.equal(network.apply(params, x)[0], network.apply(params, x, task=torch.tensor(0))[0])


def test_gradients_reach_the_rows_of_the_tasks_met_and_no_others():
    network, params, x = tasked()
    leaves = {name: param.requires_grad_() for name, param in params.items()}
    outputs = network.apply(leaves, x, task=torch.tensor([2, 0, 0, 2]))[0]
    grads = dict(zip(leaves, torch.autograd.grad(outputs.sum(), list(leaves.values())), strict=True))
    for head, outputs in (("policy", 2), ("value", 1)):
        for kind in ("weight", "bias"):
            reached = [row.any().item() for row in grads[f"{head}.{kind}"]]
            assert reached == [task in (0, 2) for task in range(3) for _ in range(outputs)]
    assert grads["hidden0.weight"].any()


# Cosines


def embedded_by_loops(params, tau: float) -> torch.Tensor:
    """Dabney et al. 2018, equation 4: relu(sum_i cos(pi i tau) w_ij + b_j), i from 0 to 63."""
    return torch.stack(
        [
            max(sum(math.cos(math.pi * i * tau) * weights[i] for i in range(64)) + bias, torch.zeros(()))
            for weights, bias in zip(params["quantiles.weight"], params["quantiles.bias"], strict=True)
        ]
    )


def test_fractions_are_embedded_as_in_a_plain_loop():
    network = Network(MLP(width=6, depth=2), (5,), HeadSpec((("head", 3),), cosines=64))
    params, x = random_params(network), torch.randn(2, 5, generator=generator())
    fractions = torch.rand(2, 4, generator=generator())
    assert network.shapes["quantiles.weight"] == (6, 64)
    outputs, features = network.apply(params, x, fractions=fractions)
    assert outputs.shape == (2, 4, 3)
    assert {name: tuple(units.shape) for name, units in features.items()} == {"hidden0": (2, 6), "quantiles": (8, 6), "hidden1": (8, 6)}
    for example in range(2):
        first = (params["hidden0.weight"] @ x[example] + params["hidden0.bias"]).relu()
        for k in range(4):
            embedding = embedded_by_loops(params, fractions[example, k].item())
            torch.testing.assert_close(features["quantiles"][4 * example + k], embedding, rtol=1e-9, atol=1e-12)
            second = (params["hidden1.weight"] @ (first * embedding) + params["hidden1.bias"]).relu()
            torch.testing.assert_close(outputs[example, k], params["head.weight"] @ second + params["head.bias"], rtol=1e-9, atol=1e-12)


def test_without_fractions_they_are_the_middles_of_eight_equal_parts():
    network = Network(MLP(width=6, depth=2), (5,), HeadSpec((("head", 3),), cosines=64))
    params, x = random_params(network), torch.randn(2, 5, generator=generator())
    middles = torch.tensor([[1, 3, 5, 7, 9, 11, 13, 15]] * 2) / 16
    outputs = network.apply(params, x)[0]
    assert outputs.shape == (2, 8, 3)
    assert torch.equal(outputs, network.apply(params, x, fractions=middles)[0])


def test_who_reads_the_cosines():
    network = Network(Nature(), (4, 84, 84), HeadSpec(DUELING, streams=True, cosines=64))
    assert [layer.name for layer in network.layers][2:5] == ["hidden2", "quantiles", "hidden3_value"]
    quantiles = next(layer for layer in network.layers if layer.name == "quantiles")
    assert (quantiles.units, quantiles.columns, quantiles.activation) == (64 * 7 * 7, 1, "relu")
    assert quantiles.readers == ("hidden3_value", "hidden3_advantage")
    assert not quantiles.head and not quantiles.shared


def test_one_layer_of_cosines_multiplies_the_inputs():
    network = Network(MLP(width=6, depth=1), (5,), HeadSpec((("head", 3),), cosines=64))
    params, x = random_params(network), torch.randn(2, 5, generator=generator())
    output = network.apply(params, x, fractions=torch.full((2, 1), 0.3))[0][1, 0]
    hidden = (params["hidden0.weight"] @ (x[1] * embedded_by_loops(params, 0.3)) + params["hidden0.bias"]).relu()
    torch.testing.assert_close(output, params["head.weight"] @ hidden + params["head.bias"], rtol=1e-9, atol=1e-12)


# All together


@pytest.mark.parametrize("spec", [MLP(width=6, depth=2, norm="rms"), Impala(width=6, norm="layer")], ids=["mlp", "impala"])
def test_each_example_and_fraction_is_by_itself(spec):
    ends = HeadSpec(DUELING, streams=True, noise=0.5, cosines=8, tasks=2)
    network = Network(spec, (2, 9, 9), ends)
    params, draw = random_params(network), generator()
    x, noise = torch.randn(3, 2, 9, 9, generator=draw), torch.randn(3, network.noise, generator=draw)
    fractions, task = torch.rand(3, 2, generator=draw), torch.tensor([1, 0, 1])
    together = network.apply(params, x, noise, fractions, task)[0]
    assert together.shape == (3, 2, 8)
    for i in range(3):
        for k in range(2):
            alone = network.apply(params, x[i : i + 1], noise[i : i + 1], fractions[i : i + 1, k : k + 1], task[i])[0]
            torch.testing.assert_close(together[i, k], alone[0, 0], rtol=1e-9, atol=1e-11)


# Critics beside an actor


def beside(**fields) -> HeadSpec:
    return HeadSpec((("actor", 4), ("critic0", 1), ("critic1", 1)), separate=True, actions=2, critics=("critic0", "critic1"), **fields)


def test_critics_read_the_action_and_the_actor_does_not():
    network = Network(MLP(width=7, depth=2), (5,), beside())
    params, states, draw = random_params(network), torch.randn(3, 5, generator=generator()), generator(2)
    assert (network.inputs, network.outputs) == ((7,), 6)
    widths = {name: network.shapes[f"{name}.hidden0.weight"] for name in ("actor", "critic0", "critic1")}
    assert widths == {"actor": (7, 5), "critic0": (7, 7), "critic1": (7, 7)}
    one, other = (network.apply(params, torch.cat([states, torch.randn(3, 2, generator=draw)], 1)) for _ in range(2))
    assert torch.equal(one[0][:, :4], other[0][:, :4]) and (one[0][:, 4:] != other[0][:, 4:]).all()
    assert {name: torch.equal(units, other[1][name]) for name, units in one[1].items()} == {
        f"{name}.hidden{layer}": name == "actor" for name in widths for layer in (0, 1)
    }
    action = torch.zeros(3, 2)
    alone = Network(MLP(width=7, depth=2), (7,), 1)  # a critic is a network of both side by side
    own = {name: params[f"critic1.{name}"] for name in alone.shapes if "hidden" in name}
    own |= {f"head.{kind}": params[f"critic1.{kind}"] for kind in ("weight", "bias")}
    by_itself = alone.apply(own, torch.cat([states, action], 1))[0]
    torch.testing.assert_close(network.apply(params, torch.cat([states, action], 1))[0][:, 5:], by_itself)


@pytest.mark.parametrize("only", [("actor",), ("critic1",), ("critic0", "critic1"), ("actor", "critic1")])
def test_only_some_networks_are_computed(only):
    network = Network(MLP(width=7, depth=2, norm="layer"), (5,), beside(tasks=2))
    params, both, task = random_params(network), torch.randn(3, 7, generator=generator()), torch.tensor([1, 0, 1])
    whole, features = network.apply(params, both, task=task)
    places = {"actor": slice(0, 4), "critic0": slice(4, 5), "critic1": slice(5, 6)}
    inputs = both[:, :5] if only == ("actor",) else both
    mine = {name: param for name, param in params.items() if name.partition(".")[0] in only}  # reads no other parameters
    outputs, own = network.apply(mine, inputs, task=task, only=only)
    assert torch.equal(outputs, torch.cat([whole[:, places[name]] for name in only], 1))
    assert own.keys() == {name for name in features if name.partition(".")[0] in only}
    assert all(torch.equal(units, features[name]) for name, units in own.items())


def test_constants_have_their_first_value_and_are_learned():
    network = Network(MLP(width=7, depth=2), (5,), beside(constants=(("temperature", 1, -0.5), ("stds", 3, 0.25))))
    params = network.init(generator())
    assert params["temperature"].tolist() == [-0.5] and params["stds"].tolist() == [0.25] * 3
    assert {"temperature", "stds"} <= network.learned(params).keys() and network.shapes["stds"] == (3,)
    assert network.shapes == {name: tuple(param.shape) for name, param in params.items()}
    assert not {"temperature", "stds"} & {name for layer in network.layers for name in layer.parameters}
    assert count(network) == count(Network(MLP(width=7, depth=2), (5,), beside())) + 4
    same = Network(MLP(width=7, depth=2), (5,), beside()).init(generator())
    assert all(torch.equal(param, params[name]) for name, param in same.items())  # constants take no random numbers
