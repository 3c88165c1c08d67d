"""Plasticity injection: added, learning and frozen parameters, beside a plain reading of the formula."""

import math
from typing import Any

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import L2, NormalizeAndProject, PlasticityInjection, ReDo, Reset, SpectralNorm, WeightDecay, assemble
from plasticity_rl.networks.layers import GATE, HeadSpec, Params, penultimate
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import SGD, Adam, RMSprop
from plasticity_rl.training.learner import Learner
from tests.learners import RATE, SPECS, batches, built, copies, generator, learn, loss, random_net
from tests.plasticity_rl.training.test_compiled import needs_compiler, of_torch_itself
from tests.refreshes import HEADS, LAST, frozen_by_injection

pytestmark = pytest.mark.usefixtures("double")


KINDS = list(SPECS)
DRAWN = ("noise", "fractions", "task")


def given(batch: dict[str, torch.Tensor], member: int) -> dict[str, Any]:
    return {name: batch[name][member] for name in DRAWN if name in batch}


def outputs(learner: Learner, batch: dict[str, torch.Tensor], member: int = 0) -> torch.Tensor:
    return learner.network.apply(learner.one(member), batch["inputs"][member], **given(batch, member))[0]


def as_injected(params: Params, kind: str, part: str) -> Params:
    """Parameters of a plain network with the last hidden layers and heads of one of the three parts."""
    ending = {"learned": "{0}", "new": "{0}_injected", "born": "{0}_injected"}[part]
    plain = {}
    for name in built(kind).shapes:
        layer, _, leaf = name.rpartition(".")
        there = ending.format(layer) if name.startswith(HEADS[kind] + LAST[kind]) else layer
        plain[name] = params[f"{there}.{leaf}" + (".subtracted" if part == "born" and there != layer else "")]
    return plain


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_the_formula_of_three_plain_networks(kind):
    network, plain = built(kind, injection=True), built(kind)
    params = {name: param * 1.3 if name.endswith(".subtracted") else param for name, param in random_net(network).params.items()}
    (batch,) = batches(kind, 1, 1)
    x = batch["inputs"][0]
    h, h1, h2 = (plain.apply(as_injected(params, kind, part), x, **given(batch, 0))[0] for part in ("learned", "new", "born"))
    assert not torch.allclose(h1, h2)
    off, on = (network.apply(params | {"injection": torch.full((1,), gate)}, x, **given(batch, 0)) for gate in (0.0, 1.0))
    assert torch.equal(off[0], h)
    torch.testing.assert_close(on[0], h + h1 - h2, rtol=1e-10, atol=1e-12)
    units = plain.apply(as_injected(params, kind, "new"), x, **given(batch, 0))[1]
    for top in (name.removesuffix(".") for name in LAST[kind]):
        torch.testing.assert_close(on[1][f"{top}_injected"], units[top], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_born_as_the_network_without_it(kind):
    network = built(kind, injection=True)
    born, plain = network.init(generator(3)), built(kind).init(generator(3))
    assert all(torch.equal(born[name], param) for name, param in plain.items())
    added = born.keys() - plain.keys()
    copied = {name for name in added if name.endswith(".subtracted")}
    assert len(added) == 2 * len(copied) + 1 and born["injection"].tolist() == [0.0]
    for name in copied:
        new = name.removesuffix(".subtracted")
        assert torch.equal(born[name], born[new])
        assert new.endswith(("scale", "offset", "noise")) or not torch.equal(born[new], born[new.replace("_injected", "")])
    assert {name: param.shape for name, param in born.items()} == network.shapes and network.noise == built(kind).noise


@pytest.mark.parametrize("optimizer", [Adam(), SGD(momentum=0.9), RMSprop(), Adam(weight_decay=0.5, decayed="all")], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_until_the_injection_it_learns_as_if_it_were_not_there(kind, optimizer):
    """Weight decay of all parameters would move the waiting ones; only the gate is new."""
    learner, plain = (learn(chain, kind, 2, optimizer=optimizer) for chain in ((PlasticityInjection(),), ()))
    birth = copies(learner)
    for batch in batches(kind, 2, 4):
        for each in (learner, plain):
            each.update(RATE, batch)
        assert torch.equal(outputs(learner, batch), outputs(plain, batch))
    for name, param in plain.net.params.items():
        torch.testing.assert_close(learner.net.params[name], param, rtol=1e-12, atol=0)
    for name in learner.net.params.keys() - plain.net.params.keys():
        assert torch.equal(learner.net.params[name], birth[f"params/{name}"]), name


@pytest.mark.parametrize("optimizer", [Adam(), SGD(momentum=0.9), Adam(weight_decay=0.5, decayed="all")], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_new_head_trains_the_frozen_ones_do_not_and_outputs_follow(kind, optimizer):
    learner = learn((PlasticityInjection(),), kind, 2, optimizer=optimizer)
    data = batches(kind, 2, 6)
    for batch in data[:3]:
        learner.update(RATE, batch)
    before = [outputs(learner, data[0], member) for member in range(2)]
    encoder = {name for name in learner.net.params if "_injected" not in name and not frozen_by_injection(name, kind)}
    at_injection = copies(learner)
    learner.task_boundary()
    for member in range(2):
        assert torch.equal(outputs(learner, data[0], member), before[member])
    for batch in data[3:]:
        last = copies(learner)
        learner.update(RATE, batch)
        for name, param in learner.net.params.items():
            trained = not frozen_by_injection(name, kind)
            assert torch.equal(param, last[f"params/{name}"]) != trained, name
            assert name in encoder or name == "injection" or trained or torch.equal(param, at_injection[f"params/{name}"])
    assert learner.net.params["injection"].tolist() == [[1.0], [1.0]]
    assert all((outputs(learner, data[0], member) - before[member]).abs().max() > 1e-3 for member in range(2))


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_after_the_injection_are_those_of_the_formula(kind, clip):
    """Frozen parameters have no share in the gradient norm for clipping either."""
    learner = learn((PlasticityInjection(),), kind, 1, optimizer=SGD(clip_norm=clip))
    data = batches(kind, 1, 3)
    learner.update(RATE, data[0])
    learner.task_boundary()
    learner.update(RATE, data[1])
    batch = {name: tensor[0] for name, tensor in data[2].items()}
    plain, leaves = built(kind), {name: param.clone().requires_grad_() for name, param in learner.one(0).items()}

    class Formula:
        noise = plain.noise

        @staticmethod
        def apply(params: Params, x: torch.Tensor, **drawn: Any) -> tuple[torch.Tensor, Params]:
            h, h1, h2 = (plain.apply(as_injected(params, kind, part), x, **drawn)[0] for part in ("learned", "new", "born"))
            return h + h1 - h2, {}

    total, _ = loss(Formula(), leaves, batch)  # type: ignore[arg-type]
    total.backward()
    before = {name: param.clone() for name, param in learner.one(0).items()}
    learner.update(RATE, data[2])
    grads = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None and not frozen_by_injection(name, kind)}
    length = torch.cat([grad.flatten() for grad in grads.values()]).norm().item()
    rate = RATE * (1.0 if clip is None else clip / (length + 1e-6))
    assert clip is None or length > clip
    for name, param in learner.one(0).items():
        torch.testing.assert_close(param, before[name] - rate * grads.get(name, torch.zeros(())), rtol=1e-9, atol=1e-12)


def test_the_first_steps_of_the_new_head_are_a_learning_rate_long():
    """Adam counted the new head's updates while it waited: without a reset, its first step would be 3.15 times as long."""
    learner = learn((PlasticityInjection(),), "mlp", 1)
    data = batches("mlp", 1, 101)
    for batch in data[:100]:
        learner.update(RATE, batch)
    learner.task_boundary()
    before = learner.one(0)["head_injected.bias"].clone()
    learner.update(RATE, data[100])
    assert (learner.one(0)["head_injected.bias"] - before).abs().tolist() == [pytest.approx(RATE, rel=1e-4)] * 3


def test_the_second_refresh_does_nothing():
    learner, other = (learn((PlasticityInjection(),), "mlp", 2) for _ in range(2))
    data = batches("mlp", 2, 3)
    for each in (learner, other):
        each.update(RATE, data[0])
        each.task_boundary()
        each.update(RATE, data[1])
    learner.task_boundary()
    for each in (learner, other):
        each.update(RATE, data[2])
    assert all(torch.equal(tensor, copies(other)[name]) for name, tensor in copies(learner).items())


@pytest.mark.long
@needs_compiler
@of_torch_itself
def test_compiled_is_eager():
    spec, inputs, ends = SPECS["noisy"]
    chain = (PlasticityInjection(every=2, clock="update"),)
    network, optimizer = assemble(spec, Adam(), chain, inputs, ends)
    one, other = (
        Learner(network, lambda params, batch: loss(network, params, batch), optimizer, chain, 2, 0, compile=compile)
        for compile in (False, True)
    )
    for batch in batches("noisy", 2, 4):
        for each in (one, other):
            each.update(RATE, batch)
    torch.testing.assert_close(copies(other), copies(one), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("streams", [False, True])
def test_the_wiring_of_what_is_injected(streams):
    layers = Network(MLP(width=8, depth=2, injection=True), (5,), HeadSpec((("value", 1), ("advantage", 2)), streams)).layers
    ends = ("value", "advantage")
    last = {f"hidden1_{end}": (end,) for end in ends} if streams else {"hidden1": ends}
    injected = {f"{top}_injected": tuple(f"{end}_injected" for end in heads) for top, heads in last.items()}
    heads = {end: () for end in (*ends, *(f"{end}_injected" for end in ends))}
    assert {layer.name: layer.readers for layer in layers} == {"hidden0": (*last, *injected)} | last | injected | heads
    assert {layer.name: layer.beside for layer in layers if layer.beside} == {
        name: name.removesuffix("_injected") for name in (*injected, "value_injected", "advantage_injected")
    }
    assert [layer.name for layer in penultimate(layers)] == [*last, *injected]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_encoders_gradient_comes_from_what_waits(kind):
    network = built(kind, injection=True)
    (batch,) = batches(kind, 1, 1)
    for gate in (0.0, 1.0):
        params = {name: param.requires_grad_() for name, param in random_net(network).params.items()}
        features = network.apply(params | {"injection": torch.full((1,), gate)}, batch["inputs"][0], **given(batch, 0))[1]
        waiting = torch.stack([features[f"{top}injected"].sum() for top in (f"{name.removesuffix('.')}_" for name in LAST[kind])]).sum()
        grads = torch.autograd.grad(waiting, list(params.values()), materialize_grads=True)
        reached = {name for name, grad in zip(params, grads, strict=True) if grad.any()}
        assert bool(reached) == bool(gate) and (not gate or any("_injected" not in name for name in reached))


@pytest.mark.parametrize("other", [Reset(part="network"), Reset(part="heads"), ReDo(clock="task", every=1, tau=0.5)], ids=str)
@pytest.mark.parametrize("first", [False, True])
def test_what_another_method_does_at_the_same_boundary_leaves_the_new_head_as_it_was_born(other, first):
    chain = (PlasticityInjection(), other) if first else (other, PlasticityInjection())
    learner = learn(chain, "mlp", 2)
    birth, data = copies(learner), batches("mlp", 2, 2)
    learner.update(RATE, data[0])
    learner.task_boundary()
    learned = copies(learner)
    for name in ("head.weight", "hidden2.bias"):
        new = name.replace(".", "_injected.")
        assert torch.equal(learned[f"params/{name}"], learner.states[chain.index(PlasticityInjection())][name])
        assert torch.equal(learned[f"params/{new}.subtracted"], birth[f"params/{new}"])
    if not first:
        assert torch.equal(learned["params/head_injected.weight"], birth["params/head_injected.weight"])


def test_other_methods_know_the_new_head_and_leave_the_frozen_ones():
    chain = (NormalizeAndProject(), ReDo(every=2, tau=0.3), WeightDecay(strength=0.1), L2(strength=0.1), PlasticityInjection())
    learner = learn(chain, "convolutions", 2)
    lengths = learner.net.params["hidden3_injected.weight"].flatten(1).norm(dim=1)
    data = batches("convolutions", 2, 5)
    for batch in data[:2]:
        learner.update(RATE, batch)
    learner.task_boundary()
    frozen = {name: param.clone() for name, param in learner.net.params.items() if frozen_by_injection(name, "convolutions")}
    for batch in data[2:]:
        learner.update(RATE, batch)
    assert all(torch.equal(learner.net.params[name], param) for name, param in frozen.items())
    assert all(tensor.isfinite().all() for tensor in learner.tensors().values())
    torch.testing.assert_close(learner.net.params["hidden3_injected.weight"].flatten(1).norm(dim=1), lengths, rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"every": 0}, "every must lie in [1, inf), not 0"),
        ({"every": math.nan}, "every must be a whole number, not nan"),
        ({"clock": "update"}, "clock=update needs every, the number of updates between two refreshes"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        PlasticityInjection(**fields)
    assert str(raised.value) == f"PlasticityInjection: {message}"


def test_what_never_learns_has_no_gradient_and_no_optimizer():
    learner = learn((PlasticityInjection(), SpectralNorm()), "mlp", 2, optimizer=Adam(weight_decay=0.5, decayed="all"))
    names, held = set(learner.net.params), learner.network.non_trainable
    assert held == {name for name in names if name == GATE or name.endswith((".subtracted", ".left", ".right"))}
    assert len(held) > 3 and held < names
    assert all(set(optimizer_state) == names - held for optimizer_state in learner.net.slots.values())
