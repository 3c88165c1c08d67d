"""Spectral and Parseval regularisation beside torch's singular values and loops over rows."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import Parseval, Spectral
from plasticity_rl.optim.optimizers import SGD, Net
from tests.learners import RATE, batches, built, generator, learn, random_net, seen

pytestmark = pytest.mark.usefixtures("double")


def converged(method: Spectral, net: Net, state, layers, network):
    for _ in range(3000 // method.iterations):
        state = method.after_step(net, state, {}, layers, seen(network))[1]
    return state


def spectral_by_hand(params, exponent):
    """Identifies parameters by name: a test may know the layer graph."""
    total = torch.zeros(())
    for name, param in params.items():
        part = name.rpartition(".")[2]
        if part == "weight":
            total = total + (torch.linalg.svdvals(param.reshape(len(param), -1))[0] ** exponent - 1) ** 2
        elif part in ("bias", "offset"):
            total = total + (torch.linalg.vector_norm(param) ** exponent) ** 2
        elif part == "scale":
            total = total + sum((element - 1) ** 2 for element in param)
    return total


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize(("exponent", "iterations"), [(2.0, 1), (1.0, 5), (3.0, 3)])
@pytest.mark.parametrize("kind", ["mlp", "residual", "noisy"])
def test_spectral_is_the_papers_formula_with_torchs_singular_values(kind, exponent, iterations, norm):
    method, network = Spectral(strength=0.3, exponent=exponent, iterations=iterations), built(kind, norm=norm)
    net = random_net(network)
    state = converged(method, net, method.init(net.params, network.layers, generator()), network.layers, network)
    params = {name: param.clone().requires_grad_() for name, param in net.params.items()}
    penalty = method.penalty(params, state, network.layers, seen(network))
    expected = 0.3 * spectral_by_hand(params, exponent)
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-8)
    leaves = list(params.values())
    ours, theirs = (torch.autograd.grad(value, leaves, allow_unused=True) for value in (penalty, expected))
    for name, one, other in zip(params, ours, theirs, strict=True):
        if name.endswith("_noise"):
            assert one is other is None, name
        else:
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6, msg=name)


def test_power_iteration_is_one_product_and_its_transpose_an_update():
    method, network = Spectral(iterations=2), built("mlp")
    net, other = random_net(network), random_net(network, 7)
    state = method.init(net.params, network.layers, generator())
    _, after = method.after_step(other, state, {}, network.layers, seen(network))
    for name, vector in state.items():
        rows = other.params[name].tolist()
        now = vector.tolist()
        for _ in range(2):
            image = [sum(w * v for w, v in zip(row, now, strict=True)) for row in rows]
            back = [sum(row[column] * i for row, i in zip(rows, image, strict=True)) for column in range(len(now))]
            now = [b / sum(x * x for x in back) ** 0.5 for b in back]
        assert after[name].tolist() == pytest.approx(now, rel=1e-9)


@pytest.mark.parametrize("kind", ["mlp", "convolutions", "noisy"])
def test_at_birth_the_gradient_is_that_of_torchs_singular_value(kind):
    method, network = Spectral(strength=1.0), built(kind)
    params = {name: param.double().requires_grad_() for name, param in network.init(generator()).items()}
    state = method.init({name: param.detach() for name, param in params.items()}, network.layers, generator(1))
    weights = [params[layer.weight] for layer in network.layers]
    ours = torch.autograd.grad(method.penalty(params, state, network.layers, seen(network)), weights)
    theirs = torch.autograd.grad(spectral_by_hand(params, 2.0), weights)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_the_estimate_is_good_at_birth_and_follows_the_weights():
    learner = learn((Spectral(strength=0.1),), "mlp", 2, optimizer=SGD())
    estimates = []
    for batch in [None, *batches("mlp", 2, 20)]:
        if batch is not None:
            learner.update(RATE, batch)
        for m in range(2):
            for name, vector in learner.states[0].items():
                weight = learner.one(m)[name]
                assert vector[m].norm().item() == pytest.approx(1)
                estimates.append((weight @ vector[m]).norm().item() / torch.linalg.svdvals(weight)[0].item())
    assert min(estimates) > 0.99 and max(estimates) <= 1 + 1e-12


def test_members_start_from_vectors_of_their_own():
    learner = learn((Spectral(),), "mlp", 2)
    assert all(not torch.equal(vector[0], vector[1]) for vector in learner.states[0].values())


def test_a_weight_of_zeros_keeps_its_vector_and_stays_finite():
    method, network = Spectral(), built("mlp")
    net = random_net(network)
    state = method.init(net.params, network.layers, generator())
    zero = net._replace(params={name: torch.zeros_like(param, requires_grad=True) for name, param in net.params.items()})
    _, after = method.after_step(zero, state, {}, network.layers, seen(network))
    for name in state:
        assert torch.equal(after[name], state[name])
    penalty = method.penalty(zero.params, state, network.layers, seen(network))
    assert penalty.item() == pytest.approx(4 * 1e-4)
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(penalty, list(zero.params.values())))


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("kind", ["mlp", "residual", "noisy"])
def test_parseval_is_the_distance_from_orthogonal_rows_or_columns(kind, scale):
    network = built(kind)
    params = random_net(network).params
    heads = {"noisy": ("value", "advantage")}.get(kind, ("head",))
    total, turned = 0.0, 0
    for name, param in params.items():
        layer, _, part = name.rpartition(".")
        if part == "weight" and layer not in heads:
            rows = param.reshape(len(param), -1)
            if rows.shape[0] > rows.shape[1]:
                rows, turned = rows.T, turned + 1
            rows = rows.tolist()
            for i, one in enumerate(rows):
                for j, other in enumerate(rows):
                    total += (sum(a * b for a, b in zip(one, other, strict=True)) - scale * (i == j)) ** 2
    penalty = Parseval(strength=0.3, scale=scale).penalty(params, {}, network.layers, seen(network))
    assert penalty.item() == pytest.approx(0.3 * total, rel=1e-9)
    assert turned == {"mlp": 1, "residual": 0, "noisy": 1}[kind]


@pytest.mark.parametrize("kind", ["mlp", "residual", "noisy"])
def test_the_gradient_of_parseval_is_that_of_rows_whatever_the_shape(kind):
    """For more rows than columns, |W W^T - s I|^2 and |W^T W - s I|^2 differ by s^2 times the surplus of rows."""
    network = built(kind)
    params = {name: param.clone().requires_grad_() for name, param in random_net(network).params.items()}
    hidden = [name for name in params if name.endswith(".weight") and not name.startswith(("head.", "value.", "advantage."))]
    matrices = [params[name].reshape(len(params[name]), -1) for name in hidden]
    plain = torch.stack([(w @ w.T - 1.5 * torch.eye(len(w))).square().sum() for w in matrices]).sum()
    penalty = Parseval(strength=0.3, scale=1.5).penalty(params, {}, network.layers, seen(network))
    too_many = sum(max(w.shape[0] - w.shape[1], 0) for w in matrices)
    assert penalty.item() == pytest.approx(0.3 * (plain.item() - 1.5**2 * too_many), rel=1e-9) and (too_many > 0) == (kind != "residual")
    ours, theirs = (torch.autograd.grad(value, list(params.values()), allow_unused=True) for value in (penalty, 0.3 * plain))
    for name, one, other in zip(params, ours, theirs, strict=True):
        if name in hidden:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12, msg=name)
        else:
            assert one is other is None, name


def test_parsevals_default_is_at_rest_on_orthogonal_initial_weights():
    network = built("mlp", initial="orthogonal")
    penalty = Parseval().penalty(network.init(generator()), {}, network.layers, seen(network))
    assert penalty.item() == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 3, 2, 2)])
def test_orthogonal_weights_of_the_right_length_cost_nothing(shape):
    network = built("mlp")
    start = {name: torch.zeros_like(param) for name, param in network.init(generator()).items()}
    layers = network.layers[:1]
    weight = torch.nn.init.orthogonal_(torch.empty(shape), gain=2**0.5, generator=generator())
    penalty = Parseval(strength=1.0, scale=2.0).penalty(start | {layers[0].weight: weight}, {}, layers, seen(network))
    assert penalty.item() == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize(
    ("method", "fields", "message"),
    [
        (Spectral, {"strength": 0.0}, "strength must lie in (0, inf), not 0.0"),
        (Spectral, {"exponent": 0.5}, "exponent must lie in [1, inf), not 0.5"),
        (Spectral, {"iterations": 0}, "iterations must lie in [1, 1000], not 0"),
        (Spectral, {"iterations": 1.5}, "iterations must be a whole number, not 1.5"),
        (Parseval, {"strength": -1.0}, "strength must lie in (0, inf), not -1.0"),
        (Parseval, {"scale": 0.0}, "scale must lie in (0, inf), not 0.0"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(method, fields, message):
    with pytest.raises(UsageError) as raised:
        method(**fields)
    assert str(raised.value) == f"{method.__name__}: {message}"
