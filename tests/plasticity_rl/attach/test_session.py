"""A chain and its diagnosis by hooks, against the three lines in a loop and against metrics by hand."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from plasticity_rl.attach import attach
from plasticity_rl.attach.chains import chain_of
from plasticity_rl.attach.diagnosis import Diagnosis, of_network
from plasticity_rl.attach.session import Session
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import L2Init, NormalizeAndProject, ReDo
from plasticity_rl.metrics.catalogue import METRICS
from tests.learners import batches
from tests.plasticity_rl.attach.test_attach import adam, mlp, step

pytestmark = pytest.mark.usefixtures("double")

CHAIN = ("l2-init:strength=0.2", "nap", "redo:tau=0.6,every=2")


def stepped(module: nn.Module, optimizer: torch.optim.Optimizer, session: Session, batch) -> dict[str, float]:
    optimizer.zero_grad()
    F.cross_entropy(module(batch["inputs"][0]), batch["labels"][0]).backward()
    session.before_step()
    optimizer.step()
    session.after_step()
    return session.metrics()


@pytest.mark.parametrize("single", ["redo", ReDo()])
def test_a_chain_of_one_is_a_tuple_too(single):
    with pytest.raises(UsageError, match=r"a chain is a tuple of methods, also of a single one: \(.*,\)"):
        chain_of(single)


def test_a_plan_says_what_it_has_done():
    module = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    plan = attach(module, optimizer, ("redo:tau=0.6,every=2", L2Init()), torch.randn(2, 5))
    for _ in range(5):
        optimizer.zero_grad()
        module(torch.randn(4, 5)).square().mean().backward()
        optimizer.step()
        plan.after_step()
    methods, layers, done = repr(plan).splitlines()
    assert methods.startswith("Plan: ReDo(") and "L2Init(" in methods and layers == "layers: '0' (8), '2' (2)"
    assert done == "5 updates, 0 task boundaries, ReDo refreshed 2 times"


def test_a_chain_in_words_by_hooks_is_the_three_lines():
    assert chain_of([*CHAIN, ReDo()]) == (L2Init(strength=0.2), NormalizeAndProject(), ReDo(tau=0.6, every=2), ReDo())
    module, other = mlp(norm=True), mlp(norm=True)
    optimizer, optimizer2 = adam(module), adam(other)
    plan = attach(module, optimizer, chain_of(CHAIN), torch.randn(2, 5))
    session, found = Session(other, optimizer2, chain_of(CHAIN), every=3), []
    for batch in batches("mlp", 1, 6):
        step(module, optimizer, plan, batch)
        found.append(stepped(other, optimizer2, session, batch))
    for one, two in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)
    assert [bool(each) for each in found] == [False, False, True] * 2 and session.updates == 6
    assert not session.diagnosis.note
    session.detach()
    assert not other._forward_pre_hooks and not optimizer2._optimizer_step_pre_hooks


def test_a_session_goes_on_from_its_state():
    data = batches("mlp", 1, 8)
    module = mlp(norm=True)
    optimizer = adam(module)
    session = Session(module, optimizer, chain_of(CHAIN), every=0)
    for batch in data[:5]:
        stepped(module, optimizer, session, batch)
    other = mlp(norm=True)
    optimizer2 = adam(other)
    again = Session(other, optimizer2, chain_of(CHAIN), every=0)
    again.load_state_dict(session.state_dict())  # before it is attached
    other.load_state_dict(module.state_dict())
    optimizer2.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for batch in data[5:]:
        stepped(module, optimizer, session, batch)
        stepped(other, optimizer2, again, batch)
    assert again.updates == 8
    assert all(torch.equal(one, two) for one, two in zip(module.parameters(), other.parameters(), strict=True))


def test_a_copy_and_passes_that_nothing_is_learned_of_are_not_seen():
    module = mlp()
    session = Session(module, adam(module), (), every=1)
    target = copy.deepcopy(module)
    target(torch.randn(4, 5))
    with torch.no_grad():
        module(torch.randn(4, 5))
    module.eval()
    module(torch.randn(4, 5))
    assert session.batch is None and session.metrics() == {} and session.after_step() == () and session.updates == 0
    module.train()
    module(x := torch.randn(4, 5))
    assert session.batch is not None and torch.equal(session.batch[0][0], x)


def test_metrics_by_hand():
    module, x = mlp(), torch.randn(40, 5)
    diagnosis = Diagnosis(module, fresh=lambda: mlp())
    with torch.no_grad():
        module[0].weight[1] = 0.0
        module[0].bias[1] = -1.0
        module[2].weight.mul_(2)
    module(x).square().mean().backward()
    found = diagnosis.measure((x,))
    first = module[1](module[0](x)).detach()
    second = module[3](module[2](first)).detach()
    for name, units in (("0", first), ("2", second)):
        share = units.abs().mean(0) / units.abs().mean()
        assert found[f"dormant_fraction/{name}"] == pytest.approx(float((share <= 0.1).double().mean()))
        assert found[f"dead_fraction/{name}"] == pytest.approx(float((units == 0).all(0).double().mean()))
        assert found[f"zero_fraction/{name}"] == pytest.approx(float((units == 0).double().mean()))
    assert found["dead_fraction/0"] >= 1 / 6 and found["dead_fraction"] == (found["dead_fraction/0"] + found["dead_fraction/2"]) / 2
    shares = (values := torch.linalg.svdvals(second)) / values.sum()
    assert found["effective_rank/2"] == pytest.approx(float(torch.special.entr(shares).sum().exp()), rel=1e-6)
    assert "effective_rank/0" not in found
    assert found["distance_from_birth/2"] == pytest.approx(found["weight_norm/2"] / 2)
    norms = [float(module[i].weight.detach().norm()) for i in (0, 2, 4)]
    assert found["weight_norm"] == pytest.approx(sum(norm**2 for norm in norms) ** 0.5)
    gradient = torch.cat([param.grad.flatten() for param in module[2].parameters()])
    assert found["gradient_l2/2"] == pytest.approx(float(gradient.norm()))
    fresh = mlp()
    assert found["weight_norm_fresh/2"] == pytest.approx(float(fresh[2].weight.detach().norm()))
    assert {name.partition("/")[0].removesuffix("_fresh") for name in found} <= METRICS.keys()
    assert of_network(found).keys() == {name for name in found if "/" not in name}


def test_measuring_changes_nothing():
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.norm, self.two = nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(F.dropout(F.relu(self.norm(self.one(x))), 0.5))

    module, x = Noisy(), torch.randn(7, 5)
    diagnosis = Diagnosis(module)
    before, state = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    assert "dormant_fraction/one" in diagnosis.measure((x,)) and "gradient_l2" not in diagnosis.measure((x,))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_where_layers_cannot_be_traced_weights_are_measured_and_a_note_says_why():
    module, x = nn.Sequential(nn.Linear(5, 4), nn.Softmax(-1), nn.Linear(4, 3)), torch.randn(7, 5)
    diagnosis = Diagnosis(module)
    found = diagnosis.measure((x,))
    assert "softmax" in diagnosis.note and {name.partition("/")[0] for name in found} == {
        *("weight_norm", "weight_norm_fresh", "distance_from_birth")
    }
    session = Session(module, adam(module), chain_of(["redo"]), every=1)
    with pytest.raises(UsageError, match=r"softmax .* which reads units of 0"):
        module(x)
    session.detach()


def test_arguments_by_name():
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, *, observations: torch.Tensor, scale: float = 1.0) -> dict[str, torch.Tensor]:
            return {"outputs": self.body(observations * scale)}

    module = Named()
    optimizer = adam(module)
    session = Session(module, optimizer, chain_of(["redo:every=1,tau=0.9"]), every=1)
    module(observations=torch.randn(4, 5), scale=2.0)["outputs"].sum().backward()
    optimizer.step()
    assert session.after_step() and session.metrics()["dormant_fraction"] >= 0
