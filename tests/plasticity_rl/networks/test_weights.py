"""Initial weights, and effective weights that networks multiply with."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import grad, vmap

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import (
    L2,
    ContinualBackprop,
    FanIn,
    L2Init,
    LowRank,
    Orthogonal,
    Powerprop,
    ReDo,
    Reset,
    SelfNormalizedResets,
    SpectralNorm,
    Wasserstein,
    assemble,
)
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP, Nature
from plasticity_rl.networks.weights import drawn, iterated, singular_vectors
from plasticity_rl.optim.optimizers import SGD, Adam
from tests.learners import OUTPUTS, RATE, SPECS, batches, built, copies, generator, learn, random_net

pytestmark = pytest.mark.usefixtures("double")

BUILT = {
    FanIn(): {"initial": "fan-in"},
    Orthogonal(): {"initial": "orthogonal"},
    LowRank(rank=0.3): {"initial": "low-rank", "rank": 0.3},
    SpectralNorm(iterations=3): {"weights": "spectral-norm"},
    Powerprop(alpha=1.5): {"weights": "powerprop", "alpha": 1.5},
}
ROOT = 2**0.5


@pytest.mark.parametrize(("method", "fields"), BUILT.items(), ids=lambda value: "" if isinstance(value, dict) else repr(value))
@pytest.mark.parametrize("kind", list(SPECS))
def test_each_builds_its_weights_and_nothing_else(method, fields, kind):
    spec, inputs, ends = SPECS[kind]
    network, optimizer = assemble(spec, Adam(), (method,), inputs, ends)
    assert network.spec == dataclasses.replace(spec, **fields) and optimizer == Adam()
    vectors = {name for layer in network.layers for name in layer.singular}
    assert {name: shape for name, shape in network.shapes.items() if name not in vectors} == built(kind).shapes
    assert bool(vectors) == isinstance(method, SpectralNorm)


# Initial weights


@pytest.mark.parametrize(("activation", "gain"), [("relu", ROOT), ("tanh", 5 / 3), ("tailored", 1.0)])
def test_weights_by_fan_in_are_normal_and_as_wide_as_he_et_al_say(activation, gain):
    network = Network(Nature(initial="fan-in", activation=activation, eta=0.3), (4, 84, 84), 18)
    params = network.init(generator())
    for layer, fan_in in zip(network.layers, (4 * 8 * 8, 32 * 4 * 4, 64 * 3 * 3, 64 * 7 * 7, 512), strict=True):
        weight, deviation = params[layer.weight], (1 if layer.head else gain) * fan_in**-0.5
        assert weight.std().item() == pytest.approx(deviation, rel=0.02) and abs(weight.mean().item()) < 0.02 * deviation
        assert (weight / deviation).pow(4).mean().item() == pytest.approx(3, rel=0.1)  # a normal number
        assert layer.bias is not None and not params[layer.bias].any()


@pytest.mark.parametrize("kind", list(SPECS))
def test_orthogonal_weights_keep_lengths_times_the_gain(kind):
    network = built(kind, initial="orthogonal")
    params = network.init(generator())
    for layer in network.layers:
        matrix, gain = params[layer.weight].flatten(1), 1.0 if layer.activation is None else ROOT
        smaller = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
        torch.testing.assert_close(smaller, gain**2 * torch.eye(len(smaller)), rtol=1e-9, atol=1e-10)
        assert layer.bias is None or not params[layer.bias].any()


def test_orthogonal_weights_are_torchs():
    for shape in ((6, 4), (4, 6), (5, 3, 2, 2)):
        expected = nn.init.orthogonal_(torch.empty(shape), ROOT, generator=generator(3))
        assert torch.equal(drawn(shape, "orthogonal", ROOT, 0.1, generator(3)), expected)


@pytest.mark.parametrize(("share", "ranks"), [(0.25, (8, 16, 16, 50)), (0.001, (1, 1, 1, 1)), (1.0, (32, 64, 64, 200))])
def test_weights_of_low_rank_have_that_rank_and_the_usual_width(share, ranks):
    network = Network(Nature(width=200, initial="low-rank", rank=share), (4, 84, 84), 18)
    params = network.init(generator())
    for layer, rank, fan_in in zip(network.layers[:-1], ranks, (4 * 8 * 8, 32 * 4 * 4, 64 * 3 * 3, 64 * 7 * 7), strict=True):
        weight = params[layer.weight]
        assert torch.linalg.matrix_rank(weight.flatten(1)).item() == rank
        if rank > 1:
            assert weight.std().item() == pytest.approx((3 * fan_in) ** -0.5, rel=0.2)
        assert layer.bias is not None and 0.75 * fan_in**-0.5 < params[layer.bias].abs().max() <= fan_in**-0.5
    assert torch.linalg.matrix_rank(params["head.weight"]).item() == 18


@pytest.mark.parametrize("method", [FanIn(), Orthogonal(), LowRank(rank=0.3), Powerprop()], ids=repr)
def test_a_reset_draws_from_the_same_distribution(method):
    learner = learn((method, Reset()), "mlp", 2)
    learner.update(RATE, batches("mlp", 2, 1)[0])
    learner.task_boundary()
    for member in range(2):
        expected = learner.network.init(learner.draw(member, "network", "Reset", 0, "task", 1))
        torch.testing.assert_close(learner.one(member), expected, rtol=0, atol=0)


# Effective weights


def test_singular_vectors_are_torchs():
    for shape in ((6, 4), (4, 6), (5, 3, 2, 2), (1, 7)):
        weight = torch.randn(shape, generator=generator(1))
        left, right = iterated(weight, *singular_vectors(weight), 500)
        lefts, values, rights = torch.linalg.svd(weight.flatten(1), full_matrices=False)
        sign = torch.sign(lefts[:, 0] @ left)
        torch.testing.assert_close(left * sign, lefts[:, 0], rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(right * sign, rights[0], rtol=1e-6, atol=1e-8)
        assert (left @ weight.flatten(1) @ right).item() == pytest.approx(values[0].item(), rel=1e-9)


def test_new_vectors_find_a_wide_layers_value_to_a_few_percent():
    for shape in ((100, 784), (512, 3136), (64, 32, 4, 4)):
        weight = drawn(shape, "uniform", 1.0, 0.1, generator(1))
        exact = torch.linalg.svdvals(weight.flatten(1))[0]
        left, right = singular_vectors(weight)
        assert 0.93 * exact < left @ weight.flatten(1) @ right <= exact


@pytest.mark.parametrize("kind", ["mlp", "convolutions"])
@pytest.mark.parametrize("iterations", [1, 2])
def test_training_with_spectral_norm_is_training_with_torchs(kind, iterations):
    learner = learn((SpectralNorm(iterations),), kind, 1, optimizer=SGD())
    start = {name: param.clone() for name, param in learner.one(0).items()}
    kinds = (nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 8))
    if kind == "convolutions":
        kinds = (nn.Conv2d(2, 6, 2), nn.Conv2d(6, 8, 2), nn.Conv2d(8, 8, 2), nn.Linear(32, 8))
    modules = [nn.utils.spectral_norm(module, n_power_iterations=iterations, eps=1e-30) for module in kinds]
    names = [f"hidden{i}" for i in range(len(modules))]
    for name, module in zip(names, modules, strict=True):
        tensors = {"weight_orig": f"{name}.weight", "bias": f"{name}.bias", "weight_u": f"{name}.left", "weight_v": f"{name}.right"}
        module.load_state_dict({theirs: start[ours].clone() for theirs, ours in tensors.items()})
    head = nn.Linear(8, OUTPUTS)
    head.load_state_dict({part: start[f"head.{part}"].clone() for part in ("weight", "bias")})
    optimizer = torch.optim.SGD([param for module in (*modules, head) for param in module.parameters()], lr=0.1)
    # Theirs iterates before a forward pass, ours after an update.
    project = learner.chain[0].project(start, {}, learner.network.layers)[0]
    for name, param in learner.net.params.items():
        param.copy_(project[name])
    for batch in batches(kind, 1, 4):
        learner.update(0.1, batch)
        x = batch["inputs"][0]
        for module in modules:
            x = module(x.flatten(1) if isinstance(module, nn.Linear) else x).relu()
        optimizer.zero_grad()
        F.cross_entropy(head(x), batch["labels"][0]).backward()
        optimizer.step()
    trained = learner.one(0)
    for name, module in zip(names, modules, strict=True):
        torch.testing.assert_close(trained[f"{name}.weight"], module.state_dict()["weight_orig"], rtol=1e-9, atol=1e-12)
        assert (trained[f"{name}.weight"] - start[f"{name}.weight"]).abs().max() > 1e-6
    torch.testing.assert_close(trained["head.weight"], head.weight.detach(), rtol=1e-9, atol=1e-12)


def test_the_length_of_a_spectrally_normalised_weight_does_not_matter_and_a_weight_of_zeros_is_finite():
    network, (batch,) = built("mlp", weights="spectral-norm"), batches("mlp", 1, 1)
    params, x = random_net(network).params, batch["inputs"][0]
    project = SpectralNorm().project
    params = project(params, {}, network.layers)[0]
    longer = project(params | {"hidden1.weight": params["hidden1.weight"] * 3}, {}, network.layers)[0]
    again = project(params, {}, network.layers)[0]
    torch.testing.assert_close(network.apply(longer, x)[0], network.apply(again, x)[0], rtol=1e-9, atol=1e-12)
    silent = params | {"hidden1.weight": torch.zeros(8, 8)}
    grads = grad(lambda params: network.apply(params, x)[0].square().sum())(silent)
    assert all(each.isfinite().all() for each in grads.values()) and grads["hidden1.weight"].any()
    kept = project(silent, {}, network.layers)[0]
    assert all(torch.equal(kept[name], params[name]) for name in ("hidden1.left", "hidden1.right"))


@pytest.mark.parametrize("other", [L2Init(strength=10.0), Wasserstein(strength=10.0), L2(strength=10.0, decayed="all")], ids=repr)
def test_penalties_leave_singular_vectors_alone(other):
    learner = learn((other, SpectralNorm()), "mlp", 1)
    for batch in batches("mlp", 1, 3):
        before = copies(learner)
        learner.update(RATE, batch)
        for layer in learner.network.layers[:-1]:
            left, right = (before[f"params/{name}"][0] for name in layer.singular)
            expected = iterated(learner.one(0)[layer.weight], left, right, 1)
            for name, vector in zip(layer.singular, expected, strict=True):
                torch.testing.assert_close(learner.one(0)[name], vector, rtol=1e-12, atol=1e-14)


def test_a_reset_brings_the_vectors_of_the_new_weights():
    learner = learn((SpectralNorm(), Reset(part="hidden")), "mlp", 2)
    for batch in batches("mlp", 2, 3):
        learner.update(RATE, batch)
    learner.task_boundary()
    for member in range(2):
        params = learner.one(member)
        for layer in learner.network.layers[:-1]:
            left, right = (params[name] for name in layer.singular)
            exact = torch.linalg.svdvals(params[layer.weight])[0]
            assert 0.99 * exact < left @ params[layer.weight] @ right <= exact * (1 + 1e-12)


@pytest.mark.parametrize("alpha", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("kind", list(SPECS))
def test_powerpropagation_multiplies_with_powers_and_starts_as_usual(kind, alpha):
    network, plain, (batch,) = built(kind, weights="powerprop", alpha=alpha), built(kind), batches(kind, 1, 1)
    given = {name: batch[name][0] for name in ("noise", "fractions", "task") if name in batch}
    hidden = {layer.weight for layer in network.layers if not layer.head}
    born, usual = network.init(generator()), plain.init(generator())
    for params in (born, random_net(network).params):
        effective = {name: param * param.abs() ** (alpha - 1) if name in hidden else param for name, param in params.items()}
        if params is born:
            torch.testing.assert_close(effective, usual, rtol=1e-9, atol=0)
        x = batch["inputs"][0]
        outputs = network.apply(params, x, given.get("noise"), given.get("fractions"), given.get("task"))
        expected = plain.apply(effective, x, given.get("noise"), given.get("fractions"), given.get("task"))
        torch.testing.assert_close(outputs, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("alpha", [1.5, 2.0])
def test_the_gradient_of_a_power_by_hand(alpha):
    network = Network(MLP(width=1, depth=1, activation="leaky-relu", slope=1.0, weights="powerprop", alpha=alpha), (3,), 1)
    params = {"hidden0.weight": torch.tensor([[2.0, -3.0, 0.0]]), "hidden0.bias": torch.zeros(1)}
    params |= {"head.weight": torch.ones(1, 1), "head.bias": torch.zeros(1)}
    grads = grad(lambda params: network.apply(params, torch.tensor([[1.0, 10.0, 5.0]]))[0].sum())(params)
    by_hand = [alpha * 2 ** (alpha - 1), 10 * alpha * 3 ** (alpha - 1), 0.0]  # alpha |w|^(alpha - 1) x, and none at 0
    assert grads["hidden0.weight"].tolist() == [pytest.approx(by_hand)]


# In lower precision, side by side and compiled


@pytest.mark.parametrize("weights", ["spectral-norm", "powerprop"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_in_bfloat16_outputs_are_near_and_copies_give_the_same(kind, weights):
    torch.set_default_dtype(torch.float32)
    full, low = (built(kind, weights=weights, precision=precision) for precision in ("float32", "bfloat16"))
    params, x = full.init(generator()), torch.randn(8, *full.inputs, generator=generator())
    noise = torch.randn(8, full.noise, generator=generator()) if full.noise else None
    exact, near, copied = full.apply(params, x, noise)[0], low.apply(params, x, noise)[0], low.apply(low.cast(params), x, noise)[0]
    assert near.dtype == torch.float32 and (near - exact).norm() < 0.03 * exact.norm()
    assert torch.equal(near, copied)
    kept = {name: param.dtype for name, param in low.cast(params).items() if not name.endswith("weight_noise")}
    assert set(kept.values()) == {torch.float32}


@pytest.mark.parametrize(
    "fields", [{"weights": "powerprop", "activation": "crelu"}, {"weights": "spectral-norm", "norm": "batch-mean"}], ids=str
)
def test_all_of_it_is_one_graph(fields):
    network: Network = built("mlp", **fields)
    nets = [random_net(network, seed).params for seed in (0, 1)]
    stacked = {name: torch.stack([net[name] for net in nets]) for name in nets[0]}
    x = torch.randn(2, 4, 5, generator=generator())

    def gradient(params: dict[str, torch.Tensor], x: torch.Tensor) -> dict[str, torch.Tensor]:
        return vmap(grad(lambda params, x: network.apply(params, x)[0].square().sum()))(params, x)

    torch.compiler.reset()
    found = torch.compile(gradient, fullgraph=True, backend="eager")(stacked, x)
    torch.testing.assert_close(found, gradient(stacked, x), rtol=1e-9, atol=1e-10)
    for member, params in enumerate(nets):
        alone = grad(lambda params, member=member: network.apply(params, x[member])[0].square().sum())(params)
        torch.testing.assert_close({name: each[member] for name, each in found.items()}, alone, rtol=1e-9, atol=1e-10)
    torch.compiler.reset()


@pytest.mark.parametrize("method", [ReDo(), ContinualBackprop(), SelfNormalizedResets()], ids=repr)
def test_units_that_would_be_mute_for_ever_are_not_recycled(method):
    """Powers of 0 have no gradient; heads have no powers."""
    for chain in ((Powerprop(), method), (method, Powerprop(alpha=1.0))):
        with pytest.raises(
            UsageError, match=f"^{type(method).__name__} sets a unit's outgoing weights to 0, where powerprop .* hidden0 could"
        ):
            assemble(MLP(depth=2), Adam(), chain, (3,), OUTPUTS)
        assemble(MLP(depth=1), Adam(), chain, (3,), OUTPUTS)
    assemble(MLP(depth=2), Adam(), (SpectralNorm(), method), (3,), OUTPUTS)


def test_recycled_weights_are_finite():
    learner = learn((SpectralNorm(), ReDo(every=1, tau=0.9)), "mlp", 2)
    for batch in batches("mlp", 2, 3):
        assert learner.update(RATE, batch)["loss"].isfinite().all()
    assert all(tensor.isfinite().all() for tensor in learner.tensors().values())


@pytest.mark.parametrize(
    ("method", "fields", "message"),
    [
        (LowRank, {"rank": 0.0}, "rank must lie in (0, 1], not 0.0"),
        (LowRank, {"rank": 1.5}, "rank must lie in (0, 1], not 1.5"),
        (SpectralNorm, {"iterations": 0}, "iterations must lie in [1, 1000], not 0"),
        (SpectralNorm, {"iterations": 2.0}, "iterations must be a whole number, not 2.0"),
        (Powerprop, {"alpha": 0.5}, "alpha must lie in [1, 100], not 0.5"),
        (Powerprop, {"alpha": math.inf}, "alpha must be a finite number, not inf"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(method, fields, message):
    with pytest.raises(UsageError) as raised:
        method(**fields)
    assert str(raised.value) == f"{method.__name__}: {message}"


def test_two_kinds_of_weights_are_refused():
    with pytest.raises(UsageError, match="SpectralNorm and Powerprop cannot be combined: weights would be both"):
        assemble(MLP(), Adam(), (SpectralNorm(), Powerprop()), (3,), OUTPUTS)
