"""SOAP beside the paper's algorithm for a matrix, written out, and by its symmetries.

Gradients have as many rows as columns: a product that is not of full rank has no unique eigenvectors, and two readings may differ there.
"""

import pytest
import torch
from torch import Tensor

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import ContinualBackprop, LayerNorm, ReDo, Reset, ShrinkAndPerturb, assemble
from plasticity_rl.interventions.chain import uniform_age
from plasticity_rl.optim.optimizers import Net
from plasticity_rl.optim.soap import SOAP
from tests.learners import SPECS, assert_same, batches, copies, learn, loss

pytestmark = pytest.mark.usefixtures("double")
SIDE = 5


def gradients(count: int, *shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape or (SIDE, SIDE), generator=generator) for _ in range(count)]


def run(optimizer: SOAP, given: list[Tensor], rate: float = 0.1) -> list[Tensor]:
    """A weight that starts at 0, after each update."""
    params = {"w": torch.zeros_like(given[0])}
    net, weights = Net(params, optimizer.init(params)), []
    for update, gradient in enumerate(given, start=1):
        net = optimizer.update(net, {"w": gradient}, torch.tensor(rate), ())
        if optimizer.due(update):
            net = net._replace(slots=optimizer.occasional(net))
        weights.append(net.params["w"])
    return weights


def algorithm(given: list[Tensor], beta1: float, beta2: float, every: int, rate: float) -> list[Tensor]:
    """Algorithms 3 and 4 of the paper: L, R, their axes, and Adam's averages M (in the weights' space) and V (along the axes)."""
    weight, m, v = (torch.zeros_like(given[0]) for _ in range(3))
    left, right = ((1 - beta2) * each for each in (given[0] @ given[0].T, given[0].T @ given[0]))
    left_axes, right_axes = (torch.linalg.eigh(each)[1].flip(1) for each in (left, right))
    weights = [weight]
    for t, g in enumerate(given[1:], start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * (left_axes.T @ g @ right_axes) ** 2
        n = (left_axes.T @ m @ right_axes) / (v.sqrt() + 1e-8) * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
        weight = weight - rate * left_axes @ n @ right_axes.T
        weights.append(weight)
        left, right = beta2 * left + (1 - beta2) * g @ g.T, beta2 * right + (1 - beta2) * g.T @ g
        if t % every == 0:
            left_order, right_order = (
                (axes.T @ product @ axes).diagonal().argsort(descending=True) for axes, product in ((left_axes, left), (right_axes, right))
            )
            v = v[left_order][:, right_order]
            left_axes = torch.linalg.qr(left @ left_axes[:, left_order])[0]
            right_axes = torch.linalg.qr(right @ right_axes[:, right_order])[0]
    return weights


@pytest.mark.parametrize("every", [1, 3])
def test_a_matrix_is_moved_as_by_the_algorithm(every: int) -> None:
    given = gradients(20)
    ours, theirs = run(SOAP(beta1=0.8, beta2=0.9, every=every), given), algorithm(given, 0.8, 0.9, every, 0.1)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-7, atol=1e-9)
    assert not ours[0].any() and ours[1].all()


def test_steps_turn_with_the_gradients() -> None:
    """With gradients U G V^T in place of G, all weights are U W V^T; Adam's are not."""
    given = gradients(15)
    u, v = (torch.linalg.qr(each)[0] for each in gradients(2))
    turned = run(SOAP(every=4), [u @ gradient @ v.T for gradient in given])
    for mine, other in zip(run(SOAP(every=4), given), turned, strict=True):
        torch.testing.assert_close(u @ mine @ v.T, other, rtol=1e-6, atol=1e-8)
    adam = [run(SOAP(largest=1), each)[-1] for each in (given, [u @ gradient @ v.T for gradient in given])]
    assert not torch.allclose(u @ adam[0] @ v.T, adam[1], atol=0.1)


def test_dimensions_of_length_one_do_not_count_and_longer_ones_have_their_own_axes() -> None:
    given = gradients(8)
    images = run(SOAP(every=2), [gradient[:, :, None, None] for gradient in given])
    torch.testing.assert_close(images[-1][:, :, 0, 0], run(SOAP(every=2), given)[-1], rtol=1e-12, atol=0)
    optimizer, (gradient,) = SOAP(beta2=0.0), gradients(1, 2, 3, 4)
    net = Net({"w": gradient}, optimizer.init({"w": gradient}))
    net = optimizer.update(net, {"w": gradient}, torch.tensor(0.1), ())
    expected = [torch.einsum(f"{one},{other}->{pair}", gradient, gradient) for one, other, pair in PRODUCTS]
    torch.testing.assert_close(net.slots["products"]["w"], torch.cat([each.flatten() for each in expected]), rtol=1e-12, atol=1e-12)
    axes = optimizer._axes("w", optimizer.occasional(net))
    for product, each in zip(expected, axes, strict=True):
        along = each.T @ product @ each
        torch.testing.assert_close(along, along.diagonal().diag(), rtol=0, atol=1e-10)
        assert (along.diagonal().diff() < 1e-10).all()
        torch.testing.assert_close(each.T @ each, torch.eye(len(each)), rtol=0, atol=1e-12)


PRODUCTS = (("ijk", "ajk", "ia"), ("ijk", "iak", "ja"), ("ijk", "ija", "ka"))


def test_one_dimension_is_adams_after_the_first_gradient() -> None:
    """torch's Adam on all gradients but the first, in double precision, where the place of epsilon does not show."""
    given = [gradient[0] for gradient in gradients(6)]
    weight = torch.nn.Parameter(torch.zeros(SIDE))
    adam = torch.optim.Adam([weight], lr=0.1, betas=(0.95, 0.95), eps=1e-30)
    for mine, gradient in zip(run(SOAP(epsilon=1e-30), given)[1:], given[1:], strict=True):
        weight.grad = gradient
        adam.step()
        torch.testing.assert_close(mine, weight.data, rtol=1e-12, atol=0)


@pytest.mark.parametrize("members", [1, 3])
def test_a_learner_turns_the_axes_of_each_member_when_due(members: int) -> None:
    optimizer = SOAP(every=3, largest=5, epsilon=1e-3)  # the gradients of logits sum to 0, which epsilon keeps from being divided by 0
    learner = learn((), "mlp", members, optimizer=optimizer)
    ones = [Net({n: p.clone() for n, p in learner.one(m).items()}, {}) for m in range(members)]
    ones = [net._replace(slots=optimizer.init(net.params)) for net in ones]
    rows = []
    for count, batch in enumerate(batches("mlp", members, 8), start=1):
        rows.append(learner.ahead)
        learner.update(0.05, batch)
        for m, net in enumerate(ones):
            leaves = {name: param.clone().requires_grad_() for name, param in net.params.items()}
            value = loss(learner.network, leaves, {name: tensor[m] for name, tensor in batch.items()})[0]
            grads = dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))
            ones[m] = optimizer.update(net, grads, torch.tensor(0.05), learner.network.layers)
            if count in (1, 4, 7):
                ones[m] = ones[m]._replace(slots=optimizer.occasional(ones[m]))
            torch.testing.assert_close(learner.one(m), ones[m].params, rtol=1e-6, atol=1e-9)
    assert rows == [1, 3, 2, 1, 3, 2, 1, 3]


def test_updates_in_a_row_and_a_resumed_run_are_the_run() -> None:
    chain = (Reset(clock="update", every=6, part="optimizer"), LayerNorm())
    straight, rows, resumed = (learn(chain, "mlp", 2, optimizer=SOAP(every=4)) for _ in range(3))
    data = batches("mlp", 2, 14)
    for batch in data[:3]:
        straight.update(0.05, batch)
    saved, ticks = {name: tensor.clone() for name, tensor in straight.tensors().items()}, dict(straight.ticks)
    resumed.load(saved, ticks)
    for batch in data[3:]:
        straight.update(0.05, batch)
        resumed.update(0.05, batch)
    done = 0
    while done < len(data):
        count = min(rows.ahead, len(data) - done)
        rows.updates([0.05] * count, data[done : done + count])
        done += count
    assert_same(copies(straight), copies(resumed))
    assert_same(copies(straight), copies(rows))


def test_a_tensor_that_is_reset_starts_again_and_turns_when_next_due() -> None:
    learner = learn((Reset(clock="task", part="optimizer"),), "mlp", 2, optimizer=SOAP(every=3, largest=5))
    data = batches("mlp", 2, 8)
    for batch in data[:5]:
        learner.update(0.05, batch)
    learner.task_boundary()
    assert not any(tensor.any() for state in learner.net.slots.values() for tensor in state.values())
    before = {name: param.clone() for name, param in learner.net.params.items()}
    learner.update(0.05, data[5])
    assert_same(before, learner.net.params)  # the first gradient
    turned = learner.net.slots["turned"]
    assert not any(each.any() for each in turned.values())
    learner.update(0.05, data[6])  # the seventh, after which all turn
    assert all(each.all() for each in turned.values())
    assert not any(each.any() for each in learner.net.slots["square"].values())  # measured along other axes
    learner.update(0.05, data[7])
    assert all(param.isfinite().all() for param in learner.net.params.values())


@pytest.mark.parametrize("method", [ReDo(), ContinualBackprop()])
def test_methods_that_reset_single_weights_are_refused(method: ReDo | ContinualBackprop) -> None:
    spec, inputs, ends = SPECS["mlp"]
    name = type(method).__name__
    message = f"{name} may reset the optimizer state of single weights, and that of SOAP belongs to whole tensors: take adam, "
    with pytest.raises(UsageError) as raised:
        assemble(spec, SOAP(), (LayerNorm(), method), inputs, ends)
    assert str(raised.value) == message + "or another optimizer"
    chain = (LayerNorm(), Reset(), ShrinkAndPerturb())
    assert uniform_age(chain)
    assemble(spec, SOAP(), chain, inputs, ends)


def test_a_gradient_that_is_not_finite_ends_in_weights_that_are_not() -> None:
    (gradient,) = gradients(1)
    for broken in (torch.nan, torch.inf):
        weights = run(SOAP(), [gradient, gradient.index_fill(0, torch.tensor([1]), broken), gradient, *gradients(9)])
        assert not weights[-1].isfinite().any()
