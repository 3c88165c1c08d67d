"""Interventions on a plain nn.Module and torch.optim, beside the same of our own networks."""

import copy
import dataclasses
import math
import runpy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from plasticity_rl import optimizers
from plasticity_rl.attach import Plan, attach
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import word
from plasticity_rl.interventions import (
    Intervention,
    L2Init,
    LayerNorm,
    NormalizeAndProject,
    ReDo,
    Refresh,
    Reset,
    ShrinkAndPerturb,
    WeightDecay,
    assemble,
)
from plasticity_rl.interventions.base import overwrite
from plasticity_rl.learner import Learner
from plasticity_rl.networks import Layer
from plasticity_rl.wiring import trace
from tests.learners import MEMBERS, SPECS, batches, due, generator
from tests.modules import Torso

pytestmark = pytest.mark.usefixtures("double")

RATE = 0.02
STAGES = {"mlp": [("dense", 8)] * 3, "small": [("conv", 6, 3, 2), ("dense", 8)], "residual": [("block", 4), ("block", 6), ("dense", 8)]}
SPEC = {"mlp": SPECS["mlp"], "small": (SPECS["noisy"][0], SPECS["noisy"][1], 3), "residual": SPECS["residual"]}
OPTIMIZERS = {
    "sgd": (lambda p: torch.optim.SGD(p, RATE, momentum=0.9), optimizers.SGD(momentum=0.9)),
    "adam": (lambda p: torch.optim.Adam(p, RATE), optimizers.Adam()),
    "adamw": (lambda p: torch.optim.AdamW(p, RATE, weight_decay=0.3), optimizers.Adam(weight_decay=0.3, decayed="all")),
}


@dataclasses.dataclass(frozen=True)
class Drift(Intervention):
    """Looks at all that a method may look at after a step: gradients, noise, units before and after the activation, outputs, slots."""

    noisy = True

    def init(self, params, layers, generator):
        return {"sum": torch.zeros(())}

    def penalty(self, params, state, layers, seen):
        outputs, features = seen.apply(params)
        return 0.1 * outputs.square().mean() + 0.1 * torch.stack([units.square().mean() for units in features.values()]).sum()

    def after_step(self, net, state, grads, layers, seen):
        outputs, raw = seen.apply(net.params, raw=True)
        scale = outputs.abs().mean() + torch.stack([units.abs().mean() for units in raw.values()]).sum()
        moved = {name: param + 1e-3 * scale * seen.noise[name] - 0.1 * grads[name] for name, param in net.params.items()}
        return net._replace(params=moved), {"sum": state["sum"] + scale}


CHAINS = {
    "redo": (ReDo(tau=0.5, every=2),),
    "l2-init, shrink": (L2Init(strength=0.1), ShrinkAndPerturb(clock="update", every=3)),
    "nap, redo": (NormalizeAndProject(), ReDo(tau=0.7, every=3)),
    "nap at tasks": (NormalizeAndProject(scale_and_offset="toward_init", pull=0.1), Reset(part="heads"), ReDo(tau=0.6, clock="task")),
    "drift": (Drift(), ReDo(tau=0.5, every=3)),
}


class Plain(Torso):
    def forward(self, x):
        return super().forward(x)[0]


class Pair:
    """The same network as a Learner's and as a module, with the same chain and the same fresh weights."""

    def __init__(self, kind: str, chain: tuple[Intervention, ...], optimizer: str, seed: int = 3, **how) -> None:
        theirs, ours = OPTIMIZERS[optimizer]
        spec, inputs, ends = SPEC[kind]
        self.network, ours = assemble(spec, ours, chain, inputs, ends)

        def loss(params, batch):
            return F.cross_entropy(self.network.apply(params, batch["inputs"])[0], batch["labels"]), {}

        self.learner = Learner(self.network, loss, ours, chain, 1, seed, compile=False)
        self.module = Plain(STAGES[kind], inputs, ends, self.network.spec.norm, "relu")
        self.names = dict(zip(self.learner.net.params, dict(self.module.named_parameters()), strict=True))
        self.module.load_state_dict({self.names[name]: param.clone() for name, param in self.learner.one(0).items()})
        self.optimizer = theirs(self.module.parameters())
        self.plan = attach(self.module, self.optimizer, chain, torch.randn(2, *inputs, generator=generator(4)), seed, **how)
        self.learner.fresh = lambda *purpose: self.ours(self.plan.fresh(*purpose))
        self.kind = "noisy" if kind == "small" else kind

    def ours(self, theirs):
        return {name: theirs[other][None] for name, other in self.names.items()}

    def update(self, batch) -> tuple[Refresh, ...]:
        self.learner.update(RATE, batch)
        return step(self.module, self.optimizer, self.plan, batch)

    def assert_same(self) -> None:
        for name, other in self.names.items():
            mine, expected = self.module.get_parameter(other), self.learner.net.params[name][0]
            torch.testing.assert_close(mine.detach(), expected, rtol=1e-8, atol=1e-10, msg=lambda m, name=name: f"{name}: {m}")
        for mine, expected in zip(self.plan.states, self.learner.states, strict=True):
            for one, other in zip(mine.values(), expected.values(), strict=True):  # in the order of the layers
                torch.testing.assert_close(one, other[0], rtol=1e-8, atol=1e-10)


def step(module: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan, batch) -> tuple[Refresh, ...]:
    optimizer.zero_grad()
    (F.cross_entropy(module(batch["inputs"][0]), batch["labels"][0]) + plan.penalty()).backward()
    optimizer.step()
    return plan.after_step()


def mlp(norm: bool = False, width: int = 6) -> nn.Sequential:
    def hidden(reads: int) -> list[nn.Module]:
        return [nn.Linear(reads, width), *([nn.LayerNorm(width)] if norm else []), nn.ReLU()]

    torch.manual_seed(0)
    return nn.Sequential(*hidden(5), *hidden(width), nn.Linear(width, 3))


def adam(module: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), RATE)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("kind", STAGES)
def test_a_chain_does_to_a_module_what_it_does_to_our_network(kind, chain, optimizer):
    pair = Pair(kind, CHAINS[chain], optimizer)
    start = {name: param.detach().clone() for name, param in pair.module.named_parameters()}
    places = {name: param.data_ptr() for name, param in pair.module.named_parameters()}
    came = 0
    for number, batch in enumerate(batches(pair.kind, 1, 8)):
        came += len(pair.update(batch))
        if number == 4:
            came += len(pair.plan.task_boundary())
            pair.learner.task_boundary()
        pair.assert_same()
    assert came and all(not torch.equal(start[name], param) for name, param in pair.module.named_parameters())
    assert places == {name: param.data_ptr() for name, param in pair.module.named_parameters()}
    assert [id(param) for group in pair.optimizer.param_groups for param in group["params"]] == [*map(id, pair.module.parameters())]


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("kind", STAGES)
def test_the_wiring_is_that_of_our_network(kind, norm):
    spec, inputs, ends = SPEC[kind]
    network = dataclasses.replace(spec, norm=norm).build(inputs, ends)
    module = Plain(STAGES[kind], inputs, ends, norm, "relu")
    theirs = dict(zip(network.shapes, dict(module.named_parameters()), strict=True))
    layers = {layer.name: theirs[layer.weight].removesuffix(".weight") for layer in network.layers}

    def renamed(layer: Layer) -> Layer:
        own = {field: theirs.get(getattr(layer, field)) for field in ("weight", "bias", "scale", "offset")}
        return layer._replace(name=layers[layer.name], readers=tuple(layers[reader] for reader in layer.readers), **own)

    traced = {
        layer.name: layer._replace(readers=tuple(sorted(layer.readers))) for layer in trace(module, (torch.randn(2, *inputs),)).layers
    }
    expected = [renamed(layer) for layer in network.layers]
    assert traced == {layer.name: layer._replace(readers=tuple(sorted(layer.readers))) for layer in expected}


class Basic(nn.Module):
    """A residual block as in torchvision, activated after the sum, between a stem and two heads; works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm1, self.norm2, self.short = nn.GroupNorm(1, 6), nn.GroupNorm(3, 6), nn.Conv2d(4, 6, 1)
        self.dense, self.value, self.advantage = nn.Linear(6 * 3 * 3, 7), nn.Linear(7, 1), nn.Linear(7, 4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        assert isinstance(x, torch.Tensor) and x.ndim == 4
        x = self.relu(self.stem(x))
        out = self.norm2(self.second(F.relu(self.norm1(self.first(x)))))
        out += self.short(x)
        x = F.adaptive_max_pool2d(self.relu(out), 3)
        x = torch.tanh(self.dense(F.dropout(x.view(len(x), -1), 0.0)))
        advantage = self.advantage(x)
        return {"value": self.value(x), "advantage": advantage - advantage.mean(1, keepdim=True)}


def test_a_residual_module_of_torchvision_s_kind_and_two_heads():
    layers = {layer.name: layer for layer in trace(Basic(), (torch.randn(2, 2, 8, 8),)).layers}
    assert layers == {
        "stem": Layer("stem", "stem.weight", "stem.bias", None, None, 4, ("first", "short"), 1, "relu"),
        "first": Layer("first", "first.weight", "first.bias", "norm1.weight", "norm1.bias", 6, ("second",), 1, "relu"),
        "second": Layer("second", "second.weight", "second.bias", "norm2.weight", "norm2.bias", 6, ("dense",), 1, "relu", shared=True),
        "short": Layer("short", "short.weight", "short.bias", None, None, 6, ("dense",), 1, None, shared=True),
        "dense": Layer("dense", "dense.weight", "dense.bias", None, None, 7, ("advantage", "value"), 1, "tanh"),
        "value": Layer("value", "value.weight", "value.bias", None, None, 1, (), 1, None),
        "advantage": Layer("advantage", "advantage.weight", "advantage.bias", None, None, 4, (), 1, None),
    }


def test_units_are_those_that_went_into_and_out_of_the_activation_though_it_works_in_place():
    module, x = Basic(), torch.randn(3, 2, 8, 8, generator=generator())
    plan = attach(module, adam(module), (ReDo(),), x)
    module(x)
    params = {name: param.detach() for name, param in module.named_parameters()}
    (outputs, after), (_, before) = plan._look(params), plan._look(params, raw=True)
    assert outputs.shape == (3, 5)
    stem = module.stem(x).movedim(1, -1).reshape(-1, 4)
    torch.testing.assert_close(before["stem"], stem)
    torch.testing.assert_close(after["stem"], stem.relu())
    half = F.relu(module.stem(x))
    total = module.norm2(module.second(F.relu(module.norm1(module.first(half))))) + module.short(half)
    torch.testing.assert_close(before["second"], total.movedim(1, -1).reshape(-1, 6))
    torch.testing.assert_close(after["dense"], before["dense"].tanh())
    assert set(after) == {"stem", "first", "second", "dense"}


@dataclasses.dataclass(frozen=True)
class Rebirth(Refresh):
    """Every weight's first row starts again at 0."""

    def refresh(self, net, state, evidence, layers):
        masks = {layer.weight: torch.zeros_like(net.params[layer.weight], dtype=torch.bool) for layer in layers}
        for mask in masks.values():
            mask[0] = True
        return overwrite(net, masks, {name: torch.zeros_like(net.params[name]) for name in masks}), state


def linear() -> nn.Linear:
    module = nn.Linear(3, 4, bias=False)
    nn.init.constant_(module.weight, 0.5)
    return module


def gradients(count: int) -> list[torch.Tensor]:
    draw = generator(6)
    return [torch.randn(4, 3, generator=draw) for _ in range(count)]


@pytest.mark.parametrize("corrected", [True, False])
def test_newborn_and_survivors_take_steps_of_one_learning_rate(corrected):
    """With a constant gradient, Adam's every step is one learning rate: without the correction the newborn's first would be 3.15."""
    module = linear()
    optimizer = torch.optim.Adam(module.parameters(), 0.01, eps=1e-12)
    plan = attach(module, optimizer, (Rebirth(every=2000),), torch.randn(2, 3))
    for number in range(2300):
        module.weight.grad = torch.full((4, 3), 0.7)
        before = module.weight.detach().clone()
        if number == 2000 and not corrected:
            plan.detach()
        optimizer.step()
        moved = (before - module.weight.detach()) / 0.01
        if corrected:
            torch.testing.assert_close(moved, torch.ones(4, 3), rtol=1e-8, atol=1e-9)
            plan.after_step()
        elif number < 2000:
            plan.after_step()
        else:
            first_square, first_mean = (1 - 0.999) / (1 - 0.999**2001), (1 - 0.9) / (1 - 0.9**2001)
            assert math.isclose(moved[0, 0], first_mean / first_square**0.5, rel_tol=1e-6) and 2.9 < moved[0, 0] < 3.2
            torch.testing.assert_close(moved[1:], torch.ones(3, 3), rtol=1e-8, atol=1e-9)
            return


FLAVOURS = {
    "adam": (torch.optim.Adam, {"betas": (0.8, 0.95), "eps": 1e-3}),
    "adam l2": (torch.optim.Adam, {"weight_decay": 0.2}),
    "adam maximize": (torch.optim.Adam, {"maximize": True, "foreach": True}),
    "amsgrad": (torch.optim.Adam, {"amsgrad": True, "betas": (0.5, 0.6)}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.3}),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.9}),
    "rmsprop l2": (torch.optim.RMSprop, {"alpha": 0.9, "weight_decay": 0.2, "maximize": True}),
    "rmsprop momentum": (torch.optim.RMSprop, {"alpha": 0.8, "momentum": 0.7, "centered": True}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
}


def alone(kind: type, how: dict, weight: float, grads: list[float], count: int) -> tuple[list[float], float]:
    """One weight by itself under the textbook's rule, each step of it; `count`: born at that step (0: when the optimizer was)."""
    mean = square = largest = velocity = 0.0
    path = []
    for t, grad in enumerate(grads, 1):
        grad = -grad if how.get("maximize") else grad
        if kind is torch.optim.AdamW:
            weight -= 0.01 * how["weight_decay"] * weight
        else:
            grad += how.get("weight_decay", 0.0) * weight
        if kind is torch.optim.SGD:
            velocity = 0.9 * velocity + grad
            weight -= 0.01 * (grad + 0.9 * velocity)
        elif kind is torch.optim.RMSprop:
            alpha = how["alpha"]
            square, mean = alpha * square + (1 - alpha) * grad**2, alpha * mean + (1 - alpha) * grad
            grown = 1 - alpha**t if count else 1.0
            change = grad / (math.sqrt(square / grown - (mean**2 if how.get("centered") else 0.0)) + 1e-8)
            velocity = how.get("momentum", 0.0) * velocity + change
            weight -= 0.01 * velocity
        else:
            beta1, beta2 = how.get("betas", (0.9, 0.999))
            mean, square = beta1 * mean + (1 - beta1) * grad, beta2 * square + (1 - beta2) * grad**2
            largest = max(largest, square)
            divisor = math.sqrt((largest if how.get("amsgrad") else square) / (1 - beta2**t)) + how.get("eps", 1e-8)
            weight -= 0.01 * mean / (1 - beta1**t) / divisor
        path.append(weight)
    return path, weight


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_each_element_goes_as_if_it_were_alone(flavour):
    kind, how = FLAVOURS[flavour]
    module, grads = linear(), gradients(25)
    optimizer = kind(module.parameters(), lr=0.01, **how)
    plan = attach(module, optimizer, (Rebirth(every=10),), torch.randn(2, 3))
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    for number, grad in enumerate(grads, 1):
        module.weight.grad = grad.clone()
        optimizer.step()
        schedule.step()
        for row in range(4):
            for column in range(3):
                born = (number - 1) // 10 * 10 if row == 0 else 0
                own = [each[row, column].item() for each in grads[born:number]]
                expected = alone(kind, how, 0.0 if born else 0.5, own, born)[1]
                assert math.isclose(module.weight[row, column].item(), expected, rel_tol=1e-8, abs_tol=1e-11), (number, row, column)
        plan.after_step()


def test_a_correction_ends():
    module = linear()
    optimizer = torch.optim.Adam(module.parameters(), 0.01, betas=(0.5, 0.6))
    plan = attach(module, optimizer, (Rebirth(every=40),), torch.randn(2, 3))
    held = []
    for grad in gradients(79):
        module.weight.grad = grad
        optimizer.step()
        plan.after_step()
        held.append(any(name.startswith("born/") for name in plan.state_dict()))
    lasts = math.ceil(math.log(1e-7) / math.log(0.6))  # 32
    assert held == [False] * 39 + [True] * (lasts) + [False] * (79 - 39 - lasts)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_plan_goes_on_from_its_state(optimizer):
    chain, data = (L2Init(strength=0.1), NormalizeAndProject(), ReDo(tau=0.7, every=3)), batches("mlp", 1, 10)

    def born() -> tuple:
        module = mlp(norm=True)
        optimiser = OPTIMIZERS[optimizer][0](module.parameters())
        return module, optimiser, attach(module, optimiser, chain, torch.randn(2, 5))

    module, optimiser, plan = born()
    for batch in data[:4]:
        step(module, optimiser, plan, batch)
    saved = copy.deepcopy((module.state_dict(), optimiser.state_dict(), plan.state_dict()))
    assert all(isinstance(tensor, torch.Tensor) for tensor in saved[2].values())
    other, optimiser2, plan2 = born()
    for part, state in zip((other, optimiser2, plan2), saved, strict=True):
        part.load_state_dict(state)
    for batch in data[4:]:
        assert step(module, optimiser, plan, batch) == step(other, optimiser2, plan2, batch)
    for one, two in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    with pytest.raises(KeyError):
        plan.load_state_dict({name: tensor for name, tensor in saved[2].items() if "states/1" not in name})
    with pytest.raises(RuntimeError, match="has the shape"):
        plan.load_state_dict(saved[2] | {"states/1/0.weight": torch.zeros(2)})


def test_hooked_to_the_optimizer_it_is_the_three_lines():
    chain, data = (L2Init(strength=0.2), NormalizeAndProject(), ReDo(tau=0.6, every=2)), batches("mlp", 1, 6)
    module, other = mlp(norm=True), mlp(norm=True)
    optimizer, optimizer2 = adam(module), adam(other)
    plan, hooked = attach(module, optimizer, chain, torch.randn(2, 5)), attach(other, optimizer2, chain, torch.randn(2, 5))
    hooked.hook()
    for batch in data:
        step(module, optimizer, plan, batch)
        optimizer2.zero_grad()
        F.cross_entropy(other(batch["inputs"][0]), batch["labels"][0]).backward()
        optimizer2.step()
    for one, two in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)
    hooked.detach()
    ticks = dict(hooked.ticks)
    optimizer2.step()
    assert hooked.ticks == ticks and not other._forward_pre_hooks


def test_the_batch_is_the_last_one_that_is_learned_from():
    module = mlp()
    plan = attach(module, adam(module), (ReDo(tau=0.5),), torch.randn(2, 5))
    assert plan.batch is None and plan.task_boundary() == ()
    learned = torch.randn(4, 5)
    module(learned)
    target = copy.deepcopy(module)
    target(torch.randn(4, 5))
    with torch.no_grad():
        module(torch.randn(4, 5))
    module.eval()
    module(torch.randn(4, 5))
    assert plan.batch is not None and torch.equal(plan.batch[0][0], learned)


def test_a_refresh_leaves_everybody_s_random_numbers_and_buffers_alone():
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()
            self.register_buffer("passes", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.passes += 1
            return self.body(x)

    module = Counting()
    optimizer = adam(module)
    plan = attach(module, optimizer, (ReDo(tau=0.9, every=1), Drift()), torch.randn(2, 5))
    module(torch.randn(4, 5)).sum().backward()
    optimizer.step()
    state = torch.get_rng_state()
    assert plan.after_step()
    assert torch.equal(state, torch.get_rng_state()) and module.passes == 1
    again = plan.fresh("ReDo", 0, "update", 1)
    assert all(torch.equal(again[name], tensor) for name, tensor in plan.fresh("ReDo", 0, "update", 1).items())
    assert not torch.equal(again["body.0.weight"], plan.fresh("ReDo", 0, "update", 2)["body.0.weight"])


def test_fresh_weights_come_from_whoever_makes_the_module():
    def made() -> nn.Module:
        new = mlp()
        nn.init.orthogonal_(new[0].weight, 3.0)
        return new

    module = made()
    plan = attach(module, adam(module), (Reset(part="network"),), torch.randn(2, 5), fresh=made)
    expected = plan.fresh("Reset", 0, "task", 1)["0.weight"]
    assert plan.task_boundary()
    assert torch.equal(module[0].weight, expected)
    torch.testing.assert_close(module[0].weight.T @ module[0].weight, 9 * torch.eye(5))
    other = attach(module, adam(module), (Reset(),), torch.randn(2, 5), fresh=lambda: mlp(width=7))
    with pytest.raises(UsageError, match=r"0.weight is not of the shape \(6, 5\)"):
        other.task_boundary()


BY_HAND = (
    Layer("first", "0.weight", "0.bias", None, None, 6, ("second",), 1, "relu"),
    Layer("second", "2.weight", "2.bias", None, None, 6, ("out",), 1, "relu"),
    Layer("out", "4.weight", "4.bias", None, None, 3, (), 1, None),
)


def test_a_wiring_stated_by_hand_is_the_traced_one():
    chain, data = (Drift(), ReDo(tau=0.7, every=2)), batches("mlp", 1, 5)
    module, other = mlp(), mlp()
    optimizer, optimizer2 = adam(module), adam(other)
    plan = attach(module, optimizer, chain, torch.randn(2, 5))
    stated = attach(other, optimizer2, chain, layers=BY_HAND, units={"first": "1", "second": "3"})
    for batch in data:
        assert step(module, optimizer, plan, batch) == step(other, optimizer2, stated, batch)
    for one, two in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=0)
    silent = attach(other, optimizer2, (ReDo(every=1),), layers=BY_HAND)
    other(torch.randn(2, 5))
    with pytest.raises(UsageError, match="the units of first are asked for: attach"):
        silent.after_step()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"layers": (BY_HAND[0]._replace(weight="9.weight"),)}, "the module has no parameter '9.weight'"),
        ({"layers": (BY_HAND[0]._replace(units=7), *BY_HAND[1:])}, "0.weight has 6 rows, and the layer 7 units"),
        ({"layers": BY_HAND[:2]}, "its reader 'out' is no layer"),
        ({"layers": (BY_HAND[0]._replace(columns=2), *BY_HAND[1:])}, "6 units, each 2 times, are not the 6 that second reads"),
        ({"layers": BY_HAND, "units": {"frist": "1"}}, "did you mean first"),
        ({"layers": BY_HAND, "units": {"first": "9"}}, "unknown submodule in units '9'"),
        ({}, "attach needs example_input"),
    ],
)
def test_a_wrong_wiring_by_hand_is_refused(how, message):
    module = mlp()
    with pytest.raises(UsageError, match=message):
        attach(module, adam(module), (), **how)


class Odd(nn.Module):
    """Two layers and something between them."""

    def __init__(self, between) -> None:
        super().__init__()
        self.one, self.two, self.between = nn.Linear(5, 4), nn.Linear(4, 3), between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.between(self.one(x)))


class Loose(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.log_std = mlp(), nn.Parameter(torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) * self.log_std.exp()


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(F.relu(self.cell(F.relu(self.cell(x)))))


def cat(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x[:, :2].relu(), x[:, 2:].relu()], 1)


@pytest.mark.parametrize(
    ("between", "columns", "reads"),
    [
        (lambda x: x.relu().mean((2, 3)), 1, 4),
        (lambda x: x.relu().amax(dim=(-1, -2)), 1, 4),
        (lambda x: F.max_pool2d(F.gelu(x), 3).flatten(1), 1, 4),
        (lambda x: F.avg_pool2d(x, 2, 1).tanh().reshape(2, -1), 4, 16),
        (lambda x: x.view(2, -1).relu(), 9, 36),
        (lambda x: x.relu().mean(1).flatten(1), None, 9),
        (lambda x: x.relu().transpose(1, 2).flatten(1), None, 36),
        (lambda x: x.relu().flatten(2).flatten(1), None, 36),
    ],
)
def test_how_many_columns_hold_a_channel(between, columns, reads):
    module = Odd(between)
    module.one, module.two = nn.Conv2d(1, 4, 3), nn.Linear(reads, 2)
    x = torch.randn(2, 1, 5, 5)
    if columns is None:
        with pytest.raises(UsageError, match="which reads units of one, is not understood"):
            trace(module, (x,))
        return
    layer, _ = trace(module, (x,)).layers
    assert layer.columns == columns
    gradients = torch.autograd.grad(module(x).sum(), module.one.weight)[0]
    with torch.no_grad():
        module.two.weight[:, columns : 2 * columns] = 0  # the columns that read channel 1
    silenced = torch.autograd.grad(module(x).sum(), module.one.weight)[0]
    assert silenced[1].abs().max() == 0 and torch.equal(silenced[[0, 2, 3]], gradients[[0, 2, 3]])


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: Odd(cat), r"__getitem__ \(call \d+ of the forward pass\), which reads units of one, is not understood; state the wiring"),
        (lambda: Odd(lambda x: x.relu() * 2), "mul .* which reads units of one"),
        (lambda: Odd(nn.Identity()), "one is read by two without an activation"),
        (lambda: Odd(nn.Sequential(nn.BatchNorm1d(4), nn.ReLU())), "batch_norm after one: its running statistics are no parameters"),
        (lambda: Odd(nn.Sequential(nn.ReLU(), nn.LayerNorm(4))), "between.1.weight is in no layer that was understood"),
        (lambda: Odd(lambda x: (x[None].relu())[0]), "__getitem__"),
        (Loose, "log_std is in no layer that was understood"),
        (Twice, "cell is used more than once"),
        (lambda: nn.Sequential(nn.Linear(5, 4), nn.PReLU(), nn.Linear(4, 3)), "prelu .* which reads units of 0"),
    ],
)
def test_what_is_not_understood_is_named(module, message):
    odd = module()
    with pytest.raises(UsageError, match=message) as caught:
        attach(odd, adam(odd), (ReDo(),), torch.randn(2, 5))
    assert "\n" not in str(caught.value)


def test_a_convolution_of_groups_is_refused():
    module = nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 2))
    with pytest.raises(UsageError, match="0 is a convolution of several groups"):
        attach(module, adam(module), (), torch.randn(2, 2, 5, 5))


def test_what_cannot_be_done_to_a_finished_module_is_refused():
    plain, normed, x = mlp(), mlp(norm=True), torch.randn(2, 5)
    tied = mlp()
    tied[2].bias = tied[0].bias
    bare = nn.Sequential(*mlp())
    bare[0].reset_parameters = None
    cases = [
        (plain, (LayerNorm(),), None, r"LayerNorm only builds \(norm\), and the module is built"),
        (plain, (WeightDecay(),), None, "WeightDecay sets weight_decay, decayed of the optimizer"),
        (plain, (NormalizeAndProject(norm="given"),), None, "needs a norm before every activation, and 0 has none"),
        (plain, (NormalizeAndProject(),), None, "needs a norm before every activation, and 0 has none"),
        (normed, (NormalizeAndProject(norm="rms"),), None, "builds norm=rms, and 0 has layer"),
        (plain, (ReDo,), None, "a chain is a tuple of interventions"),
        (plain, (ReDo(),), adam(normed), "the optimizer does not hold 0.weight"),
        (plain, (ReDo(),), torch.optim.Adagrad(plain.parameters()), "unknown optimizer for a method that refreshes 'Adagrad'"),
        (plain, (ReDo(),), torch.optim.SGD(plain.parameters(), momentum=0.9, dampening=0.5), "SGD with dampening"),
        (plain, (ReDo(),), type("Adam", (torch.optim.Adam,), {})(plain.parameters()), "itself, not one derived from it"),
        (tied, (ReDo(),), None, "parameters that several layers share"),
    ]
    for module, chain, optimizer, message in cases:
        with pytest.raises(UsageError, match=message):
            attach(module, optimizer or adam(module), chain, x)
    for chain, module in (((NormalizeAndProject(norm="given"),), normed), ((NormalizeAndProject(),), normed), ((L2Init(),), plain)):
        attach(module, torch.optim.Adagrad(module.parameters()), chain, x).after_step()  # no memory is touched: any optimizer will do


def test_a_module_that_cannot_be_initialised_anew_is_refused_by_name():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(x, self.weight).relu()

    module = nn.Sequential(Own(), nn.Linear(4, 2))
    with pytest.raises(UsageError, match=r"0 has no reset_parameters\(\) to initialise it anew"):
        attach(module, adam(module), (ReDo(),), torch.randn(2, 5))
    plan = attach(module, adam(module), (L2Init(strength=0.5),), torch.randn(2, 5))
    with torch.no_grad():
        module[0].weight += 2
    torch.testing.assert_close(plan.penalty(), torch.tensor(0.5 * 4 * 20))


def test_a_method_is_called_at_the_right_moment():
    module = mlp()
    optimizer = adam(module)
    plan = attach(module, optimizer, (Drift(),), torch.randn(2, 5))
    with pytest.raises(UsageError, match="no batch has gone through the module"):
        plan.penalty()
    step(module, optimizer, plan, batches("mlp", 1, 1)[0])
    optimizer.zero_grad()
    with pytest.raises(UsageError, match="call it before they are set to zero"):
        plan.after_step()


@pytest.mark.parametrize("kind", ["mlp", "small"])
@pytest.mark.parametrize("each", MEMBERS, ids=word)
def test_every_method_is_attached_as_it_is_or_refused(each, kind):
    """What builds, but for a norm that is there, and what sets the optimizer, is refused."""
    chain = (due(each, "update", 2),)
    if each.optimizer() or (each.build() and (type(each) not in (NormalizeAndProject,) or each.build() != {"norm": "layer"})):
        module = mlp()
        with pytest.raises(UsageError, match=type(each).__name__):
            attach(module, adam(module), chain, torch.randn(2, 5))
        return
    pair = Pair(kind, chain, "adam")
    for batch in batches(pair.kind, 1, 5):
        pair.update(batch)
        pair.assert_same()


def test_the_supervised_example_runs():
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "attach_supervised.py"))
    torch.set_default_dtype(torch.float32)
    for chain in ((), example["CHAIN"]):
        accuracies = example["train"](chain, 2, 60)
        assert len(accuracies) == 2 and all(0.05 < accuracy < 0.6 for accuracy in accuracies)
