"""Activations as interventions, and the layer graph of those with two outputs per unit."""

import dataclasses
import math
import zlib

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import (
    AID,
    GELU,
    CReLU,
    Fourier,
    LayerNorm,
    LeakyReLU,
    PReLU,
    ReDo,
    RefreshContext,
    SmoothLeaky,
    Tailored,
    Tanh,
    WeightClipping,
    WeightDecay,
    assemble,
)
from plasticity_rl.networks.activations import gain, tailored_slope
from plasticity_rl.networks.layers import GATE, KEY, Params, unit_masks
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP, Impala
from plasticity_rl.noise import key
from plasticity_rl.optim.optimizers import Adam, Net
from tests.learners import OUTPUTS, SPECS, batches, built, evidence_for, generator, learn, random_net
from tests.plasticity_rl.test_noise import words_by_hand
from tests.refreshes import READERS, columns_by_hand, dormant_by_loops

pytestmark = pytest.mark.usefixtures("double")

PAIRS = {"crelu": (lambda x: F.relu(x), lambda x: F.relu(-x)), "fourier": (torch.sin, torch.cos)}


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        (CReLU(), {"activation": "crelu"}),
        (Fourier(), {"activation": "fourier"}),
        (GELU(), {"activation": "gelu"}),
        (Tanh(), {"activation": "tanh"}),
        (LeakyReLU(slope=0.2), {"activation": "leaky-relu", "slope": 0.2}),
        (PReLU(), {"activation": "prelu", "slope": 0.25}),
        (SmoothLeaky(), {"activation": "smooth-leaky", "slope": 0.1}),
        (AID(), {"activation": "aid", "slope": 0.1}),
        (Tailored(eta=0.3), {"activation": "tailored", "eta": 0.3}),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, dict) else "",
)
def test_each_builds_its_activation_and_nothing_else(method, fields):
    for spec, inputs, ends in SPECS.values():
        network, optimizer = assemble(spec, Adam(), (method, LayerNorm()), inputs, ends)
        assert network.spec == dataclasses.replace(spec, norm="layer", **fields) and optimizer == Adam()


@pytest.mark.parametrize(
    ("method", "by_hand"),
    [
        (LeakyReLU(), lambda x: x if x > 0 else 0.01 * x),
        (LeakyReLU(slope=0.2), lambda x: x if x > 0 else 0.2 * x),
        (SmoothLeaky(), lambda x: 0.1 * x + 0.9 * x / (1 + math.exp(-5 * x / 3))),
        (SmoothLeaky(slope=0.3), lambda x: 0.3 * x + 0.7 * x / (1 + math.exp(-5 * x / 3))),
        (AID(slope=0.3), lambda x: 0.7 * x if x > 0 else 0.3 * x),
        (GELU(), lambda x: x * (1 + math.erf(x / 2**0.5)) / 2),
        (Tanh(), math.tanh),
        (Tailored(eta=0.2 / math.pi), lambda x: (2 / 1.25) ** 0.5 * (x if x > 0 else 0.5 * x)),  # one layer: see below
    ],
    ids=lambda value: "" if callable(value) else repr(value),
)
def test_units_by_hand(method, by_hand):
    network, _ = assemble(MLP(width=3, depth=1), Adam(), (method,), (5,), OUTPUTS)
    params, x = random_net(network).params, torch.randn(4, 5, generator=generator())
    units = network.apply(params, x)[1]["hidden0"]
    before = network.apply(params, x, raw=True)[1]["hidden0"]
    torch.testing.assert_close(before, x @ params["hidden0.weight"].T + params["hidden0.bias"], rtol=1e-12, atol=1e-12)
    assert units.flatten().tolist() == pytest.approx([by_hand(number) for number in before.flatten().tolist()], rel=1e-9)


# Random outputs


def test_outputs_are_kept_by_the_bits_of_each_layers_own_key() -> None:
    network, low, high = built("mlp", activation="aid", slope=0.3), 7, 11
    params, x = random_net(network).params, torch.randn(4, 5, generator=generator())
    seen = network.apply(params | {KEY: key([low + (high << 32)])[0]}, x)[1]
    for name, width in (("hidden0", 8), ("hidden1", 8), ("hidden2", 8)):
        y = x @ params[f"{name}.weight"].T + params[f"{name}.bias"]
        words = words_by_hand(low + ((high ^ zlib.crc32(name.encode()) >> 1) << 32), y.numel())
        kept = [(word >> 8) / 2**24 < 0.7 for word in words]
        by_hand = [max(z, 0) if keeps else min(z, 0) for keeps, z in zip(kept, y.flatten().tolist(), strict=True)]
        assert y.shape[1] == width and seen[name].flatten().tolist() == pytest.approx(by_hand, rel=1e-9)
        x = seen[name]


def test_random_outputs_average_to_those_that_are_acted_with() -> None:
    network = built("mlp", activation="aid", slope=0.3)
    params, x = random_net(network).params, torch.randn(1, 5, generator=generator()).expand(20_000, 5)
    drawn = network.apply(params | {KEY: key([5])[0]}, x)[1]["hidden0"]
    mean = network.apply(params, x)[1]["hidden0"][0]
    assert (drawn.mean(0) - mean).abs().max() < 5 * drawn.std(0).max() / 20_000**0.5
    assert (drawn.std(0) > 0.4 * mean.abs()).all()


def test_each_update_and_each_member_draws_outputs_of_its_own() -> None:
    learner = learn((AID(),), "mlp", 2)
    learner.net.params.update({name: param[:1].expand_as(param).clone() for name, param in learner.net.params.items()})
    batch = {name: tensor[:1].expand_as(tensor) for name, tensor in batches("mlp", 2, 1)[0].items()}
    losses = [learner.update(0.0, batch)["loss"] for _ in range(2)]
    assert len({number for each in losses for number in each.tolist()}) == 4


def test_an_injection_changes_no_random_output() -> None:
    network = built("mlp", activation="aid", injection=True)
    params, x = network.init(generator()) | {KEY: key([3])[0]}, torch.randn(4, 5, generator=generator())
    switched = params | {GATE: torch.ones_like(params[GATE])}
    torch.testing.assert_close(network.apply(switched, x)[0], network.apply(params, x)[0], rtol=1e-12, atol=1e-12)


# Learned slopes


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("kind", ["mlp", "convolutions"])
def test_slopes_are_torchs_prelu(kind: str, norm: str) -> None:
    network = built(kind, activation="prelu", slope=0.25, norm=norm)
    params, x = random_net(network).params, torch.randn(4, *SPECS[kind][1], generator=generator())
    raw, features = (network.apply(params, x, raw=before)[1] for before in (True, False))
    assert list(features) == [layer.name for layer in network.layers if not layer.head]
    for name, units in features.items():
        torch.testing.assert_close(units, F.prelu(raw[name], params[f"{name}.slope"]), rtol=1e-12, atol=1e-12)
        assert network.init(generator())[f"{name}.slope"].tolist() == [0.25] * units.shape[1]


def test_gradients_of_slopes_are_torchs() -> None:
    network = built("mlp", activation="prelu")
    params, x = random_net(network).params, torch.randn(4, 5, generator=generator())

    def by_hand(params: Params) -> Tensor:
        y = x
        for name in ("hidden0", "hidden1", "hidden2"):
            y = F.prelu(F.linear(y, params[f"{name}.weight"], params[f"{name}.bias"]), params[f"{name}.slope"])
        return F.linear(y, params["head.weight"], params["head.bias"]).square().sum()

    one, other = (torch.func.grad(of)(params) for of in (by_hand, lambda params: network.apply(params, x)[0].square().sum()))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert all(one[f"hidden{i}.slope"].any() for i in range(3))


def test_slopes_neither_decay_by_default_nor_are_clipped() -> None:
    network, optimizer = assemble(MLP(width=4, depth=1), Adam(), (PReLU(slope=0.9), WeightDecay(strength=0.5)), (5,), OUTPUTS)
    params = random_net(network).params
    net = Net(params, optimizer.init(params))
    still = {name: torch.zeros_like(param) for name, param in params.items()}
    after = optimizer.update(net, still, torch.tensor(0.1), network.layers).params
    clipped, _ = WeightClipping(kappa=0.01).project(params, {}, network.layers)
    for found in (after, clipped):
        assert torch.equal(found["hidden0.slope"], params["hidden0.slope"])
        assert not torch.equal(found["hidden0.weight"], params["hidden0.weight"])


# Pairs


@pytest.mark.parametrize("activation", PAIRS)
def test_a_dense_network_of_pairs_by_hand(activation):
    network = built("mlp", activation=activation)
    params, x = random_net(network).params, torch.randn(4, 5, generator=generator())
    outputs, features = network.apply(params, x)
    raw = network.apply(params, x, raw=True)[1]
    for name in ("hidden0", "hidden1", "hidden2"):
        y = x @ params[f"{name}.weight"].T + params[f"{name}.bias"]
        first, second = (half(y) for half in PAIRS[activation])
        by_hand = torch.stack([row for pair in zip(first, second, strict=True) for row in pair])
        torch.testing.assert_close(features[name], by_hand, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(raw[name], y, rtol=1e-10, atol=1e-12)
        x = torch.cat([first, second], 1)
    assert [tuple(network.shapes[f"{name}.weight"]) for name in ("hidden0", "hidden1", "head")] == [(8, 5), (8, 16), (OUTPUTS, 16)]
    torch.testing.assert_close(outputs, x @ params["head.weight"].T + params["head.bias"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", PAIRS)
def test_a_residual_network_of_pairs_by_hand(activation):
    network = built("residual", activation=activation)
    params, x = random_net(network).params, torch.randn(2, 3, 8, 8, generator=generator())

    def conv(name: str, x: Tensor) -> Tensor:
        return F.conv2d(x, params[f"{name}.weight"], params[f"{name}.bias"], padding=1)

    def act(x: Tensor) -> Tensor:
        return torch.cat([half(x) for half in PAIRS[activation]], 1)

    expected = x
    for block in ("hidden0", "hidden1"):
        expected = F.max_pool2d(conv(block, expected), 3, 2, padding=1)
        for branch in (f"{block}_1", f"{block}_2"):
            expected = expected + conv(f"{branch}b", act(conv(f"{branch}a", act(expected))))
    expected = act(act(expected).flatten(1) @ params["hidden2.weight"].T + params["hidden2.bias"])
    expected = expected @ params["head.weight"].T + params["head.bias"]
    torch.testing.assert_close(network.apply(params, x)[0], expected, rtol=1e-9, atol=1e-10)
    assert {layer.name: layer.copies for layer in network.layers if layer.copies == 1} == {"hidden0_2b": 1, "head": 1}


def test_parameters_of_pairs_by_hand():
    plain, pairs = (Network(Impala(activation=each), (4, 20, 20), 3) for each in ("relu", "crelu"))
    for name, shape in plain.shapes.items():
        layer, _, part = name.partition(".")
        # The first layer reads the image, and the later blocks' the plain sum.
        doubled = part == "weight" and layer not in ("hidden0", "hidden1", "hidden2")
        assert pairs.shapes[name] == ((shape[0], 2 * shape[1], *shape[2:]) if doubled else shape), name


@pytest.mark.parametrize("kind", list(SPECS))
@pytest.mark.parametrize("activation", PAIRS)
def test_nobody_hears_a_unit_whose_columns_are_zero(kind, activation):
    network = built(kind, activation=activation)
    net, (batch,) = random_net(network), batches(kind, 1, 1)
    x = batch["inputs"][0]
    for layer in (layer for layer in network.layers if layer.name in READERS[kind]):
        unit = torch.arange(layer.units) == 1
        rows, columns = unit_masks(layer, network.layers, unit, net.params)
        unread = net.params | {name: torch.where(mask, 0.0, net.params[name]) for name, mask in columns.items()}
        changed = {name: torch.where(mask, net.params[name] + 1, net.params[name]) for name, mask in rows.items()}
        expected = network.apply(unread, x)[0]
        torch.testing.assert_close(network.apply(unread | changed, x)[0], expected, rtol=1e-10, atol=1e-12)
        assert not torch.allclose(network.apply(net.params | changed, x)[0], network.apply(net.params, x)[0], rtol=1e-6, atol=1e-6)
        for name, mask in columns.items():
            assert mask.transpose(0, 1).flatten(1).any(1).nonzero().flatten().tolist() == pair_columns(network, kind, layer.name, 1)[name]


def pair_columns(network: Network, kind: str, layer: str, unit: int) -> dict[str, list[int]]:
    """Readers of a unit's outputs: the first outputs of all units precede the second. Gating units have one output each."""
    apart = {} if layer == "quantiles" else {each.name: each.units for each in network.layers}
    found = columns_by_hand(kind, layer, unit)
    block = {reader: apart.get(layer, 0) * len(columns) for reader, columns in found.items()}
    return {reader: sorted({*columns, *(column + block[reader] for column in columns)}) for reader, columns in found.items()}


def redo_of_pairs(network: Network, kind: str, net: Net, evidence: RefreshContext, responses: Params, tau: float) -> Net:
    """ReDo one unit after another; `responses` are one number per sample and unit, of the pair's mean size."""
    params = {name: param.clone() for name, param in net.params.items()}
    slots = {slot: {name: tensor.clone() for name, tensor in optimizer_state.items()} for slot, optimizer_state in net.slots.items()}
    marked = dormant_by_loops(kind, responses, tau)
    assert any(marked.values())
    for layer, units in marked.items():
        for name in (name for name in params if name.startswith(f"{layer}.")):
            params[name][units] = 0.0 if name.endswith("bias") else evidence.fresh[name][units]
            for optimizer_state in slots.values():
                optimizer_state[name][units] = 0.0
    for layer, units in marked.items():
        for unit in units:
            for reader, columns in pair_columns(network, kind, layer, unit).items():
                for tree in (params, *slots.values()):
                    tree[reader][:, columns] = 0.0
    return Net(params, slots)


@pytest.mark.parametrize("kind", list(SPECS))
def test_redo_recycles_a_unit_of_a_crelu_whose_pre_activation_is_silent(kind):
    network = built(kind, activation="crelu")
    net = random_net(network)
    for layer, units in (("hidden0_1a", (0, 2)), ("hidden0", (1, 4)), ("hidden1", (3,)), ("hidden1_value", (2,)), ("value.hidden0", (5,))):
        if layer in READERS[kind]:
            for unit in units:
                net.params[f"{layer}.weight"][unit] *= 1e-3
                net.params[f"{layer}.bias"][unit] = 0.0
    x = torch.randn(4, *network.inputs, generator=generator(9))
    evidence = evidence_for(network, net, 9)
    raw = network.apply(net.params, x, raw=True)[1]  # |relu(x)| + |relu(-x)| = |x|
    if kind == "noisy":
        raw["quantiles"] = raw["quantiles"].relu()
    after, _ = ReDo(tau=0.2).refresh(net, {}, evidence, network.layers)
    expected = redo_of_pairs(network, kind, net, evidence, raw, 0.2)
    torch.testing.assert_close(after.params, expected.params, rtol=1e-9, atol=0)
    torch.testing.assert_close(after.slots, expected.slots, rtol=1e-9, atol=0)


def test_what_gates_others_keeps_one_output_a_unit():
    network = built("noisy", activation="fourier")
    (gates,) = (layer for layer in network.layers if layer.name == "quantiles")
    assert (gates.activation, gates.copies, gates.units) == ("relu", 1, 2 * 6 * 2 * 2)


# Tailored


def cosine_after(slope: float, depth: int) -> float:
    """Outputs of `depth` layers of infinitely many scaled leaky ReLUs on orthogonal inputs, by integrals over a normal pair's angle."""
    angles, scale, cosine = torch.arange(400_000) * (2 * math.pi / 400_000), (2 / (1 + slope**2)) ** 0.5, 0.0

    def phi(x: Tensor) -> Tensor:
        return scale * torch.where(x > 0, x, slope * x)

    for _ in range(depth):
        cosine = 2 * (phi(torch.cos(angles)) * phi(torch.cos(angles - math.acos(cosine)))).mean().item()
    return cosine


@pytest.mark.parametrize(("eta", "depth"), [(0.3, 1), (0.5, 3), (0.9, 20), (0.9, 50)])
def test_the_slope_brings_orthogonal_inputs_to_eta(eta, depth):
    assert cosine_after(tailored_slope(eta, depth), depth) == pytest.approx(eta, abs=1e-6)


def test_slopes_by_hand():
    # One layer: (1 - a)^2 / (pi (1 + a^2)) = 0.2 / pi for a = 1/2.
    assert tailored_slope(0.2 / math.pi, 1) == pytest.approx(0.5, abs=1e-9)
    assert tailored_slope(1 / math.pi - 1e-12, 1) == pytest.approx(0.0, abs=1e-9)
    assert tailored_slope(0.9, 50) > tailored_slope(0.9, 20) > 0 and tailored_slope(0.8, 20) > tailored_slope(0.9, 20)


@pytest.mark.parametrize(("kind", "depth"), [("mlp", 3), ("convolutions", 4), ("residual", 10), ("noisy", 2)])
def test_the_depth_is_the_number_of_activations_in_a_row(kind, depth):
    network = built(kind, activation="tailored", eta=0.3)
    layer = next(iter(READERS[kind]))
    params, x = random_net(network).params, torch.randn(4, *network.inputs, generator=generator())
    raw, units = (network.apply(params, x, raw=raw)[1][layer] for raw in (True, False))
    slope = tailored_slope(0.3, depth)
    by_hand = (2 / (1 + slope**2)) ** 0.5 * torch.where(raw > 0, raw, slope * raw)
    torch.testing.assert_close(units, by_hand, rtol=1e-9, atol=1e-12)


def test_a_shallow_network_cannot_be_tailored_to_the_default():
    with pytest.raises(UsageError) as raised:
        assemble(MLP(depth=3), Adam(), (Tailored(),), (3,), 2)
    assert str(raised.value) == ("eta=0.9 is out of reach with 3 hidden layers: ReLU itself reaches 0.60; use a smaller eta")
    assert cosine_after(0.0, 3) == pytest.approx(0.60, abs=5e-3)


@pytest.mark.parametrize("name", ["relu", "leaky-relu", "tanh"])
def test_gains_are_torchs(name):
    torchs = {"relu": ("relu", None), "leaky-relu": ("leaky_relu", 0.3), "tanh": ("tanh", None)}[name]
    assert gain(name, 0.3) == pytest.approx(torch.nn.init.calculate_gain(*torchs))


@pytest.mark.parametrize("name", ["crelu", "fourier", "tailored"])
def test_other_gains_keep_the_mean_square(name):
    network = Network(MLP(width=2000, depth=2, activation=name, eta=0.3, initial="fan-in"), (500,), 1)
    params, x = network.init(generator()), torch.randn(50, 500, generator=generator(1))
    first, second = ("hidden0", "hidden1")
    # Inputs of mean square 1 get the activation's own gain, which is for smaller outputs.
    params[f"{first}.weight"] /= gain(name, 0.01)
    raw = network.apply(params, x, raw=True)[1]
    assert raw[first].square().mean().item() == pytest.approx(1, rel=0.05)
    assert raw[second].square().mean().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("method", "fields", "message"),
    [
        (LeakyReLU, {"slope": -0.1}, "slope must lie in [0, 1], not -0.1"),
        (LeakyReLU, {"slope": math.nan}, "slope must be a finite number, not nan"),
        (Tailored, {"eta": 1.0}, "eta must lie in (0, 1), not 1.0"),
        (Tailored, {"eta": 0.0}, "eta must lie in (0, 1), not 0.0"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(method, fields, message):
    with pytest.raises(UsageError) as raised:
        method(**fields)
    assert str(raised.value) == f"{method.__name__}: {message}"
