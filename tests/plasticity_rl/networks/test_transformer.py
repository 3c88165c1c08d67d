"""The transformer: against torch.nn modules, layer graph and parameters by hand, and methods that act on units."""

import pytest
import torch
from torch import Tensor, nn

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import ContinualBackprop, NormalizeAndProject, PlasticityInjection, ReDo, RefreshContext, assemble
from plasticity_rl.networks.layers import HeadSpec, Params, own_units, select
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import Transformer
from plasticity_rl.optim.optimizers import Adam, Net
from plasticity_rl.training.learner import Learner
from tests.modules import ACTIVATIONS, RMS, count, generator
from tests.modules import random_params as small_params

pytestmark = pytest.mark.usefixtures("double")

RATE = 1e-2
SMALL = Transformer(width=8, depth=2, heads=2, patch=3)
IMAGE, VECTOR = (2, 7, 10), (5,)  # 2 x 3 patches, with a row and a column left over; 5 numbers


def lively(network: Network) -> Params:
    """Random parameters, with weights so long that inputs affect outputs without norms too."""
    return {name: param * 4 if name.endswith("weight") else param for name, param in small_params(network).items()}


class Modules(nn.Module):
    """A PyTorch user's version, all parameters taken from ours by name."""

    def __init__(self, params: Params, norm: str, activation: str) -> None:
        super().__init__()
        self.params, self.norm, self.activation = params, norm, ACTIVATIONS[activation]()

    def linear(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.params[f"{name}.weight"], self.params.get(f"{name}.bias")
        module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        module.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
        return module(x)

    def normed(self, name: str, x: Tensor) -> Tensor:
        units = x.shape[-1]
        module = nn.Identity() if self.norm == "none" else nn.LayerNorm(units) if self.norm == "layer" else RMS(units)
        if self.norm != "none":
            module.load_state_dict({"weight": self.params[f"{name}.scale"], "bias": self.params[f"{name}.offset"]})
        return module(x.flatten(0, -2)).view_as(x)

    def attention(self, block: str, x: Tensor) -> Tensor:
        module = nn.MultiheadAttention(x.shape[-1], 2, batch_first=True)
        parts = [f"{block}{part}" for part in ("query", "key", "value")]
        out_bias = self.params.get(f"{block}out.bias")
        module.load_state_dict(
            {f"in_proj_{leaf}": torch.cat([self.params[f"{part}.{leaf}"] for part in parts]) for leaf in ("weight", "bias")}
            | {
                "out_proj.weight": self.params[f"{block}out.weight"],
                "out_proj.bias": torch.zeros(x.shape[-1]) if out_bias is None else out_bias,
            }
        )
        return module(x, x, x, need_weights=False)[0]

    def forward(self, x: Tensor) -> tuple[Tensor, Params]:
        features = {}
        weight = self.params["hidden0.weight"]
        if x.ndim == 2:
            tokens = torch.stack([x[:, [i]] * weight.flatten() + self.params["hidden0.bias"] for i in range(x.shape[1])], 1)
        else:
            side = weight.shape[-1]
            patches = [
                x[:, :, i : i + side, j : j + side].flatten(1)
                for i in range(0, x.shape[2] - side + 1, side)
                for j in range(0, x.shape[3] - side + 1, side)
            ]
            tokens = torch.stack([patch @ weight.flatten(1).T + self.params["hidden0.bias"] for patch in patches], 1)
        stream = tokens + self.params["hidden0_positions.weight"].T + self.params.get("hidden0_positions.bias", 0.0)
        before = "hidden0_positions"
        for block in ("hidden0_1", "hidden0_2"):
            out = self.attention(block, self.normed(before, stream))
            stream = stream + out
            up = self.activation(self.normed(f"{block}up", self.linear(f"{block}up", self.normed(f"{block}out", stream))))
            features[f"{block}up"] = up.flatten(0, 1)
            stream = stream + self.linear(f"{block}down", up)
            before = f"{block}down"
        read = self.normed(before, stream).mean(1)
        top = self.activation(self.normed("hidden1", self.linear("hidden1", read)))
        return self.linear("head", top), features | {"hidden1": top}


@pytest.mark.parametrize("inputs", [IMAGE, VECTOR], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", ["none", "layer", "rms"])
def test_outputs_and_features_are_those_of_torch_modules_with_the_same_weights(norm, activation, inputs):
    network = Network(Transformer(width=8, depth=2, heads=2, patch=3, norm=norm, activation=activation), inputs, 3)
    params, x = lively(network), torch.randn(4, *inputs, generator=generator())
    outputs, features = network.apply(params, x)
    with torch.no_grad():
        expected, units = Modules(params, norm, activation)(x)
    assert (outputs[0] - outputs[1]).abs().max() > 0.01
    torch.testing.assert_close(outputs, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(features, units, rtol=1e-9, atol=1e-12)


def test_parameters_by_hand():
    w, tokens = 64, 49  # 12 x 12 in an Atari frame

    def linear(inputs: int, units: int, bias: int = 1) -> int:
        return (inputs + bias) * units

    def norm(units: int) -> int:
        return 2 * units

    block = 3 * linear(w, w) + linear(w, w, 0) + norm(w) + linear(w, 4 * w, 0) + norm(4 * w) + linear(4 * w, w, 0) + norm(w)
    expected = linear(4 * 12 * 12, w) + tokens * w + norm(w) + 2 * block + linear(w, w, 0) + norm(w) + linear(w, 18)
    assert count(Network(Transformer(), (4, 84, 84), 18)) == expected == 145_810
    # Without norms all layers have a bias.
    plain = 4 * linear(w, w) + linear(w, 4 * w) + linear(4 * w, w)
    without = linear(4 * 12 * 12, w) + (tokens + 1) * w + 2 * plain + linear(w, w) + linear(w, 18)
    assert count(Network(Transformer(norm="none"), (4, 84, 84), 18)) == without


def test_wiring_by_hand():
    layers = Network(SMALL, IMAGE, 3).layers
    attention = {i: (f"hidden0_{i}query", f"hidden0_{i}key", f"hidden0_{i}value") for i in (1, 2)}
    second = (*attention[2], "hidden0_2up", "hidden1")
    everything = (*attention[1], "hidden0_1up", *second)
    assert {layer.name: layer.readers for layer in layers} == {
        "hidden0": everything,
        "hidden0_positions": everything,
        **dict.fromkeys(attention[1], ("hidden0_1out",)),
        "hidden0_1out": everything[3:],
        "hidden0_1up": ("hidden0_1down",),
        "hidden0_1down": second,
        **dict.fromkeys(attention[2], ("hidden0_2out",)),
        "hidden0_2out": second[3:],
        "hidden0_2up": ("hidden0_2down",),
        "hidden0_2down": ("hidden1",),
        "hidden1": ("head",),
        "head": (),
    }
    assert [layer.name for layer in own_units(layers)] == ["hidden0_1up", "hidden0_2up", "hidden1"]
    assert {layer.name for layer in layers if layer.activation is not None} == {"hidden0_1up", "hidden0_2up", "hidden1"}
    bare = {"hidden0", "head", *attention[1], *attention[2]}
    assert {layer.name for layer in layers if layer.scale is None} == bare == {layer.name for layer in layers if layer.bias is not None}
    assert {layer.name: layer.units for layer in layers if layer.units != 8} == {"hidden0_1up": 32, "hidden0_2up": 32, "head": 3}


@pytest.mark.parametrize("activation", ["relu", "crelu", "fourier"])
def test_nobody_hears_a_unit_whose_columns_are_zero(activation):
    network = Network(Transformer(width=8, depth=2, heads=2, patch=3, norm="none", activation=activation), IMAGE, 3)
    params, x = lively(network), torch.randn(2, *IMAGE, generator=generator())
    copies = 1 if activation == "relu" else 2
    silent = {name: param.clone() for name, param in params.items()}
    for copy in range(copies):
        silent["hidden0_1down.weight"][:, 32 * copy + 5] = 0
    other = silent | {"hidden0_1up.weight": silent["hidden0_1up.weight"].clone()}
    other["hidden0_1up.weight"][5] += 10
    assert torch.equal(network.apply(silent, x)[0], network.apply(other, x)[0])
    other["hidden0_1up.weight"][6] += 10
    assert not torch.equal(network.apply(silent, x)[0], network.apply(other, x)[0])


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_only_positions_tell_tokens_apart(norm):
    network = Network(Transformer(width=8, depth=2, heads=2, patch=3, norm=norm), VECTOR, 3)
    params, x = lively(network), torch.randn(2, *VECTOR, generator=generator())
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = params | {"hidden0_positions.weight": params["hidden0_positions.weight"][:, order]}
    torch.testing.assert_close(network.apply(moved, x[:, order])[0], network.apply(params, x)[0], rtol=1e-10, atol=1e-12)
    assert (network.apply(params, x[:, order])[0] - network.apply(params, x)[0]).abs().max() > 1e-3


def test_examples_do_not_look_at_each_other():
    network = Network(SMALL, IMAGE, 3)
    params, x = lively(network), torch.randn(4, *IMAGE, generator=generator())
    torch.testing.assert_close(network.apply(params, x[1:2])[0], network.apply(params, x)[0][1:2], rtol=1e-12, atol=1e-14)


def test_recycling_acts_on_the_feed_forward_alone():
    network = Network(SMALL, IMAGE, 3)
    params = lively(network)
    for name in ("hidden0_1up", "hidden1"):
        params[f"{name}.scale"][3], params[f"{name}.offset"][3] = 0.0, -1.0
    net, x = Net(params, {}), torch.randn(4, *IMAGE, generator=generator())
    outputs, features = network.apply(params, x)
    after, _ = ReDo(tau=0.0).refresh(net, {}, RefreshContext(network.init(generator(3)), features), network.layers)
    changed = {name: (after.params[name] != param) for name, param in params.items() if not torch.equal(after.params[name], param)}
    assert {name.partition(".")[0] for name in changed} == {"hidden0_1up", "hidden0_1down", "hidden1", "head"}
    assert changed["hidden0_1down.weight"].any(0).nonzero().flatten().tolist() == [3]
    assert changed["hidden0_1up.weight"].any(1).nonzero().flatten().tolist() == [3]
    assert outputs.isfinite().all()


def test_a_projection_holds_every_hidden_length():
    chain = (NormalizeAndProject(), ContinualBackprop(rate=0.1, maturity=1, every=3), ReDo(every=2, tau=0.1))
    learner = trained(chain, "float32")
    births = learner.fresh("birth")
    for layer in select(learner.network.layers, "hidden"):
        now, then = (torch.cat([tree[n].flatten(1) for n in layer.weights], 1).norm(dim=1) for tree in (learner.net.params, births))
        torch.testing.assert_close(now, then, rtol=1e-10, atol=0)
        if layer.scale is not None and layer.offset is not None:
            pair = torch.cat([learner.net.params[layer.scale], learner.net.params[layer.offset]], 1).norm(dim=1)
            torch.testing.assert_close(pair, torch.full((2,), layer.units**0.5), rtol=1e-10, atol=0)


def trained(chain: tuple, precision: str, inputs: tuple[int, ...] = IMAGE) -> Learner:
    ends = HeadSpec((("value", 1), ("advantage", 2)), streams=True, noise=0.5, cosines=4)
    spec = Transformer(width=8, depth=2, heads=2, patch=3, precision=precision)  # type: ignore[arg-type]
    network, optimizer = assemble(spec, Adam(), chain, inputs, ends)

    def loss(params: Params, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return (network.apply(params, batch["inputs"])[0] - 1).square().mean(), {}

    learner = Learner(network, loss, optimizer, chain, 2, 0, compile=False)
    losses = []
    for _ in range(12):
        losses.append(learner.update(RATE, {"inputs": torch.randn(2, 4, *inputs, generator=generator(3))})["loss"])
    assert (losses[-1] < losses[0]).all()
    return learner


@pytest.mark.parametrize("inputs", [IMAGE, VECTOR], ids=str)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns_with_everything_that_an_agent_asks_for(precision, inputs):
    torch.set_default_dtype(torch.float32)
    learner = trained((ReDo(every=5, tau=0.1), PlasticityInjection(clock="update", every=6)), precision, inputs)
    assert {tensor.dtype for tensor in learner.tensors().values()} == {torch.float32}
    births = learner.fresh("birth")
    still = {name for name, param in learner.net.params.items() if torch.equal(param, births[name])}
    assert all(name.endswith((".subtracted", "weight_noise", "bias_noise")) for name in still)


def test_an_update_is_one_graph():
    network = Network(SMALL, IMAGE, 3)
    x = torch.randn(4, *IMAGE, generator=generator())
    compiled = torch.compile(lambda params, x: network.apply(params, x)[0], fullgraph=True, backend="eager")
    params = lively(network)
    torch.testing.assert_close(compiled(params, x), network.apply(params, x)[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((2, 2, 9), "Transformer cannot read inputs of shape (2, 2, 9): hidden0 reads vectors, and images of 3 x 3 or more"),
        ((4, 4), "Transformer cannot read inputs of shape (4, 4): hidden0 reads vectors, and images of 3 x 3 or more"),
    ],
    ids=str,
)
def test_inputs_that_it_cannot_read_are_refused(inputs, message):
    with pytest.raises(UsageError) as raised:
        Network(SMALL, inputs, 3)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 0}, "heads must lie in [1, 64], not 0"),
        ({"patch": 0}, "patch must lie in [1, 1000], not 0"),
        ({"width": 10}, "width must be a multiple of heads, 4, not 10"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        Transformer(**fields)
    assert str(raised.value) == f"Transformer: {message}"


def test_its_word():
    from launch.config import parse

    made = parse.experiment({"benchmark": "random-labels", "network": "transformer:heads=2,norm=rms"})
    assert made.network == Transformer(heads=2, norm="rms")
