import math

import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.metrics import curvature
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.training.lift import lift, stack
from tests.learners import built, generator, random_like

pytestmark = pytest.mark.usefixtures("double")

NETWORK = Network(MLP(width=3, depth=2, activation="tanh"), (2,), 3)
INPUTS, LABELS = torch.randn(5, 2, generator=generator(1)).double(), torch.tensor([0, 2, 1, 1, 0])


def born(seed: int = 0):
    return {name: param.double() for name, param in NETWORK.init(generator(seed)).items()}


def apply(params, inputs):
    return NETWORK.apply(params, inputs)[0]


def loss(params):
    return F.cross_entropy(apply(params, INPUTS), LABELS)


def full_hessian(params):
    names = list(params)
    flat = torch.cat([params[name].flatten() for name in names])

    def of_flat(flat):
        parts = flat.split([params[name].numel() for name in names])
        return loss({name: part.view(params[name].shape) for name, part in zip(names, parts, strict=True)})

    return torch.autograd.functional.hessian(of_flat, flat)


def quadratic(spectrum):
    """A loss of known spectrum, with two tensors as parameters."""
    values = torch.tensor(spectrum)
    rotation = torch.linalg.qr(torch.randn(len(spectrum), len(spectrum), generator=generator(2))).Q
    matrix = rotation @ torch.diag(values) @ rotation.T

    def of(params):
        x = torch.cat([params["a"], params["b"].flatten()])
        return x @ matrix @ x / 2

    draw = generator(3)
    shapes = {"a": (2,), "b": ((len(spectrum) - 2) // 2, 2)}
    params, start = ({name: torch.randn(shape, generator=draw) for name, shape in shapes.items()} for _ in range(2))
    return of, params, start


@pytest.mark.parametrize(
    "spectrum",
    [
        [5.0, 4.0, 3.0, 2.0, 1.0, 0.5],
        [100.0, 1.0, 1e-3, 0.0, -2.0, -50.0],
        [3.0, 3.0, 3.0, 1.0, 1.0, 1.0],
        [7.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [-1.0, -1.0, -2.0, -2.0, -3.0, -3.0],
        [0.0] * 6,
    ],
)
def test_quadratic_losses_have_their_spectrum(spectrum):
    found = curvature.hessian_eigenvalues(*quadratic(spectrum), count=6, steps=20)
    assert found.values.tolist() == pytest.approx(sorted(spectrum, reverse=True), abs=1e-9)
    assert found.errors.tolist() == pytest.approx([0.0] * 6, abs=1e-9)


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_poor_start_is_no_obstacle(start):
    of, params, _ = quadratic([4.0, 3.0, 2.0, 1.0])
    first = {name: torch.full_like(param, start) for name, param in params.items()}
    assert curvature.hessian_eigenvalues(of, params, first, 4).values.tolist() == pytest.approx([4, 3, 2, 1], abs=1e-9)


def test_an_eigenvector_as_start_is_no_obstacle():
    start = {"x": torch.tensor([1.0, 0.0, 0.0])}
    params, values = {"x": torch.zeros(3)}, torch.tensor([1.0, 5.0, 2.0])
    found = curvature.hessian_eigenvalues(lambda params: (values * params["x"].square()).sum() / 2, params, start, 3)
    assert found.values.tolist() == pytest.approx([5.0, 2.0, 1.0], abs=1e-12)


def test_few_steps_find_the_largest_and_bound_their_error():
    spectrum = [10.0, 5.0, *torch.linspace(-1, 1, 38).tolist()]
    found = curvature.hessian_eigenvalues(*quadratic(spectrum), count=4, steps=8)
    assert found.values[0].item() == pytest.approx(10.0, abs=1e-3)
    for value, error in zip(found.values.tolist(), found.errors.tolist(), strict=True):
        assert min(abs(value - each) for each in spectrum) <= error + 1e-12
    assert found.errors[0] < 0.1 < found.errors[3]


@pytest.mark.parametrize("steps", [100, 34, 25])
def test_the_spectrum_of_a_network_is_that_of_its_full_hessian(steps):
    params = born()
    expected = torch.linalg.eigvalsh(full_hessian(params)).flip(0)
    found = curvature.hessian_eigenvalues(loss, params, random_like(params, 4), count=5, steps=steps)
    assert len(expected) == 33
    assert found.values.tolist() == pytest.approx(expected[:5].tolist(), abs=1e-8)


@pytest.mark.parametrize("kind", ["convolutions", "residual"])
def test_convolutions_have_a_spectrum_too_and_no_grad_is_no_obstacle(kind):
    network = built(kind)
    params = {name: param.double() for name, param in network.init(generator()).items()}
    inputs, labels = torch.randn(4, *network.inputs, generator=generator(1)), torch.arange(4) % 3

    def of(params):
        return F.cross_entropy(network.apply(params, inputs)[0], labels)

    with torch.no_grad():
        found = curvature.hessian_eigenvalues(of, params, random_like(params, 4), count=1, steps=30)
    # By hand: power iteration, shifted so that the largest eigenvalue is the largest in magnitude too.
    leaves = {name: param.clone().requires_grad_() for name, param in params.items()}
    first = torch.autograd.grad(of(leaves), list(leaves.values()), create_graph=True)
    vector = [torch.randn(param.shape, generator=generator(5)) for param in params.values()]
    shift = found.values[0].item() / 2
    for _ in range(300):
        product = torch.autograd.grad(first, list(leaves.values()), vector, retain_graph=True)
        moved = [each + shift * old for each, old in zip(product, vector, strict=True)]
        length = sum(each.square().sum() for each in moved).sqrt()
        vector = [each / length for each in moved]
    assert (length - shift).item() == pytest.approx(found.values[0].item(), rel=1e-6)


def test_single_precision_comes_close():
    params = {name: param.float() for name, param in born().items()}
    start = {name: param.float() for name, param in random_like(params, 4).items()}
    expected = torch.linalg.eigvalsh(full_hessian(born())).flip(0)[:3]
    found = curvature.hessian_eigenvalues(
        lambda params: F.cross_entropy(apply(params, INPUTS.float()), LABELS), params, start, count=3, steps=40
    )
    assert found.values.tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_the_ntk_of_a_linear_model_is_its_inputs_gram_matrix():
    # f = W x + b, summed over two outputs: the gradient is x and 1, twice.
    params = {"weight": torch.randn(2, 3), "bias": torch.randn(2)}
    x = torch.randn(4, 3, generator=generator(5))
    kernel = curvature.ntk(lambda params, x: x @ params["weight"].T + params["bias"], params, x)
    expected = [[2 * sum(a * b for a, b in zip(one, other, strict=True)) + 2 for other in x.tolist()] for one in x.tolist()]
    assert kernel.flatten().tolist() == pytest.approx([value for row in expected for value in row], abs=1e-12)


def test_the_ntk_of_a_network_is_of_gradients_one_by_one():
    params = {name: param.requires_grad_() for name, param in born().items()}
    gradients = [
        torch.cat([each.flatten() for each in torch.autograd.grad(apply(params, INPUTS[i : i + 1]).sum(), list(params.values()))])
        for i in range(5)
    ]
    kernel = curvature.ntk(apply, born(), INPUTS)
    for i in range(5):
        for j in range(5):
            assert kernel[i, j].item() == pytest.approx((gradients[i] @ gradients[j]).item(), abs=1e-10)
    torch.testing.assert_close(curvature.ntk(apply, born(), INPUTS, examples=2), kernel[:2, :2])


def test_kernels_by_hand():
    assert curvature.ntk_rank(torch.eye(5)).item() == pytest.approx(5.0)
    assert curvature.condition_number(torch.eye(5)).item() == pytest.approx(1.0)
    assert curvature.ntk_rank(torch.ones(5, 5)).item() == pytest.approx(1.0, abs=1e-6)
    assert curvature.condition_number(torch.diag(torch.tensor([8.0, 4.0, 2.0]))).item() == pytest.approx(4.0)
    assert 1e14 < curvature.condition_number(torch.ones(5, 5)).item() <= 1 / torch.finfo(torch.float64).eps
    for kernel in (torch.zeros(4, 4), torch.zeros(1, 1)):
        assert curvature.ntk_rank(kernel).item() == curvature.condition_number(kernel).item() == 0.0
    assert curvature.condition_number(torch.tensor([[3.0]])).item() == 1.0


def test_cosines_by_hand():
    # l = (w . x)^2 / 2 at w = (1, 1): the gradient is (w . x) x.
    examples = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [1.0, 1.0], [1.0, -1.0], [0.0, -1.0]])
    cosines = curvature.gradient_cosines(lambda params, x: (params["w"] @ x).square() / 2, {"w": torch.ones(2)}, examples)
    half = 0.5**0.5
    assert cosines.tolist() == [
        pytest.approx(row, abs=1e-12)
        for row in (
            [1, 1, 0, half, 0, 0],
            [1, 1, 0, half, 0, 0],
            [0, 0, 1, half, 0, 1],
            [half, half, half, 1, 0, half],
            [0, 0, 0, 0, 0, 0],  # no gradient
            [0, 0, 1, half, 0, 1],
        )
    ]


def test_ranks_and_interference_of_cosines_by_hand():
    assert curvature.interference(torch.tensor([[1.0, 0.5], [0.5, 1.0]])).item() == 0.5
    assert curvature.interference(torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.5], [0.0, 0.5, 1.0]])).item() == pytest.approx(-1 / 6)
    assert curvature.interference(torch.ones(1, 1)).item() == 0.0
    assert curvature.gradient_rank(torch.eye(3)).item() == pytest.approx(3.0)
    shares = [0.75, 0.25]  # the eigenvalues of [[1, .5], [.5, 1]] are 1.5 and 0.5
    expected = math.exp(-sum(p * math.log(p) for p in shares))
    assert curvature.gradient_rank(torch.tensor([[1.0, 0.5], [0.5, 1.0]])).item() == pytest.approx(expected)


def test_the_rank_of_gradients_covariance_by_hand():
    # Around their mean, (1, 1, 0), they are (3, 0), (-3, 0), (0, 3) and (0, -3): two directions of equal length.
    gradients = torch.tensor([[4.0, 1.0, 0.0], [-2.0, 1.0, 0.0], [1.0, 4.0, 0.0], [1.0, -2.0, 0.0]])
    assert curvature.covariance_rank(gradients).item() == pytest.approx(2.0)
    # Eigenvalues of the covariance 18 and 2: p is 0.9 and 0.1.
    gradients = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert curvature.covariance_rank(gradients).item() == pytest.approx(0.9**-0.9 * 0.1**-0.1)
    assert curvature.covariance_rank(torch.ones(5, 3)).item() == curvature.covariance_rank(torch.ones(1, 3)).item() == 0.0


def test_readiness_by_hand():
    # Mini-batches of two have the mean gradients (2, 0), (0, 4) and (1, 2), whose mean is (1, 2); the seventh example is left over.
    rows = [[3.0, 1.0], [1.0, -1.0], [0.0, 8.0], [0.0, 0.0], [2.0, 2.0], [0.0, 2.0], [50.0, 50.0]]
    found = curvature.readiness(torch.tensor(2.0), torch.tensor(rows), size=2)
    assert found.strength.item() == pytest.approx(5 / 2) and found.reliability.item() == pytest.approx(5 / ((4 + 16 + 5) / 3))
    assert found.readiness.item() == pytest.approx(5 / 2 * 5 / ((4 + 16 + 5) / 3))
    agreeing = curvature.readiness(torch.tensor(0.5), torch.ones(8, 3))
    assert agreeing.reliability.item() == pytest.approx(1.0) and agreeing.readiness.item() == pytest.approx(6.0)
    few = curvature.readiness(torch.tensor(1.0), torch.ones(3, 2))  # fewer than a mini-batch: one of all
    assert few.reliability.item() == pytest.approx(1.0)
    for loss, gradients in ((0.0, torch.ones(8, 3)), (-1.0, torch.ones(8, 3)), (1.0, torch.zeros(8, 3))):
        assert curvature.readiness(torch.tensor(loss), gradients).readiness.item() == 0.0


def test_readiness_bounds_the_gain_of_a_step():
    """On a quadratic with curvature L, a step of 1/L along a mini-batch's gradient gains on average at least half of readiness / L when it
    is shortened to the reliability, as the proof does."""
    torch.manual_seed(0)
    points, params = torch.randn(64, 3, dtype=torch.double), torch.tensor([1.0, -2.0, 0.5], dtype=torch.double)

    def loss(params):
        return 0.5 * (params - points).square().sum(1).mean()

    gradients = params - points
    ready = curvature.readiness(loss(params), gradients)
    steps = [ready.reliability * group.mean(0) for group in gradients.split(4)]
    gain = torch.stack([loss(params) - loss(params - step) for step in steps]).mean() / loss(params)
    assert gain.item() == pytest.approx(ready.readiness.item() / 2, rel=1e-9)


def test_examples_may_be_trees():
    examples = {"inputs": INPUTS, "labels": LABELS}

    def of(params, example):
        return F.cross_entropy(apply(params, example["inputs"].unsqueeze(0)), example["labels"].unsqueeze(0))

    cosines = curvature.gradient_cosines(of, born(), examples)
    params = {name: param.requires_grad_() for name, param in born().items()}
    rows = []
    for i in range(5):
        each = F.cross_entropy(apply(params, INPUTS[i : i + 1]), LABELS[i : i + 1])
        rows.append(torch.cat([gradient.flatten() for gradient in torch.autograd.grad(each, list(params.values()))]))
    for i in range(5):
        for j in range(5):
            assert cosines[i, j].item() == pytest.approx(torch.cosine_similarity(rows[i], rows[j], dim=0).item(), abs=1e-9)
    assert cosines.diagonal().tolist() == pytest.approx([1.0] * 5)


def test_lifted_is_a_loop():
    members = [born(seed) for seed in range(3)]
    starts = [random_like(each, seed) for seed, each in enumerate(members)]
    metrics = {
        "eigenvalues": lambda params, start: curvature.hessian_eigenvalues(loss, params, start, 3, 12).values,
        "rank": lambda params, start: curvature.ntk_rank(curvature.ntk(apply, params, INPUTS)),
        "condition": lambda params, start: curvature.condition_number(curvature.ntk(apply, params, INPUTS[:3])),
        "cosines": lambda params, start: curvature.interference(
            curvature.gradient_cosines(
                lambda params, example: F.cross_entropy(apply(params, example[0].unsqueeze(0)), example[1].unsqueeze(0)),
                params,
                (INPUTS, LABELS),
            )
        ),
    }
    for name, metric in metrics.items():
        lifted = lift(metric)(stack(members), stack(starts))
        for one, params, start in zip(lifted, members, starts, strict=True):
            torch.testing.assert_close(one, metric(params, start), rtol=1e-7, atol=1e-10, msg=name)
