"""TRAC beside a plain reading of the authors' package, around torch's optimizers."""

import pytest
import scipy.special
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import TRAC, ShrinkAndPerturb
from plasticity_rl.interventions.base import RefreshContext
from plasticity_rl.interventions.trac import erfi
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import SGD, Adam, Net, Optimizer
from tests.learners import generator, seen

pytestmark = pytest.mark.usefixtures("double")

NETWORK = Network(MLP(width=6, depth=1, activation="tanh"), (3,), 1)
INPUTS = torch.randn(16, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def gradients(params: dict[str, torch.Tensor], turn: float = 1.0) -> dict[str, torch.Tensor]:
    """Gradients of the loss of a small regression, whose targets `turn` scales."""
    leaves = {name: param.detach().clone().requires_grad_() for name, param in params.items()}
    outputs = NETWORK.apply(leaves, INPUTS)[0]
    (outputs[:, 0] - turn * torch.sin(3 * INPUTS[:, 0])).square().mean().backward()
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}


def by_package(optimizer: type[torch.optim.Optimizer], rate: float, initial: float, targets: list[float]) -> list[dict[str, torch.Tensor]]:
    """Weights after every update: the way from the reference is found from the weights, as the package does."""
    weights = {name: torch.nn.Parameter(param) for name, param in NETWORK.init(generator()).items()}
    reference = {name: weight.detach().clone() for name, weight in weights.items()}
    base = optimizer(list(weights.values()), lr=rate)  # type: ignore[call-arg]
    betas, total, epsilon = [0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999], 0.0, 1e-8
    variance, sigma, found = [0.0] * 6, [1e-8] * 6, []
    for turn in targets:
        grads = gradients(dict(weights), turn)
        for name, weight in weights.items():
            weight.grad = grads[name]
        start = {name: weight.detach().clone() for name, weight in weights.items()}
        base.step()
        way = {name: (start[name] - reference[name]) / (total + epsilon) for name in weights}
        h = sum((way[name] * grads[name]).sum().item() for name in weights)
        variance = [beta**2 * v + h * h for beta, v in zip(betas, variance, strict=True)]
        sigma = [beta * s - h for beta, s in zip(betas, sigma, strict=True)]
        each = [scipy.special.erfi(s / (2**0.5 * v**0.5 + epsilon)) for s, v in zip(sigma, variance, strict=True)]
        total = initial / scipy.special.erfi(0.5**0.5) * sum(each)
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(reference[name] + max(total, 0.0) * (way[name] + weight - start[name]))
        found.append({name: weight.detach().clone() for name, weight in weights.items()})
    return found


def by_method(method: TRAC, optimizer: Optimizer, rate: float, targets: list[float]) -> tuple[list[dict[str, torch.Tensor]], list[float]]:
    params = NETWORK.init(generator())
    net, state = Net(params, optimizer.init(params)), method.init(params, NETWORK.layers, generator())
    found, scales = [], []
    for turn in targets:
        grads = gradients(net.params, turn)
        net = optimizer.update(net, grads, torch.tensor(rate), NETWORK.layers)
        net, state = method.after_step(net, state, grads, NETWORK.layers, seen(NETWORK))
        params, state = method.project(net.params, state, NETWORK.layers)
        net = net._replace(params=params)
        found.append(params)
        scales.append(state["scale"].item())
    return found, scales


@pytest.mark.parametrize(
    ("initial", "tolerance"),
    [(0.03, 1e-8), (1e-8, 1e-3)],  # the package divides differences of rounded weights by the scale, which is tiny at first
)
@pytest.mark.parametrize(
    ("ours", "theirs", "rate"), [(Adam(), torch.optim.Adam, 1e-2), (SGD(), torch.optim.SGD, 0.05)], ids=["adam", "sgd"]
)
def test_weights_are_those_of_the_package(
    ours: Optimizer, theirs: type[torch.optim.Optimizer], rate: float, initial: float, tolerance: float
) -> None:
    targets = [1.0] * 40 + [-3.0] * 20  # the scale falls after the change
    expected, (found, scales) = by_package(theirs, rate, initial, targets), by_method(TRAC(initial=initial), ours, rate, targets)
    for one, other in zip(found, expected, strict=True):
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=tolerance, atol=tolerance)
    assert initial > 0.01 or max(scales) > 1e3 * scales[0]
    assert initial < 0.01 or min(scales) < 0.9 * max(scales)


def test_the_scale_opens_only_where_the_way_pays() -> None:
    _, scales = by_method(TRAC(), Adam(), 1e-2, [1.0] * 400)
    assert scales[0] < 1e-6 and 0.05 < max(scales) < 5


def test_erfi_is_scipys() -> None:
    x = torch.linspace(-9, 9, 301)
    torch.testing.assert_close(erfi(x), torch.from_numpy(scipy.special.erfi(x.numpy())), rtol=1e-11, atol=1e-14)
    assert erfi(torch.zeros(2)).tolist() == [0.0, 0.0]


def test_other_methods_move_the_reference() -> None:
    method, params = TRAC(initial=0.3), NETWORK.init(generator())
    net, state = Net(params, SGD().init(params)), method.init(params, NETWORK.layers, generator())
    for _ in range(5):
        grads = gradients(net.params)
        net, state = method.after_step(
            SGD().update(net, grads, torch.tensor(0.1), NETWORK.layers), state, grads, NETWORK.layers, seen(NETWORK)
        )
        params, state = method.project(net.params, state, NETWORK.layers)
        net = net._replace(params=params)
    way = {name: param - NETWORK.init(generator())[name] for name, param in net.params.items()}
    moved, _ = ShrinkAndPerturb().refresh(net, {}, RefreshContext(NETWORK.init(generator(1)), {}), NETWORK.layers)
    _, after = method.project(moved.params, state, NETWORK.layers)
    assert all(torch.equal(after[f"delta/{name}"], state[f"delta/{name}"]) for name in way)
    zeros = {name: torch.zeros_like(param) for name, param in net.params.items()}
    still, started = method.after_step(moved, after, zeros, NETWORK.layers, seen(NETWORK))  # no gradient and no step: the scale alone moves
    ratio = started["scale"] / state["scale"]
    assert 0.5 < ratio.item() < 1
    shrunk = state["scale"] / (state["scale"] + 1e-8)
    for name, param in still.params.items():
        torch.testing.assert_close(param - moved.params[name], (ratio * shrunk - 1) * way[name], rtol=1e-9, atol=1e-12)


def test_settings_that_are_wrong_are_named() -> None:
    with pytest.raises(UsageError, match=r"TRAC: betas must be one or more numbers in \[0, 1\], not \(\)"):
        TRAC(betas=())
    with pytest.raises(UsageError, match="betas"):
        TRAC(betas=(0.9, 1.1))
