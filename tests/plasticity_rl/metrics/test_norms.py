import math

import pytest
import torch

from plasticity_rl.metrics import norms
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP, Nature
from plasticity_rl.training.lift import lift, stack
from tests.learners import SPECS, built, generator, random_like

pytestmark = pytest.mark.usefixtures("double")

NETWORK = Network(MLP(width=2, depth=1), (2,), 1)
BEFORE = {
    "hidden0.weight": torch.tensor([[3.0, 0.0], [0.0, 4.0]]),
    "hidden0.bias": torch.tensor([0.0, 12.0]),
    "head.weight": torch.tensor([[5.0, -1e-9]]),
    "head.bias": torch.tensor([0.0]),
}


def numbers(tree, layer):
    """All of a layer's parameters, by name prefix."""
    return [value for name, tensor in tree.items() if name.rpartition(".")[0] == layer for value in tensor.flatten().tolist()]


def of(values):
    return {name: value.item() for name, value in values.items()}


def test_distances_by_hand():
    after = {name: param.clone() for name, param in BEFORE.items()}
    after["hidden0.weight"] += torch.tensor([[0.0, 3.0], [-4.0, 0.0]])
    after["hidden0.bias"] += 100  # no weight
    assert of(norms.distance(BEFORE, after, NETWORK.layers)) == {"hidden0": 5.0, "head": 0.0}
    assert of(norms.distance(BEFORE, BEFORE, NETWORK.layers)) == {"hidden0": 0.0, "head": 0.0}


def test_gradient_norms_by_hand():
    layers = NETWORK.layers
    assert of(norms.gradient_l0(BEFORE, layers)) == pytest.approx({"hidden0": 3 / 6, "head": 2 / 3})
    assert of(norms.gradient_l0(BEFORE, layers, tolerance=1e-8)) == pytest.approx({"hidden0": 3 / 6, "head": 1 / 3})
    assert of(norms.gradient_l0(BEFORE, layers, tolerance=3.0)) == pytest.approx({"hidden0": 2 / 6, "head": 1 / 3})
    assert of(norms.gradient_l1(BEFORE, layers)) == pytest.approx({"hidden0": 19.0, "head": 5.0 + 1e-9})
    assert of(norms.gradient_l2(BEFORE, layers)) == pytest.approx({"hidden0": 13.0, "head": 5.0})


@pytest.mark.parametrize("kind", SPECS)
def test_norms_are_loops_over_names_and_numbers(kind):
    network = built(kind, norm="layer")
    one, other = (random_like(network.init(generator()), seed) for seed in (1, 2))
    expected = {
        layer.name: {
            "l0": sum(abs(value) > 0.5 for value in numbers(one, layer.name)) / len(numbers(one, layer.name)),
            "l1": sum(abs(value) for value in numbers(one, layer.name)),
            "l2": math.sqrt(sum(value**2 for value in numbers(one, layer.name))),
        }
        for layer in network.layers
    }
    assert of(norms.gradient_l0(one, network.layers, 0.5)) == pytest.approx({k: v["l0"] for k, v in expected.items()}, abs=1e-6)
    assert of(norms.gradient_l1(one, network.layers)) == pytest.approx({k: v["l1"] for k, v in expected.items()})
    assert of(norms.gradient_l2(one, network.layers)) == pytest.approx({k: v["l2"] for k, v in expected.items()})
    for name, length in norms.distance(one, other, network.layers).items():
        pairs = zip(one[f"{name}.weight"].flatten().tolist(), other[f"{name}.weight"].flatten().tolist(), strict=True)
        assert length.item() == pytest.approx(math.sqrt(sum((a - b) ** 2 for a, b in pairs)))


def test_dead_units_show_in_l0_and_hide_in_l2():
    alive, dying = torch.full((10, 10), 0.1), torch.zeros(10, 10)
    dying[0] = 0.1 * math.sqrt(10)
    network = Network(MLP(width=10, depth=1), (10,), 1)
    grads = [{"hidden0.weight": each, "hidden0.bias": torch.zeros(10)} for each in (alive, dying)]
    l2 = [norms.gradient_l2(each, network.layers[:1])["hidden0"].item() for each in grads]
    l0 = [norms.gradient_l0(each, network.layers[:1])["hidden0"].item() for each in grads]
    assert l2[0] == pytest.approx(l2[1]) and l0 == pytest.approx([100 / 110, 10 / 110])


def test_units_with_hardly_any_gradient_by_hand():
    network = Network(MLP(width=4, depth=1), (2,), 3)
    weight = torch.tensor([[3.0, -5.0], [0.0, 0.0], [0.5, 0.1], [-1.0, 0.4]])  # means 4, 0, 0.3 and 0.7, of the layer 1.25
    grads = random_like(network.init(generator()), 1) | {"hidden0.weight": weight}
    for tau, share in ((0.0, 0.25), (0.01, 0.25), (0.25, 0.5), (0.6, 0.75)):
        assert of(norms.gradient_dormant_fraction(grads, network.layers, tau)) == {"hidden0": share}
    nothing = grads | {"hidden0.weight": torch.zeros(4, 2)}
    assert of(norms.gradient_dormant_fraction(nothing, network.layers)) == {"hidden0": 1.0}


def test_the_jacobian_of_a_linear_map_is_its_weight():
    weight = torch.tensor([[1.0, 2.0], [2.0, 4.0], [0.0, 0.0]])
    assert norms.jacobian_norm(lambda x: x @ weight.T, torch.randn(7, 2)).item() == pytest.approx(5.0, abs=1e-12)


@pytest.mark.parametrize("kind", SPECS)
def test_the_jacobian_is_torchs(kind):
    network = built(kind)
    params = {name: param.double() for name, param in network.init(generator()).items()}
    inputs = torch.randn(3, *network.inputs, generator=generator(1))

    def apply(x):
        return network.apply(params, x)[0]

    each = [torch.autograd.functional.jacobian(apply, x.unsqueeze(0)).flatten() for x in inputs]
    expected = sum(math.sqrt(sum(value**2 for value in jacobian.tolist())) for jacobian in each) / 3
    assert norms.jacobian_norm(apply, inputs).item() == pytest.approx(expected, rel=1e-9)


def test_bytes_are_fractions_of_255():
    network = Network(Nature(width=8), (4, 36, 36), 3)
    params = network.init(generator())
    frames = torch.randint(0, 256, (2, 4, 36, 36), generator=generator(1), dtype=torch.uint8)
    assert norms.jacobian_norm(lambda x: network.apply(params, x)[0], frames).item() == pytest.approx(
        norms.jacobian_norm(lambda x: network.apply(params, x)[0], frames.float() / 255).item(), rel=1e-6
    )


def test_lifted_is_a_loop():
    network = built("mlp")
    members = [random_like(network.init(generator()), seed) for seed in range(3)]
    inputs = torch.randn(3, 4, *network.inputs, generator=generator(1))

    def jacobian(params, x):
        return norms.jacobian_norm(lambda x: network.apply(params, x)[0], x)

    expected = [jacobian(params, x).item() for params, x in zip(members, inputs, strict=True)]
    assert lift(jacobian)(stack(members), inputs).tolist() == pytest.approx(expected, rel=1e-9)
    for metric in (norms.gradient_l0, norms.gradient_l1, norms.gradient_l2):
        lifted = lift(lambda params, metric=metric: metric(params, network.layers))(stack(members))
        for name, values in lifted.items():
            assert values.tolist() == pytest.approx([metric(each, network.layers)[name].item() for each in members])


def test_zeros_have_length_0():
    zeros = {name: torch.zeros_like(param) for name, param in BEFORE.items()}
    for metric in (norms.gradient_l0, norms.gradient_l1, norms.gradient_l2):
        assert of(metric(zeros, NETWORK.layers)) == {"hidden0": 0.0, "head": 0.0}
    assert norms.jacobian_norm(lambda x: x * 0, torch.randn(1, 3)).item() == 0.0
