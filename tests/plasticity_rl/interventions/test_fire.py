"""FIRE beside the singular value decomposition, and beside its iteration on one matrix."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import FIRE
from plasticity_rl.interventions.fire import newton_schulz
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import Nature
from tests.learners import SPECS, built, evidence_for, generator, random_net
from tests.refreshes import HEADS

pytestmark = pytest.mark.usefixtures("double")


def matrices(weight: torch.Tensor) -> list[torch.Tensor]:
    """A weight's matrices, (units, inputs), one for each position of a kernel."""
    if weight.ndim == 2:
        return [weight]
    return [weight[:, :, row, column] for row in range(weight.shape[2]) for column in range(weight.shape[3])]


def polar(matrix: torch.Tensor) -> torch.Tensor:
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    return left @ right


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (6, 1), (4, 5, 3)])
def test_the_iteration_ends_at_the_polar_factor_of_the_singular_value_decomposition(shape):
    matrix = torch.randn(shape, generator=generator())
    torch.testing.assert_close(newton_schulz(matrix, 40), polar(matrix), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("scale", ["code", "kept"])
@pytest.mark.parametrize("part", ["all", "hidden"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_every_weight_becomes_the_nearest_one_with_equal_singular_values(kind, part, scale):
    method, network = FIRE(iterations=60, part=part, scale=scale), built(kind)
    net = random_net(network)
    after, _ = method.refresh(net, {}, evidence_for(network, net), network.layers)
    assert after.slots is net.slots
    for name, old in net.params.items():
        if not name.endswith(".weight") or (part == "hidden" and name.startswith(HEADS[kind])):
            assert torch.equal(after.params[name], old)
            continue
        expected = [polar(matrix) for matrix in matrices(old)]
        units, inputs = expected[0].shape
        if scale == "code":
            expected = [each * (units / inputs) ** 0.5 / len(expected) for each in expected]
        else:
            length = sum(each.square().sum() for each in expected) ** 0.5
            expected = [each * old.norm() / length for each in expected]
            assert after.params[name].norm().item() == pytest.approx(old.norm().item(), rel=1e-9)
        for new, by_hand in zip(matrices(after.params[name]), expected, strict=True):
            torch.testing.assert_close(new, by_hand, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("iterations", [1, 10])
def test_few_iterations_are_few(iterations):
    network = built("mlp")
    net = random_net(network)
    after, _ = FIRE(iterations=iterations).refresh(net, {}, evidence_for(network, net), network.layers)
    for name in ("hidden0.weight", "hidden1.weight", "head.weight"):
        old = net.params[name]
        values = torch.linalg.svdvals(old) / old.norm()
        for _ in range(iterations):
            values = 1.5 * values - 0.5 * values**3  # the iteration acts on each singular value by itself
        units, inputs = old.shape
        expected = values.sort(descending=True).values * (units / inputs) ** 0.5
        torch.testing.assert_close(torch.linalg.svdvals(after.params[name]), expected, rtol=1e-8, atol=1e-10)


def test_a_weight_of_zeros_stays():
    network = built("mlp")
    net = random_net(network)
    net.params["hidden1.weight"].zero_()
    for scale in ("code", "kept"):
        after, _ = FIRE(scale=scale).refresh(net, {}, evidence_for(network, net), network.layers)
        assert not after.params["hidden1.weight"].any()


def test_the_target_network_follows():
    assert FIRE().syncs_target and not FIRE().clears_replay


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"iterations": 0}, "iterations must lie in [1, 1000], not 0"),
        ({"scale": "none"}, "scale cannot be 'none'; one of: code, kept"),
        ({"every": 0}, "every must lie in [1, inf), not 0"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        FIRE(**fields)
    assert str(raised.value) == f"FIRE: {message}"


def test_the_default_iterations_come_as_near_as_is_said():
    """Distances from the singular value decomposition's polar factors, over their length, of a new network for Atari."""
    network = Network(Nature(), (4, 84, 84), 6)
    weights = {name: param for name, param in network.init(generator()).items() if name.endswith(".weight")}

    def far(weight: torch.Tensor, iterations: int) -> float:
        stacked = torch.stack(matrices(weight.double()))
        exact = polar(stacked)
        return ((newton_schulz(stacked, iterations) - exact).norm() / exact.norm()).item()

    distances = [far(weight, FIRE().iterations) for weight in weights.values()]
    assert distances[2:4] == [pytest.approx(0.19, abs=0.005), pytest.approx(0.015, abs=0.001)]
    assert max(distances[0], distances[1], distances[4]) < 1.5e-4
    assert far(weights["hidden2.weight"], 30) < 1e-12
