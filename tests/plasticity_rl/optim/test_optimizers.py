"""Optimizers: torch's where they can be equal, hand computation elsewhere."""

import dataclasses
from itertools import pairwise

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions.recycling import overwrite
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.noise import key, normals
from plasticity_rl.optim.adamo import AdamO
from plasticity_rl.optim.kron import Kron
from plasticity_rl.optim.lion import Lion
from plasticity_rl.optim.optimizers import LAMB, LARS, SGD, UPGD, Adam, Muon, Net, Optimizer, RAdam, RMSprop
from plasticity_rl.optim.schedule_free import ScheduleFree
from plasticity_rl.optim.soap import SOAP
from plasticity_rl.seeds import derive
from plasticity_rl.training.lift import lift, stack
from tests.learners import batches, learn, loss

STEPS = 20
ALONE = [
    SGD(),
    SGD(momentum=0.9),
    SGD(clip_norm=0.5),
    RMSprop(),
    RMSprop(corrected=False),
    RMSprop(centered=True),
    Adam(),
    Adam(weight_decay=0.1),
    RAdam(),
    RAdam(weight_decay=0.1, beta2=0.9),
    Lion(weight_decay=0.1),
    ScheduleFree(weight_decay=0.1),
]
TOGETHER = [
    LARS(weight_decay=0.1),
    LAMB(),
    LAMB(weight_decay=0.1, decayed="all"),
    Muon(),
    Muon(scale="spectral"),
    UPGD(sigma=0.5),
    AdamO(),
    SOAP(every=2, largest=5, epsilon=1e-3),
    Kron(weight_decay=0.1),
]
EVERY = ALONE + TOGETHER
"""optimizers that update each weight alone, and those that couple weights"""
BY_WEIGHT = [each for each in EVERY if not each.per_tensor]
NETWORK = Network(MLP(width=3, depth=1, norm="layer"), (4,), 2)
SHAPES = NETWORK.shapes


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def draws(seed: int, count: int = 1) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [{name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()} for _ in range(count)]


def born(optimizer: Optimizer, seed: int = 0) -> Net:
    (params,) = draws(seed)
    return Net(params, optimizer.init(params))


def train(optimizer: Optimizer, net: Net, gradients: list[dict[str, torch.Tensor]], rate: float) -> Net:
    """Draw noise once, if needed, and use it at every step."""
    noise = draws(77)[0] if optimizer.noisy else {}
    for grads in gradients:
        net = optimizer.update(net, grads, torch.tensor(rate), NETWORK.layers, noise)
    return net


def alone(value: float, optimizer: Optimizer, gradients: list[float], rate: float = 0.1) -> list[float]:
    """A single weight's values, update by update."""
    net = Net({"w": torch.tensor(value)}, optimizer.init({"w": torch.tensor(value)}))
    values = []
    for gradient in gradients:
        net = optimizer.update(net, {"w": torch.tensor(gradient)}, torch.tensor(rate), ())
        values.append(net.params["w"].item())
    return values


@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (SGD(), lambda params: torch.optim.SGD(params, lr=0.03)),
        (SGD(momentum=0.9), lambda params: torch.optim.SGD(params, lr=0.03, momentum=0.9)),
        (RMSprop(corrected=False), lambda params: torch.optim.RMSprop(params, lr=0.03)),
        (
            RMSprop(decay=0.95, epsilon=1e-2, corrected=False, centered=True),
            lambda params: torch.optim.RMSprop(params, lr=0.03, alpha=0.95, eps=1e-2, centered=True),
        ),
        (Adam(), lambda params: torch.optim.Adam(params, lr=0.03)),
        (Adam(beta1=0.5, beta2=0.9, epsilon=1e-3), lambda params: torch.optim.Adam(params, lr=0.03, betas=(0.5, 0.9), eps=1e-3)),
        (Adam(weight_decay=0.1, decayed="all"), lambda params: torch.optim.AdamW(params, lr=0.03, weight_decay=0.1)),
        (RAdam(), lambda params: torch.optim.RAdam(params, lr=0.03)),
        (RAdam(beta1=0.5, beta2=0.9, epsilon=1e-3), lambda params: torch.optim.RAdam(params, lr=0.03, betas=(0.5, 0.9), eps=1e-3)),
        (RAdam(beta1=0.0, beta2=0.0), lambda params: torch.optim.RAdam(params, lr=0.03, betas=(0.0, 0.0))),
        (
            RAdam(weight_decay=0.1, decayed="all"),
            lambda params: torch.optim.RAdam(params, lr=0.03, weight_decay=0.1, decoupled_weight_decay=True),
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, Optimizer) else "torch",
)
def test_a_hundred_and_twenty_steps_are_those_of_torch(ours, torchs):
    net = born(ours)
    theirs = {name: torch.nn.Parameter(param.clone()) for name, param in net.params.items()}
    optimizer = torchs(list(theirs.values()))
    for grads in draws(1, 6 * STEPS):
        net = train(ours, net, [grads], 0.03)
        for name, grad in grads.items():
            theirs[name].grad = grad
        optimizer.step()
        for name, param in net.params.items():
            torch.testing.assert_close(param, theirs[name].data, rtol=1e-12, atol=1e-12)


def test_rectified_steps_by_hand():
    # With beta2 = 0.8 the longest average is 2 / 0.2 - 1 = 9, and after t updates 9 - 2 t 0.8^t / (1 - 0.8^t): 1, 1.88, ... 4.90 at the
    # sixth, the first above 5 at the seventh. Until then a step is the corrected mean, 1; then it is rectified and divided by 1.
    lengths = [9 - 2 * t * 0.8**t / (1 - 0.8**t) for t in range(1, 9)]
    first = next(t for t, length in enumerate(lengths, start=1) if length > 5)
    rectified = [((n - 4) * (n - 2) * 9 / ((9 - 4) * (9 - 2) * n)) ** 0.5 for n in lengths[first - 1 :]]
    steps = [2.0] * (first - 1) + rectified  # divided by their root mean square, gradients of 2 are 1
    values = alone(0.0, RAdam(beta2=0.8, epsilon=1e-30), [2.0] * 8, rate=1.0)
    assert [before - after for before, after in pairwise([0.0, *values])] == pytest.approx(steps, rel=1e-12)
    assert first == 7


def test_rectified_steps_in_single_precision_are_those_in_double():
    gradients = [torch.randn((), generator=torch.Generator().manual_seed(seed)).item() for seed in range(30)]
    exact = alone(0.0, RAdam(), gradients)
    torch.set_default_dtype(torch.float32)
    assert alone(0.0, RAdam(), gradients) == pytest.approx(exact, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("limit", [0.5, 2.0, 100.0])
def test_a_gradient_is_clipped_as_by_torch(limit):
    optimizer = SGD(clip_norm=limit)
    for grads in draws(1, 5):
        theirs = {name: torch.nn.Parameter(torch.zeros(shape)) for name, shape in SHAPES.items()}
        for name, grad in grads.items():
            theirs[name].grad = grad.clone()
        length = torch.nn.utils.clip_grad_norm_(theirs.values(), limit).item()
        assert length == pytest.approx(sum(g**2 for grad in grads.values() for g in grad.flatten().tolist()) ** 0.5)
        assert (length > limit) == (limit < 100)
        clipped = {name: param.grad for name, param in theirs.items() if param.grad is not None}
        before = born(optimizer)
        after = train(optimizer, before, [grads], 0.1)
        for name, param in before.params.items():
            torch.testing.assert_close(after.params[name], param - 0.1 * clipped[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", [SGD, RMSprop, Adam, RAdam, LARS, LAMB, Muon, UPGD, Lion, AdamO, ScheduleFree, SOAP, Kron])
def test_a_gradient_below_the_limit_is_left_alone(kind):
    clipped, free = kind(clip_norm=100.0, weight_decay=0.1), kind(weight_decay=0.1)
    gradients = draws(1, 5)
    nets = [train(optimizer, born(optimizer), gradients, 0.1) for optimizer in (clipped, free)]
    for name in SHAPES:
        assert torch.equal(nets[0].params[name], nets[1].params[name])


def test_decay_comes_after_clipping_and_memory_is_of_clipped_gradients():
    # A gradient (3, 4) of length 5 becomes (0.6, 0.8); its decay of 0.5 x weight is added afterwards.
    params = {"hidden0.weight": torch.tensor([2.0]), "head.weight": torch.tensor([4.0])}
    optimizer = SGD(clip_norm=1.0, weight_decay=0.5, momentum=0.9)
    net = optimizer.update(
        Net(params, optimizer.init(params)),
        {"hidden0.weight": torch.tensor([3.0]), "head.weight": torch.tensor([4.0])},
        torch.tensor(0.1),
        NETWORK.layers,
    )
    assert [optimizer_state.item() for optimizer_state in net.slots["velocity"].values()] == pytest.approx([0.6, 0.8], rel=1e-6)
    assert [param.item() for param in net.params.values()] == pytest.approx([2 - 0.1 * (0.6 + 1), 4 - 0.1 * (0.8 + 2)], rel=1e-6)


def test_by_default_weight_tensors_alone_decay():
    still = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    before = born(SGD(weight_decay=0.5))
    after = train(SGD(weight_decay=0.5), before, [still], 0.1).params
    assert set(SHAPES) == {"hidden0.weight", "hidden0.scale", "hidden0.offset", "head.weight", "head.bias"}
    for name, param in before.params.items():
        torch.testing.assert_close(after[name], param * (0.95 if name.endswith("weight") else 1.0), rtol=1e-15, atol=0)


def test_decay_does_not_pass_through_the_moments():
    # Coupled decay (L2) would be divided by its own root mean square: a first step of 0.1 instead of 0.1 * 0.5 * 4.
    net = Net({"hidden0.weight": torch.tensor(4.0)}, {})
    net = net._replace(slots=Adam().init(net.params))
    for decayed in ("weights", "all"):
        optimizer = Adam(weight_decay=0.5, decayed=decayed)
        after = optimizer.update(net, {"hidden0.weight": torch.tensor(0.0)}, torch.tensor(0.1), NETWORK.layers)
        assert after.params["hidden0.weight"].item() == pytest.approx(3.8, rel=1e-15)
        assert not after.slots["mean"]["hidden0.weight"].any()


def test_momentum_by_hand():
    assert alone(0.0, SGD(momentum=0.5), [1.0, 1.0, -3.0]) == pytest.approx([-0.1, -0.25, -0.025], rel=1e-14)


def test_corrected_rmsprop_by_hand():
    # decay 1/2: squares 1/2, 9/4; seen 1/2, 3/4; so the steps are 1 / 1 and 2 / sqrt(3).
    optimizer = RMSprop(decay=0.5, epsilon=1e-30)
    assert alone(0.0, optimizer, [1.0, 2.0]) == pytest.approx([-0.1, -0.1 - 0.2 / 3**0.5], rel=1e-14)


def test_corrected_centered_rmsprop_by_hand():
    # decay 1/2: squares 1, 3 once corrected; means 1/2, 5/4; so the steps are 1 / sqrt(3/4) and 2 / sqrt(3 - 25/16).
    optimizer = RMSprop(decay=0.5, epsilon=1e-30, centered=True)
    steps = 1 / 0.75**0.5, 2 / (3 - 25 / 16) ** 0.5
    assert alone(0.0, optimizer, [1.0, 2.0]) == pytest.approx([-0.1 * steps[0], -0.1 * sum(steps)], rel=1e-14)


def test_the_first_step_of_adam_is_one_learning_rate_whatever_the_gradient():
    for gradient in (1e-3, 1.0, -1e3):
        assert alone(0.0, Adam(), [gradient]) == pytest.approx([-0.1 if gradient > 0 else 0.1], rel=1e-4)


@pytest.mark.parametrize("optimizer", EVERY, ids=str)
def test_each_member_has_its_own_learning_rate(optimizer):
    members = [born(optimizer, seed) for seed in range(3)]
    rates = [0.1, 0.0, 1e-3]
    noise = draws(77)[0] if optimizer.noisy else {}
    lifted, update = stack(members), lift(lambda net, grads, rate: optimizer.update(net, grads, rate, NETWORK.layers, noise))
    gradients = [draws(seed, STEPS) for seed in (5, 6, 7)]
    for step in range(STEPS):
        lifted = update(lifted, stack([each[step] for each in gradients]), torch.tensor(rates))
    for member, (net, rate) in enumerate(zip(members, rates, strict=True)):
        after = train(optimizer, net, gradients[member], rate)
        torch.testing.assert_close({name: param[member] for name, param in lifted.params.items()}, after.params, rtol=1e-12, atol=1e-12)
        for slot, optimizer_state in after.slots.items():
            torch.testing.assert_close({n: m[member] for n, m in lifted.slots[slot].items()}, optimizer_state, rtol=1e-12, atol=1e-12)
        assert rate or all(torch.equal(param, net.params[name]) for name, param in after.params.items())


@pytest.mark.parametrize("optimizer", [Adam(), Adam(beta2=0.9, epsilon=1e-3), RMSprop(), LAMB(), Muon()], ids=str)
def test_newborn_and_surviving_weights_take_steps_of_one_learning_rate(optimizer):
    # With constant gradients, every step is one learning rate, and was 3.15 or 0.32 with shared counters; LAMB's is one in
    # proportion to the tensor. Muon's matrices turn as one, and RAdam's new elements warm up: both have separate tests. SGD's, LARS's and
    # UPGD's steps are as long as the gradient.
    grads = {name: torch.ones(shape) for name, shape in SHAPES.items()}
    net = train(optimizer, born(optimizer), [grads] * 1000, 1e-3)
    masks = {"head.weight": torch.zeros(2, 3, dtype=torch.bool), "head.bias": torch.tensor([False, True])}
    masks["head.weight"][1] = True
    net = overwrite(net, masks, {"head.weight": torch.full((2, 3), 7.0), "head.bias": torch.full((2,), 7.0)})
    assert (net.params["head.weight"][1] == 7).all()
    for _ in range(30):
        before, net = net, train(optimizer, net, [grads], 1e-3)
        for name, param in net.params.items():
            if isinstance(optimizer, Muon) and name == "hidden0.weight":
                continue
            relative = isinstance(optimizer, LAMB) and name.endswith("weight")
            step = 1e-3 / (1 + getattr(optimizer, "epsilon", 0)) * (before.params[name].norm() / param.numel() ** 0.5 if relative else 1)
            torch.testing.assert_close(before.params[name] - param, step * torch.ones_like(param), rtol=2e-6, atol=0)


def test_a_newborn_weight_goes_through_its_own_warm_up():
    # Constant gradients of 2: five steps of the corrected mean, 2, then rectified ones, which grow to the survivor's 1.
    optimizer = RAdam(beta2=0.9, epsilon=1e-30)
    grads = {name: torch.full(shape, 2.0) for name, shape in SHAPES.items()}
    births = [born(optimizer)]
    for _ in range(8):
        births.append(train(optimizer, births[-1], [grads], 1e-3))
    steps = [(before.params["head.bias"] - after.params["head.bias"])[0].item() for before, after in pairwise(births)]
    assert steps[:5] == pytest.approx([2e-3] * 5, rel=1e-9) and max(steps[5:]) < 0.6e-3
    net = train(optimizer, births[-1], [grads] * 200, 1e-3)
    masks = {"head.bias": torch.tensor([True, False])}
    net = overwrite(net, masks, {"head.bias": torch.zeros(2)})
    for step in steps:
        before, net = net, train(optimizer, net, [grads], 1e-3)
        taken = (before.params["head.bias"] - net.params["head.bias"]).tolist()
        assert taken == pytest.approx([step, 1e-3], rel=1e-6)


def test_a_newborn_weights_first_centered_step_is_one_learning_rate():
    optimizer = RMSprop(centered=True)
    net = train(optimizer, born(optimizer), draws(1, 1000), 1e-3)
    everywhere = {name: torch.ones(shape, dtype=torch.bool) for name, shape in SHAPES.items()}
    before = overwrite(net, everywhere, born(optimizer, 3).params)
    (grads,) = draws(2)
    after = train(optimizer, before, [grads], 1e-3)
    for name, grad in grads.items():
        torch.testing.assert_close(before.params[name] - after.params[name], 1e-3 * grad.sign(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("optimizer", ALONE, ids=str)
def test_an_overwritten_weight_starts_afresh_and_its_neighbours_do_not_notice(optimizer):
    old, newborn = train(optimizer, born(optimizer), draws(1, 100), 0.01), born(optimizer, 3)
    generator = torch.Generator().manual_seed(0)
    masks = {name: torch.rand(shape, generator=generator) < 0.5 for name, shape in SHAPES.items() if name != "head.bias"}
    later = draws(2, STEPS)
    mixed = train(optimizer, overwrite(old, masks, newborn.params), later, 0.01)
    fresh, survivor = train(optimizer, newborn, later, 0.01), train(optimizer, old, later, 0.01)
    for name in SHAPES:
        mask = masks.get(name, torch.zeros(SHAPES[name], dtype=torch.bool))
        assert torch.equal(mixed.params[name], torch.where(mask, fresh.params[name], survivor.params[name]))
        for slot in optimizer.slots:
            assert torch.equal(mixed.slots[slot][name], torch.where(mask, fresh.slots[slot][name], survivor.slots[slot][name]))


@pytest.mark.parametrize("optimizer", BY_WEIGHT, ids=str)
def test_memory_is_each_elements_own(optimizer):
    # An element's state after a step depends on no other's: a new element's is that of a new network, a survivor's goes on.
    old, newborn = train(optimizer, born(optimizer), draws(1, 100), 0.01), born(optimizer, 3)
    generator = torch.Generator().manual_seed(0)
    masks = {name: torch.rand(shape, generator=generator) < 0.5 for name, shape in SHAPES.items()}
    mixed, grads = overwrite(old, masks, newborn.params), draws(2)
    after = [train(optimizer, Net(mixed.params, slots), grads, 0.01).slots for slots in (mixed.slots, newborn.slots, old.slots)]
    for slot in optimizer.slots:
        for name, mask in masks.items():
            assert torch.equal(after[0][slot][name], torch.where(mask, after[1][slot][name], after[2][slot][name]))


@pytest.mark.parametrize("kind", ["convolutions", "residual", "noisy"])
@pytest.mark.parametrize("optimizer", TOGETHER, ids=str)
def test_on_every_kind_of_network_lifted_is_a_loop(optimizer, kind):
    learner = learn((), kind, 2, optimizer=optimizer)
    network, data = learner.network, batches(kind, 2, 3)
    ones = [Net({name: param.clone() for name, param in learner.one(m).items()}, {}) for m in range(2)]
    ones = [net._replace(slots=optimizer.init(net.params)) for net in ones]
    for count, batch in enumerate(data):
        learner.update(0.01, batch)
        for m in range(2):
            mine = {name: tensor[m] for name, tensor in batch.items()}
            leaves = {name: param.clone().requires_grad_() for name, param in ones[m].params.items()}
            grads = torch.autograd.grad(loss(network, leaves, mine)[0], list(leaves.values()))
            noise = normals(key([derive(0, m, "noise", "optimizer", count)])[0], network.shapes)
            ones[m] = optimizer.update(ones[m], dict(zip(leaves, grads, strict=True)), torch.tensor(0.01), network.layers, noise)
            if optimizer.due(count + 1):
                ones[m] = ones[m]._replace(slots=optimizer.occasional(ones[m]))
    for m in range(2):
        torch.testing.assert_close(learner.one(m), ones[m].params, rtol=1e-6, atol=1e-9)


FIRST = list({type(each): each for each in reversed(EVERY)}.values())


@pytest.mark.parametrize("optimizer", [pytest.param(each, id=str(each), marks=[pytest.mark.long] * (each not in FIRST)) for each in EVERY])
def test_an_update_is_one_graph(optimizer):
    noise = draws(77)[0] if optimizer.noisy else {}
    update = lift(lambda net, grads: optimizer.update(net, grads, torch.tensor(0.1), NETWORK.layers, noise))
    net, grads = stack([born(optimizer, seed) for seed in range(2)]), stack(draws(1, 2))
    torch.compiler.reset()
    graph = torch.compile(update, fullgraph=True, dynamic=False, backend="eager")
    torch.testing.assert_close(graph(net, grads).params, update(net, grads).params, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("optimizer", EVERY, ids=str)
def test_a_gradient_of_nothing_but_zeros_moves_no_weight_without_noise_and_no_weight_is_lost(optimizer):
    still = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    optimizer = dataclasses.replace(optimizer, weight_decay=0.0, **({"sigma": 0.0} if isinstance(optimizer, UPGD) else {}))
    optimizer = dataclasses.replace(optimizer, isometry=0.0) if isinstance(optimizer, AdamO) else optimizer
    before = born(optimizer)
    for net in (before, before._replace(params=still)):
        after = train(optimizer, net, [still] * 2, 0.1).params
        assert all(torch.equal(after[name], param) for name, param in net.params.items())
        assert all(param.isfinite().all() for param in train(optimizer, net, [still, *draws(1)], 0.1).params.values())


@pytest.mark.parametrize("optimizer", BY_WEIGHT, ids=str)
def test_its_memory_is_one_tensor_a_parameter_and_starts_at_zero(optimizer):
    net = born(optimizer)
    assert tuple(net.slots) == optimizer.slots
    for optimizer_state in net.slots.values():
        assert {name: tuple(tensor.shape) for name, tensor in optimizer_state.items()} == SHAPES
        assert not any(tensor.any() for tensor in optimizer_state.values())
    after = train(optimizer, net, draws(1), 0.1)
    unused = {("square", "hidden0.weight"), ("seen2", "hidden0.weight")} if isinstance(optimizer, Muon) else set()
    unused |= {("ahead", name) for name in SHAPES} if isinstance(optimizer, ScheduleFree) else set()  # the average of one
    for slot, optimizer_state in after.slots.items():
        assert all(tensor.any() == tensor.all() == ((slot, name) not in unused) for name, tensor in optimizer_state.items())


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (SGD, {"momentum": 1.0}, "momentum must lie in [0, 1), not 1.0"),
        (SGD, {"momentum": -0.1}, "momentum must lie in [0, 1), not -0.1"),
        (SGD, {"weight_decay": -1e-3}, "weight_decay must lie in [0, inf), not -0.001"),
        (SGD, {"weight_decay": float("nan")}, "weight_decay must be a finite number, not nan"),
        (SGD, {"decayed": "bias"}, "decayed cannot be 'bias'; one of: all, weights"),
        (RMSprop, {"decay": 1.0}, "decay must lie in [0, 1), not 1.0"),
        (RMSprop, {"epsilon": 0.0}, "epsilon must lie in (0, inf), not 0.0"),
        (RMSprop, {"centered": 1}, "centered must be a bool, not 1"),
        (SGD, {"clip_norm": 0.0}, "clip_norm must lie in (0, inf), not 0.0"),
        (RAdam, {"clip_norm": float("inf")}, "clip_norm must be a finite number, not inf"),
        (RAdam, {"beta1": 1.0}, "beta1 must lie in [0, 1), not 1.0"),
        (RAdam, {"beta2": 1.0}, "beta2 must lie in [0, 1), not 1.0"),
        (Adam, {"beta1": 1.0}, "beta1 must lie in [0, 1), not 1.0"),
        (Adam, {"beta2": -0.5}, "beta2 must lie in [0, 1), not -0.5"),
        (LARS, {"trust": 0.0}, "trust must lie in (0, inf), not 0.0"),
        (LARS, {"momentum": 1.0}, "momentum must lie in [0, 1), not 1.0"),
        (LAMB, {"epsilon": 0.0}, "epsilon must lie in (0, inf), not 0.0"),
        (LAMB, {"beta2": 1.0}, "beta2 must lie in [0, 1), not 1.0"),
        (Muon, {"momentum": 1.0}, "momentum must lie in [0, 1), not 1.0"),
        (Muon, {"iterations": 0}, "iterations must lie in [1, 100], not 0"),
        (Muon, {"scale": "adm"}, "scale cannot be 'adm'; did you mean adam?"),
        (Muon, {"nesterov": 1}, "nesterov must be a bool, not 1"),
        (UPGD, {"beta": 1.0}, "beta must lie in [0, 1), not 1.0"),
        (UPGD, {"sigma": -0.1}, "sigma must lie in [0, inf), not -0.1"),
        (Adam, {"epsilon": "small"}, "epsilon must be a finite number, not 'small'"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(kind, fields, message):
    with pytest.raises(UsageError) as raised:
        kind(**fields)
    assert str(raised.value) == f"{kind.__name__}: {message}"
    assert set(fields) <= {field.name for field in dataclasses.fields(kind)}
