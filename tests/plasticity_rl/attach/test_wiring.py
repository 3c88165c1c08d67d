"""Modules of other people's kinds: batch norms, actors and critics, compiled, tied, recurrent, attention. Who reads whose units is read a
second time off the function: a recycled unit's own weights have no effect on any output, and those of its neighbours have."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from plasticity_rl.attach import attach
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import ContinualBackprop, InFeR, L2Init, NormalizeAndProject, ReDo, Reset, ShrinkAndPerturb
from plasticity_rl.interventions.recycling import recycle
from plasticity_rl.networks.layers import Layer, own_units
from plasticity_rl.networks.trace import trace
from plasticity_rl.optim.optimizers import Net
from tests.learners import generator
from tests.plasticity_rl.attach.test_attach import Drift, adam, mlp

pytestmark = pytest.mark.usefixtures("double")


class ActorCritic(nn.Module):
    """A trunk that policy and value share, and a standard deviation that no layer reads or makes."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.policy, self.value = mlp()[:4], nn.Linear(6, 2), nn.Linear(6, 1)
        self.log_std = nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        latent = self.trunk(x)
        mean = self.policy(latent)
        return mean, self.log_std.expand_as(mean).exp(), self.value(latent)


class Recurrent(nn.Module):
    """An encoder, an LSTM that goes step by step and forgets where an episode begins, a hidden layer and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.lstm, self.hidden = nn.Linear(5, 6), nn.LSTM(6, 4), nn.Linear(4, 7)
        self.policy, self.value = nn.Linear(7, 2), nn.Linear(7, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        state, outputs = (torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)), []
        for step in F.relu(self.encoder(x)).reshape(3, 4, 6):
            made, state = self.lstm(step.unsqueeze(0), (0.5 * state[0], 0.5 * state[1]))
            outputs.append(made)
        latent = torch.tanh(self.hidden(torch.flatten(torch.cat(outputs), 0, 1)))
        return self.policy(latent), self.value(latent)


class Critic(nn.Module):
    """Two values of observations and actions, of which features stand beside the actions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.features = nn.Linear(5, 6), nn.Linear(6, 4)
        self.values = nn.ModuleList(nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 1)) for _ in range(2))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = F.relu(self.features(F.relu(self.first(x))))
        both = torch.cat([features, x[:, :2]], 1)
        return tuple(value(both) for value in self.values)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.gru, self.out = (
            nn.Linear(5, 6),
            nn.GRU(6, 4, num_layers=2, bidirectional=True, batch_first=True),
            nn.Linear(8, 3),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.gru(F.relu(self.encoder(x)))[0][:, -1])


class Decoder(nn.Module):
    """Attention written by hand, a table of tokens, and norms before each branch."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(9, 6), nn.Parameter(torch.zeros(4, 6))
        self.query, self.key, self.value, self.out = (nn.Linear(6, 6) for _ in range(4))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(6) for _ in range(3))
        self.up, self.down, self.head = nn.Linear(6, 8), nn.Linear(8, 6), nn.Linear(6, 9, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.table(x) + self.places
        normed = self.norm1(x)
        query, key, value = (layer(normed).view(len(x), 4, 2, 3).transpose(1, 2) for layer in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(len(x), 4, 6))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.head(self.norm3(x))


class Encoder(nn.Module):
    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        self.encoder = nn.Linear(5, 6)
        self.block = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True, norm_first=norm_first)
        self.out = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.block(self.encoder(x)).mean(1))


def normed() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 6, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(24, 8), nn.BatchNorm1d(8, affine=False), nn.ReLU(), nn.Linear(8, 3)),
    )


MODULES = {
    "batch-norm": (normed, lambda: torch.randn(7, 1, 8, 8, generator=generator(1))),
    "actor-critic": (ActorCritic, lambda: torch.randn(7, 5, generator=generator(1))),
    "recurrent": (Recurrent, lambda: torch.randn(12, 5, generator=generator(1))),
    "critic": (Critic, lambda: torch.randn(7, 5, generator=generator(1))),
    "gated": (Gated, lambda: torch.randn(7, 4, 5, generator=generator(1))),
    "decoder": (Decoder, lambda: torch.randint(9, (7, 4), generator=generator(1))),
    "encoder": (lambda: Encoder(False), lambda: torch.randn(7, 4, 5, generator=generator(1))),
    "encoder, norms first": (lambda: Encoder(True), lambda: torch.randn(7, 4, 5, generator=generator(1))),
}
OWN = {
    "batch-norm": {"0": ("4",), "4": ("8",), "8": ("11",)},
    "actor-critic": {"trunk.0": ("trunk.2",), "trunk.2": ("policy", "value")},
    "recurrent": {"encoder": ("lstm.ih_l0",), "hidden": ("policy", "value")},
    "critic": {"first": ("features",), "values.0.0": ("values.0.2",), "values.1.0": ("values.1.2",)},
    "gated": {"encoder": ("gru.ih_l0", "gru.ih_l0_reverse")},
    "decoder": {"up": ("down",)},
    "encoder": {"block.linear1": ("block.linear2",)},
    "encoder, norms first": {"block.linear1": ("block.linear2",)},
}
"""layers with units of their own, and who reads them"""
HEADS = {
    "batch-norm": {"11"},
    "actor-critic": {"policy", "value"},
    "recurrent": {"policy", "value"},
    "critic": {"values.0.2", "values.1.2"},
    "gated": {"out"},
    "decoder": {"head"},
    "encoder": {"out"},
    "encoder, norms first": {"out"},
}


def made(kind: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return MODULES[kind][0](), MODULES[kind][1]()


def outputs(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """All outputs, with running statistics left as they are."""
    found = copy.deepcopy(module)(x)
    return torch.cat([each.flatten() for each in (found if isinstance(found, tuple) else (found,))])


@pytest.mark.parametrize("kind", MODULES)
def test_layers_with_units_of_their_own_and_heads(kind):
    module, x = made(kind)
    layers = trace(module, (x,)).layers
    assert {layer.name: layer.readers for layer in own_units(layers)} == OWN[kind]
    assert {layer.name for layer in layers if layer.head} == HEADS[kind]
    assert not {layer.name for layer in layers} & dict(module.named_parameters()).keys()  # methods keep states under both
    assert sorted(name for layer in layers for name in layer.parameters) == sorted(dict(module.named_parameters()))


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("kind", MODULES)
def test_a_recycled_unit_has_no_effect_and_its_neighbour_has(kind, training):
    module, x = made(kind)
    module.train(training)
    layers = trace(module, (x,)).layers
    params = {name: param.detach() for name, param in module.named_parameters()}
    marked = {layer.name: torch.arange(layer.units) == 1 for layer in own_units(layers)}
    for name, param in recycle(Net(params, {}), params, marked, layers).params.items():
        params[name].copy_(param)
    before, draw = outputs(module, x), generator(2)
    for layer in own_units(layers):
        for unit, moves in ((1, False), (2, True)):
            held = copy.deepcopy(module)
            for name in layer.own:
                held.get_parameter(name).data[unit] += torch.randn(params[name][unit].shape, generator=draw)
            assert ((outputs(held, x) - before).abs().max() > 1e-6) == moves, (layer.name, unit)


@pytest.mark.parametrize("kind", MODULES)
def test_units_are_the_activations_outputs(kind):
    module, x = made(kind)
    graph, heard = trace(module, (x,)), {}
    plan = attach(module, torch.optim.SGD(module.parameters()), (L2Init(), Drift()), x)
    module(x)
    features = plan._apply({name: param.detach() for name, param in module.named_parameters()})[1]
    for layer in own_units(graph.layers):
        source = {"0": "2", "4": "6", "8": "10"}.get(layer.name, layer.name)
        module.get_submodule(source).register_forward_hook(lambda m, args, out, name=layer.name: heard.update({name: out}))
    copy.deepcopy(module)(x)
    activations = {"relu": F.relu, "tanh": torch.tanh, "gelu": F.gelu}
    for layer in own_units(graph.layers):
        raw = heard[layer.name]
        units = raw.movedim(1, -1) if kind == "batch-norm" and raw.ndim == 4 else raw
        expected = units if kind == "batch-norm" else activations[str(layer.activation)](units)
        torch.testing.assert_close(
            features[layer.name].sort(0).values, expected.reshape(-1, layer.units).sort(0).values, rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_recycling_silent_units_behind_batch_norms_keeps_the_function_and_renews_their_statistics(training):
    module, x = made("batch-norm")
    optimizer = adam(module)
    with torch.no_grad():
        module[1].bias[2] = module[5].bias[3] = -50.0  # silent from now on
    plan = attach(module, optimizer, (ReDo(tau=0.0, every=2),), x)
    module(x).square().mean().backward()
    optimizer.step()
    plan.after_step()
    module.train(training)
    before, heard = outputs(module, x), copy.deepcopy(module)
    held = {name: buffer.clone() for name, buffer in module.named_buffers()}
    assert plan.after_step()
    torch.testing.assert_close(outputs(module, x), before, rtol=1e-12, atol=1e-12)
    assert module[1].weight[2] == module[5].weight[3] == 1 and module[1].bias[2] == module[5].bias[3] == 0
    for norm, activation, unit in ((1, 2, 2), (5, 6, 3), (9, 10, None)):
        silent = (heard[: activation + 1](x) == 0).movedim(1, -1).flatten(0, -2).all(0)
        assert unit is None or silent[unit]
        for name, value in (("running_mean", 0.0), ("running_var", 1.0)):
            old = held[f"{norm}.{name}"]
            torch.testing.assert_close(module[norm].get_buffer(name), old.masked_fill(silent, value), rtol=0, atol=0)
            assert (old != value).all()


def test_a_dead_units_old_statistics_would_multiply_the_newborns_outputs():
    """The reason to renew them: in evaluation, weights of a usual size behind a running variance of 1e-30."""
    norm = nn.BatchNorm1d(1).eval()
    norm.running_var.fill_(1e-30)
    torch.testing.assert_close(norm(torch.ones(1, 1)), torch.full((1, 1), 1e-5**-0.5))


def test_nap_takes_the_batch_norms_that_are_there_and_holds_the_lengths():
    module, x = made("batch-norm")
    with pytest.raises(UsageError, match="builds norm=layer, but 0 has batch"):
        attach(module, adam(module), (NormalizeAndProject(),), x)
    module[9] = nn.BatchNorm1d(8)
    optimizer = adam(module)
    plan = attach(module, optimizer, (NormalizeAndProject(norm="given"),), x)
    lengths = [module[i].weight.norm().item() for i in (0, 4, 8)]
    before = outputs(module, x)
    for i in (0, 4, 8):
        module[i].weight.data.mul_(3)
    plan.after_step()
    assert [module[i].weight.norm().item() for i in (0, 4, 8)] == pytest.approx(lengths)
    torch.testing.assert_close(outputs(module, x), before, rtol=1e-9, atol=1e-9)


def test_running_statistics_that_average_all_batches_cannot_be_renewed_by_unit():
    module, x = made("batch-norm")
    module[5].momentum = None
    with pytest.raises(UsageError, match=r"ReDo renews running statistics by unit, and 5 averages all batches: give it momentum=0\.1"):
        attach(module, adam(module), (ReDo(),), x)
    attach(module, adam(module), (L2Init(), Drift()), x)


def test_a_parameter_of_no_layer_goes_with_the_heads_or_with_the_layers_that_read_it():
    module, x = made("actor-critic")
    optimizer = adam(module)
    assert [layer.others for layer in trace(module, (x,)).layers] == [(), (), (), ("log_std",)]
    with torch.no_grad():
        module.log_std.fill_(0.7)
    for part, kept in (("hidden", 0.7), ("heads", 0.0)):
        attach(module, optimizer, (Reset(part=part),), x, fresh=ActorCritic).task_boundary()
        assert (module.log_std == kept).all()
    decoder, tokens = made("decoder")
    (holder,) = (layer for layer in trace(decoder, (tokens,)).layers if layer.others)
    assert not holder.head and {"table.weight", "places"} <= {*holder.others}


@pytest.mark.filterwarnings("ignore")  # torch.compile's own
@pytest.mark.parametrize("how", ["around", "in place", "inside"])
def test_a_compiled_module_is_treated_as_the_plain_one(how):
    plain, module, seen = mlp(), mlp(), []

    def backend(graph, example):
        def compiled(*args):
            seen.append(1)
            return graph.forward(*args)

        return compiled

    called = module
    if how == "around":
        called = torch.compile(module, backend=backend)
    elif how == "in place":
        module.compile(backend=backend)
    else:
        called = nn.Sequential(torch.compile(module[:4], backend=backend), module[4])
    chain, x = (L2Init(strength=0.1), Drift(), ReDo(tau=0.7, every=2)), torch.randn(7, 5)
    sides = []
    for each in (plain, called):
        optimizer = adam(each)
        sides.append((each, optimizer, attach(each, optimizer, chain, x)))
    for _ in range(4):
        for each, optimizer, plan in sides:
            optimizer.zero_grad()
            loss, passes = each(x).square().mean(), len(seen)
            assert bool(passes) == (each is called)
            (loss + plan.penalty()).backward()
            optimizer.step()
            plan.after_step()
            assert len(seen) == passes  # the loop's passes are compiled, and a method's own are not
            seen.clear()
    for one, two in zip(plain.parameters(), called.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)
    if how == "around":
        assert [layer.name for layer in sides[1][2].layers] == ["0", "2", "4"]


def test_tied_weights_are_refused_where_units_count_and_otherwise_one_parameter():
    module = mlp()
    module[2] = nn.Linear(6, 6)
    tied = nn.Sequential(module, nn.ReLU(), nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 6))
    tied[4].weight = module[2].weight
    optimizer = torch.optim.SGD(tied.parameters(), 0.1)
    for method in (ReDo(), ContinualBackprop(), Reset(part="heads"), NormalizeAndProject()):
        with pytest.raises(UsageError, match=rf"{type(method).__name__} needs each weight .* 0.2.weight and 4.weight are one parameter"):
            attach(tied, optimizer, (method,), torch.randn(2, 5))
    plan = attach(tied, optimizer, (ShrinkAndPerturb(shrink=0.5, perturb=0.5),))
    expected = 0.5 * module[2].weight.detach() + 0.5 * plan.fresh("ShrinkAndPerturb", 0, "task", 1)["0.2.weight"]
    plan.task_boundary()
    torch.testing.assert_close(tied[4].weight.detach(), expected)
    assert tied[4].weight is module[2].weight
    stated = (
        Layer("in", "0.0.weight", "0.0.bias", None, None, 6, ("out",), 1, "relu"),
        Layer("out", "0.4.weight", "0.4.bias", None, None, 3, (), 1, None),
    )
    attach(tied, optimizer, (ReDo(),), layers=stated, units={"in": "0.1"})
    with pytest.raises(UsageError, match="layers= needs each weight to be one layer's"):
        attach(tied, optimizer, (ReDo(),), layers=(*stated, Layer("tied", "0.2.weight", "0.2.bias", None, None, 6, (), 1, None)))


def test_a_module_without_a_forward_pass_and_a_loop_that_bypasses_it():
    class Agent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.actor, self.critic = mlp(), mlp()

        def values(self, x: torch.Tensor) -> torch.Tensor:
            return self.critic(x) + self.actor(x)

    class Whole(Agent):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return self.actor(x), self.critic(x)

    agent, x = Agent(), torch.randn(4, 5)
    with pytest.raises(UsageError, match=r"ReDo needs a forward pass, and Agent has none: give it a forward\(\)"):
        attach(agent, adam(agent), (ReDo(),), x)
    whole = Whole()
    optimizer = adam(whole)
    plan = attach(whole, optimizer, (ReDo(tau=0.9, every=1),), x)
    whole.values(x).sum().backward()
    optimizer.step()
    with pytest.raises(UsageError, match=r"call the module itself, or set plan.batch = \(\(x,\), {}\)"):
        plan.after_step()
    plan.batch = ((x,), {})
    assert plan.after_step()


def test_methods_of_last_hidden_layers_say_where_there_are_none():
    module, x = made("gated")
    with pytest.raises(UsageError, match=r"needs the units that heads read, and gru.ih_l0 adds to a sum: give each head a hidden layer"):
        attach(module, adam(module), (InFeR(),), x)


def test_attention_that_is_used_twice_is_refused():
    class Twice(Encoder):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.block(self.block(self.encoder(x))).mean(1))

    module = Twice(False)
    with pytest.raises(UsageError, match=r"block.self_attn.out_proj is used more than once in a forward pass"):
        attach(module, adam(module), (ReDo(),), torch.randn(2, 4, 5))


def test_attention_with_separate_weights_is_refused():
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 2, kdim=5, vdim=5, batch_first=True)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.attention(x, y, y)[0]

    module = Wide()
    with pytest.raises(UsageError, match="is attention with separate weights, which is not supported"):
        attach(module, adam(module), (ReDo(),), (torch.randn(2, 3, 6), torch.randn(2, 3, 5)))
