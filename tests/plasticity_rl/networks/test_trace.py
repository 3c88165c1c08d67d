"""The layer graph traced from a module, against our networks and by hand; operations that are refused."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from plasticity_rl.attach import attach
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import ReDo, Reset
from plasticity_rl.networks.layers import Layer
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.trace import trace
from tests.learners import batches, generator
from tests.plasticity_rl.attach.test_attach import SPEC, STAGES, Drift, Plain, adam, mlp, step

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("kind", STAGES)
def test_the_wiring_is_that_of_our_network(kind, norm):
    spec, inputs, ends = SPEC[kind]
    network = Network(dataclasses.replace(spec, norm=norm), inputs, ends)
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
    (outputs, after), (_, before) = plan._apply(params), plan._apply(params, raw=True)
    assert outputs.shape == (3, 5)
    stem = module.stem(x).movedim(1, -1).reshape(-1, 4)
    torch.testing.assert_close(before["stem"], stem)
    torch.testing.assert_close(after["stem"], stem.relu())
    half = F.relu(module.stem(x))
    total = module.norm2(module.second(F.relu(module.norm1(module.first(half))))) + module.short(half)
    torch.testing.assert_close(before["second"], total.movedim(1, -1).reshape(-1, 6))
    torch.testing.assert_close(after["dense"], before["dense"].tanh())
    assert set(after) == {"stem", "first", "second", "dense"}


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
    with pytest.raises(UsageError, match="the chain needs the units of first: attach"):
        silent.after_step()


def test_units_of_a_sequence_are_those_of_its_places():
    """nn.Linear on (batch, time, units), traced and stated by hand, equals the layer on all places side by side."""
    module, other, x = mlp(), mlp(), torch.randn(4, 6, 5, generator=generator())  # as many places as units: size cannot tell them apart
    third = mlp()
    optimizer, optimizer2, optimizer3 = adam(module), adam(other), adam(third)
    plan = attach(module, optimizer, (ReDo(tau=0.7, every=2),), layers=BY_HAND, units={"first": "1", "second": "3"})
    plan2 = attach(other, optimizer2, (ReDo(tau=0.7, every=2),), layers=BY_HAND, units={"first": "1", "second": "3"})
    plan3 = attach(third, optimizer3, (ReDo(tau=0.7, every=2),), x)
    sides = ((module, optimizer, plan, x), (other, optimizer2, plan2, x.flatten(0, 1)), (third, optimizer3, plan3, x))
    for _ in range(4):
        for each, trained, planned, inputs in sides:
            trained.zero_grad()
            each(inputs).square().mean().backward()
            trained.step()
            planned.after_step()
    assert any(name.startswith("reset_steps/") for name in plan.state_dict())  # units were recycled
    for one, two, traced in zip(module.parameters(), other.parameters(), third.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(traced, two, rtol=1e-9, atol=1e-12)


def test_a_layer_whose_columns_cannot_be_told_is_shared():
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.out = nn.Linear(5, 4), nn.Linear(5, 4), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(torch.cat([self.one(x).relu(), self.two(x).relu()], 1))

    module = Beside()
    assert [(layer.name, layer.shared, layer.readers, layer.activation) for layer in trace(module, (torch.randn(2, 5),)).layers] == [
        ("one", True, ("out",), "relu"),
        ("two", True, ("out",), "relu"),
        ("out", False, (), None),
    ]
    with pytest.raises(UsageError, match="ReDo recycles units, and no hidden layer has units of its own"):
        attach(module, adam(module), (ReDo(),), torch.randn(2, 5))
    ends = Layer("out", "out.weight", "out.bias", None, None, 3, (), 1, None)
    both = [Layer(name, f"{name}.weight", f"{name}.bias", None, None, 4, ("out",), 1, "relu") for name in ("one", "two")]
    with pytest.raises(UsageError, match="4 units, each 1 times, are not the 8 that out reads; read beside others they are shared=True"):
        attach(module, adam(module), (), layers=(*both, ends))
    optimizer = adam(module)
    plan = attach(module, optimizer, (Reset(part="hidden"),), layers=(*(each._replace(shared=True) for each in both), ends))
    module(torch.randn(2, 5)).sum().backward()
    optimizer.step()
    before = {name: param.detach().clone() for name, param in module.named_parameters()}
    plan.task_boundary()
    assert {name for name, param in module.named_parameters() if not torch.equal(before[name], param)} == set(before) - {
        "out.weight",
        "out.bias",
    }


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (lambda: nn.Linear(6, 7), r"units={'first': ...}: an output of shape \(4, 7\) does not hold 6 units for each example"),
        (lambda: nn.Flatten(0), r"an output of shape \(24,\) does not hold 6 units"),
        (lambda: nn.LSTM(6, 6), "units={'first': ...} must be a submodule whose output is a tensor"),
    ],
    ids=["wide", "flat", "pair"],
)
def test_what_is_not_a_layers_units_is_refused(between, message):
    class Watched(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self[1](self[0](x))
            self[5](x)
            return self[4](self[3](self[2](x)))

    module = Watched(*mlp(), between())
    plan = attach(module, adam(module), (ReDo(every=1),), layers=BY_HAND, units={"first": "5", "second": "3"})
    module(torch.randn(4, 5)).sum().backward()
    with pytest.raises(UsageError, match=message):
        plan.after_step()


def test_a_module_without_shapes_yet_is_refused():
    module = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(3))
    with pytest.raises(UsageError, match=r"0.weight has no shape yet: send a batch through the module first"):
        attach(module, adam(module), (), torch.randn(2, 5))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"layers": (BY_HAND[0]._replace(weight="9.weight"),)}, "the module has no parameter '9.weight'"),
        ({"layers": (BY_HAND[0]._replace(units=7), *BY_HAND[1:])}, "0.weight has 6 rows, and the layer 7 units"),
        ({"layers": BY_HAND[:2]}, "its reader 'out' is not a layer"),
        ({"layers": (BY_HAND[0]._replace(columns=2), *BY_HAND[1:])}, "6 units, each 2 times, are not the 6 that second reads"),
        ({"layers": BY_HAND, "units": {"frist": "1"}}, "did you mean first"),
        ({"layers": BY_HAND, "units": {"first": "9"}}, "unknown submodule in units '9'"),
        ({}, "ReDo needs example_input"),
    ],
)
def test_a_wrong_wiring_by_hand_is_refused(how, message):
    module = mlp()
    with pytest.raises(UsageError, match=message):
        attach(module, adam(module), (ReDo(),), **how)


class Odd(nn.Module):
    """Two layers and an operation between."""

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


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.spare = mlp(), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


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
        (lambda x: x.relu().flatten(2).flatten(1), 9, 36),
        (lambda x: x.permute(0, 2, 3, 1).relu().mean((1, 2)), 1, 4),
        (lambda x: x.permute(0, 2, 3, 1).relu().flatten(1), None, 36),
        (lambda x: x.relu().flatten(2)[..., 4], 1, 4),
        (lambda x: x.relu()[:, [1, 0, 2, 3]].flatten(1), None, 36),
    ],
)
def test_how_many_columns_hold_a_channel(between, columns, reads):
    module = Odd(between)
    module.one, module.two = nn.Conv2d(1, 4, 3), nn.Linear(reads, 2)
    x = torch.randn(2, 1, 5, 5)
    if columns is None:
        with pytest.raises(UsageError, match="which reads units of one, is not supported"):
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
        (
            lambda: Odd(cat),
            r"__getitem__ \(call \d+ of the forward pass\), which reads units of one, is not supported; state the layer graph",
        ),
        (lambda: Odd(lambda x: x.relu() * 2), "mul .* which reads units of one"),
        (lambda: Odd(nn.Identity()), "one is read by two without an activation"),
        (lambda: Odd(nn.Sequential(nn.ReLU(), nn.LayerNorm(4))), "layer_norm after the activation of one is not supported: put it before"),
        (lambda: Odd(nn.Sequential(nn.ReLU(), nn.BatchNorm1d(4))), "batch_norm after the activation of one is not supported"),
        (lambda: Odd(lambda x: x.flip(1).relu()), "flip .* which reads units of one"),
        (lambda: Odd(lambda x: F.max_pool1d(x.relu()[:, None], 1)[:, 0]), "max_pool1d .* which reads units of one"),
        (lambda: Odd(nn.Softmax(-1)), "softmax .* which reads units of one"),
        (Loose, r"Loose has no reset_parameters\(\) to re-initialise it: give attach\(..., fresh=\), a function that makes such a module"),
        (Unused, "spare.weight is not used in the forward pass"),
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
        attach(module, adam(module), (ReDo(),), torch.randn(2, 2, 5, 5))
