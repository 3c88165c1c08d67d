"""Methods that need parameters alone, on any module: its weights and its re-initialisation."""

import pytest
import torch
from torch import nn

from plasticity_rl.attach import attach
from plasticity_rl.attach.module_params import bare_layers, reinitialised
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import word
from plasticity_rl.interventions import (
    L2,
    HareAndTortoise,
    L2Init,
    NoisyUpdates,
    NormConstraint,
    ReDo,
    Refresh,
    Reset,
    ShrinkAndPerturb,
    WeightClipping,
)
from tests.learners import MEMBERS, due, generator

pytestmark = pytest.mark.usefixtures("double")


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(5, 4, num_layers=2), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.lstm(x)[0])


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(7, 6), nn.Linear(6, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.table(x))


class Tied(Words):
    def __init__(self) -> None:
        super().__init__()
        self.out.weight = self.table.weight


def normed() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten())


MODULES = {
    "lstm": (Recurrent, lambda: torch.randn(3, 2, 5)),
    "transformer": (lambda: nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0), lambda: torch.randn(3, 2, 6)),
    "embedding": (Words, lambda: torch.randint(7, (3, 2))),
    "tied": (Tied, lambda: torch.randint(7, (3, 2))),
    "batch-norm": (normed, lambda: torch.randn(3, 1, 6, 6)),
}
WEIGHTS = {
    "lstm": {"lstm.weight_ih_l0", "lstm.weight_hh_l0", "lstm.weight_ih_l1", "lstm.weight_hh_l1", "out.weight"},
    "transformer": {"self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight"},
    "embedding": {"out.weight"},
    "tied": {"table.weight"},
    "batch-norm": {"0.weight", "3.weight"},
}


def made(kind: str) -> tuple[nn.Module, torch.optim.Adam]:
    torch.manual_seed(0)
    module = MODULES[kind][0]()
    return module, torch.optim.Adam(module.parameters(), 0.01)


def step(kind: str, module: nn.Module, optimizer: torch.optim.Optimizer, plan) -> None:
    optimizer.zero_grad()
    (module(MODULES[kind][1]()).square().mean() + plan.penalty()).backward()
    optimizer.step()
    plan.after_step()


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("each", [*(each for each in MEMBERS if not each.needs_layer_graph), NormConstraint(part="all")], ids=word)
def test_a_method_that_takes_parameters_alone_goes_with_any_module(each, kind):
    module, optimizer = made(kind)
    plan = attach(module, optimizer, (due(each, "update", 2),))
    assert set(plan.params) == set(dict(module.named_parameters()))
    for _ in range(4):
        step(kind, module, optimizer, plan)
    plan.task_boundary()
    assert all(param.isfinite().all() for param in module.parameters())


def test_which_parameters_are_weights_and_what_stands_beside_them():
    for kind, weights in WEIGHTS.items():
        module, _ = made(kind)
        layers = bare_layers(module)
        assert {layer.weight for layer in layers} == weights
        assert sorted(name for layer in layers for name in layer.parameters) == sorted(dict(module.named_parameters()))
    beside = {layer.weight: (layer.bias, layer.scale, layer.offset, layer.others) for layer in bare_layers(made("transformer")[0])}
    assert beside == {
        "self_attn.in_proj_weight": ("self_attn.in_proj_bias", None, None, ()),
        "self_attn.out_proj.weight": ("self_attn.out_proj.bias", None, None, ()),
        "linear1.weight": ("linear1.bias", "norm2.weight", "norm2.bias", ()),
        "linear2.weight": ("linear2.bias", "norm1.weight", "norm1.bias", ()),
    }
    assert [layer.bias for layer in bare_layers(made("lstm")[0])][:2] == ["lstm.bias_ih_l0", "lstm.bias_hh_l0"]
    assert bare_layers(made("embedding")[0])[0].others == ("table.weight",)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_penalties_and_bounds_by_hand(kind):
    module, optimizer = made(kind)
    plan = attach(module, optimizer, (L2Init(strength=0.5), L2(strength=0.1)))
    birth = {name: param.detach().clone() for name, param in module.named_parameters()}
    step(kind, module, optimizer, plan)
    moved = sum((param - birth[name]).square().sum() for name, param in module.named_parameters())
    long = sum(module.get_parameter(name).square().sum() for name in WEIGHTS[kind])
    torch.testing.assert_close(plan.penalty(), 0.5 * moved + 0.1 * long)
    clipped = attach(module, optimizer, (WeightClipping(kappa=0.2),))
    before = {name: param.detach().clone() for name, param in module.named_parameters()}
    clipped.after_step()
    for name, param in module.named_parameters():
        if name in WEIGHTS[kind]:
            bound = 0.2 / before[name][0].numel() ** 0.5
            torch.testing.assert_close(param.detach(), before[name].clamp(-bound, bound), rtol=1e-12, atol=0)
            assert not torch.equal(param, before[name])
        elif "norm" in name or name.startswith(("1.", "4.")):
            assert torch.equal(param, before[name])


@pytest.mark.parametrize("kind", MODULES)
def test_shrinking_takes_every_parameter_toward_a_module_made_anew(kind):
    module, optimizer = made(kind)
    plan = attach(module, optimizer, (ShrinkAndPerturb(shrink=0.3, perturb=0.7, clock="update", every=1), NoisyUpdates(sigma=1e-9)))
    step(kind, module, optimizer, plan)
    before = {name: param.detach().clone() for name, param in module.named_parameters()}
    fresh = plan.fresh("ShrinkAndPerturb", 0, "update", 2)
    optimizer.zero_grad()
    for param in module.parameters():
        param.grad = torch.zeros_like(param)
    plan.after_step()
    for name, param in module.named_parameters():
        torch.testing.assert_close(param.detach(), 0.3 * before[name] + 0.7 * fresh[name], rtol=0, atol=1e-7)


def test_attention_and_norms_are_drawn_anew_as_their_constructors_draw():
    """Compares initialisers known per parameter: Xavier's bound for attention, zeros for its biases, 1 and 0 for norms."""
    module, _ = made("transformer")
    with torch.no_grad():
        for param in module.parameters():
            param.add_(5)
    new = reinitialised(module)
    bound = (6 / (6 + 18)) ** 0.5
    assert new.self_attn.in_proj_weight.abs().max() <= bound and new.self_attn.in_proj_weight.abs().max() > 0.8 * bound
    assert not new.self_attn.in_proj_bias.any() and not new.self_attn.out_proj.bias.any()
    assert (new.norm1.weight == 1).all() and not new.norm1.bias.any()
    assert (module.norm1.weight == 6).all()


def test_a_reset_is_the_fresh_module_with_its_running_statistics():
    module, optimizer = made("batch-norm")
    step("batch-norm", module, optimizer, attach(module, optimizer, (L2Init(),)))
    held = {name: buffer.clone() for name, buffer in module.named_buffers()}
    shrunk = attach(module, optimizer, (ShrinkAndPerturb(),))
    shrunk.task_boundary()
    assert all(torch.equal(buffer, held[name]) for name, buffer in module.named_buffers()) and held["1.running_mean"].all()
    plan = attach(module, optimizer, (Reset(),))
    fresh = plan.fresh("Reset", 0, "task", 1)
    plan.task_boundary()
    assert all(torch.equal(param, fresh[name]) for name, param in module.named_parameters())
    for norm in (module[1], module[4]):
        assert not norm.running_mean.any() and (norm.running_var == 1).all()


def test_what_cannot_be_drawn_anew_is_refused_only_where_it_would_be():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Parameter(torch.randn(4, 3, generator=generator()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.first

    module = Own()
    optimizer = torch.optim.Adam(module.parameters())
    with pytest.raises(UsageError, match=r"Own has no reset_parameters\(\) to re-initialise it: give attach\(..., fresh=\)"):
        attach(module, optimizer, (ShrinkAndPerturb(),))
    for each in (HareAndTortoise(), Reset(part="optimizer")):
        assert attach(module, optimizer, (each,)).task_boundary() == ((each,) if each.clock == "task" else ())


def test_what_looks_at_units_or_heads_still_asks():
    module, optimizer = made("lstm")
    with pytest.raises(UsageError, match="ReDo needs example_input"):
        attach(module, optimizer, (L2Init(), ReDo()))
    assert {type(each).__name__ for each in MEMBERS if isinstance(each, Refresh) and not each.needs_fresh} >= {
        "DASH",
        "FIRE",
        "HareAndTortoise",
    }
