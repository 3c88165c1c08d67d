"""The learner against plain PyTorch loops: shared and separate state of members, and when refreshes are due."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plasticity_rl.interventions import (
    ContinualBackprop,
    L2Init,
    LayerNorm,
    NoisyUpdates,
    NormalizeAndProject,
    ReDo,
    Refresh,
    RefreshContext,
    Reset,
    SelfNormalizedResets,
    ShrinkAndPerturb,
)
from plasticity_rl.interventions.base import State
from plasticity_rl.interventions.chain import uniform_age
from plasticity_rl.networks.layers import Layers, Params
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.adamo import AdamO
from plasticity_rl.optim.optimizers import SGD, UPGD, Adam, Muon, Net, RAdam, RMSprop
from plasticity_rl.optim.schedule_free import ScheduleFree
from plasticity_rl.training.learner import MAX_FUSED_UPDATES, Learner
from tests.learners import assert_same
from tests.plasticity_rl.training.learners import OUTPUTS, batches, copies, learn, loss


@dataclass(frozen=True)
class Witness(Refresh):
    """A refresh that records its last inputs and changes nothing."""

    mark: int = 0
    """distinguishes them in a chain"""

    default_every: ClassVar[dict[str, int]] = {"update": 1, "task": 1}

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        return {name: torch.zeros_like(param) for name, param in params.items()}

    def refresh(self, net: Net, state: State, evidence: RefreshContext, layers: Layers) -> tuple[Net, State]:
        return net, evidence.fresh


@dataclass(frozen=True)
class Souvenir(Witness):
    """A refresh that keeps the old parameters."""

    def refresh(self, net: Net, state: State, evidence: RefreshContext, layers: Layers) -> tuple[Net, State]:
        return net._replace(params=evidence.fresh), net.params


# Against plain PyTorch


def modules(norm: str) -> nn.Sequential:
    stages, size = [], 5
    for _ in range(2):
        stages += [nn.Linear(size, 8, bias=norm == "none"), nn.LayerNorm(8) if norm == "layer" else nn.Identity(), nn.ReLU()]
        size = 8
    return nn.Sequential(*stages, nn.Linear(size, OUTPUTS))


@pytest.mark.parametrize(("norm", "chain"), [("none", ()), ("layer", (LayerNorm(),))])
def test_lifted_training_is_a_loop_of_plain_trainings(double, norm, chain):
    learner = learn(chain, members=3)
    data = batches(learner, 20)
    rates = [1e-2 * 0.9**step for step in range(20)]
    loops = [modules(norm) for _ in range(3)]
    for member, module in enumerate(loops):
        module.load_state_dict(dict(zip(module.state_dict(), learner.one(member).values(), strict=True)))
    optimizers = [torch.optim.Adam(module.parameters()) for module in loops]
    for rate, batch in zip(rates, data, strict=True):
        reported = learner.update(rate, batch)
        for member, (module, optimizer) in enumerate(zip(loops, optimizers, strict=True)):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            logits = module(batch["inputs"][member])
            value = F.cross_entropy(logits, batch["labels"][member])
            value.backward()
            optimizer.step()
            assert reported["loss"][member].item() == pytest.approx(value.item(), rel=1e-9)
            assert reported["accuracy"][member].item() == (logits.argmax(-1) == batch["labels"][member]).float().mean().item()
    for member, module in enumerate(loops):
        for ours, theirs in zip(learner.one(member).values(), module.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs.data, rtol=1e-6, atol=1e-9)


def test_the_reported_loss_is_the_agents_without_penalties(double):
    plain, penalised = learn(), learn((L2Init(strength=10.0),))
    data = batches(plain, 2)
    for learner in (plain, penalised):
        learner.update(1e-2, data[0])
    birth = learn()
    drift = [sum((p - birth.one(m)[n]).square().sum().item() for n, p in penalised.one(m).items()) for m in range(2)]
    before = [loss(penalised.network, penalised.one(m), {n: t[m] for n, t in data[1].items()})[0].item() for m in range(2)]
    reported = penalised.update(1e-2, data[1])["loss"].tolist()
    assert min(drift) > 1e-4
    assert reported == pytest.approx(before, rel=1e-12)


def test_what_is_measured_is_the_update_alone_and_measuring_changes_nothing(double):
    refreshed, plain, unmeasured = (learn(chain) for chain in ((Reset(clock="update", every=1, part="network"),), (), ()))
    before, (batch,) = copies(plain), batches(plain, 1)
    reported = [refreshed.update(1e-2, batch, measure=True), plain.update(1e-2, batch, measure=True)]
    layers = ("hidden0", "hidden1", "head")
    kinds = ("gradient_l0", "gradient_l1", "gradient_l2", "update_norm", "effective_learning_rate")
    named = [f"{kind}/{layer}" for kind in kinds for layer in layers]
    named[9:9] = [f"gradient_dormant_fraction/{layer}" for layer in layers[:2]]
    assert list(reported[1]) == ["loss", "accuracy", *named]
    assert list(unmeasured.update(1e-2, batch)) == ["loss", "accuracy"]
    assert_same(copies(plain), copies(unmeasured))
    for layer in layers:
        name, weight = f"effective_learning_rate/{layer}", f"params/{layer}.weight"
        for member in range(2):
            old, new = (tensors[weight][member].flatten().tolist() for tensors in (before, copies(plain)))
            by_hand = sum((n - o) ** 2 for n, o in zip(new, old, strict=True)) ** 0.5 / sum(o**2 for o in old) ** 0.5
            assert [each[name][member].item() for each in reported] == pytest.approx([by_hand, by_hand], rel=1e-9)


def test_extra_arguments_reach_the_loss_of_their_member(double):
    network = Network(MLP(width=4, depth=1), (5,), OUTPUTS)

    def scaled(params: Params, batch: dict[str, Tensor], scale: Tensor, target: Params) -> tuple[Tensor, dict[str, Tensor]]:
        outputs, aim = network.apply(params, batch["inputs"])[0], network.apply(target, batch["inputs"])[0]
        return scale * (outputs - aim).square().sum(), {}

    learner = Learner(network, scaled, SGD(), (), 3, 0, compile=False)
    target, scale = learner.fresh("target"), torch.tensor([0.0, 1.0, 2.0])
    (batch,) = batches(learner, 1)
    before = copies(learner)
    learner.update(1e-3, batch, scale, target)
    for member in range(3):
        leaves = {name: before[f"params/{name}"][member].requires_grad_() for name in network.shapes}
        mine = {name: param[member] for name, param in target.items()}
        value, _ = scaled(leaves, {"inputs": batch["inputs"][member]}, scale[member], mine)
        for name, grad in zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True):
            torch.testing.assert_close(learner.one(member)[name], leaves[name].detach() - 1e-3 * grad, rtol=1e-10, atol=1e-12)
    assert all(torch.equal(learner.one(0)[name], before[f"params/{name}"][0]) for name in network.shapes)


# Storage, members, streams


def test_every_tensor_stays_where_it_was_allocated():
    chain = (NormalizeAndProject(), L2Init(), ReDo(every=2, tau=0.5), ShrinkAndPerturb(), Reset())
    learner = learn(chain)
    places = {name: tensor.data_ptr() for name, tensor in learner.tensors().items()}
    net, states = learner.net, learner.states
    before = copies(learner)
    for batch in batches(learner, 4):
        learner.update(1e-2, batch)
    assert all(not torch.equal(before[f"params/{name}"], param) for name, param in net.params.items())
    learner.task_boundary()
    assert {name: tensor.data_ptr() for name, tensor in learner.tensors().items() if name != "inputs"} == places
    assert learner.net is net and learner.states is states
    assert len(set(places.values())) == len(places)


def test_a_member_is_the_same_whoever_trains_beside_it(double):
    chain = (NormalizeAndProject(), ReDo(every=2, tau=0.5), ShrinkAndPerturb(shrink=0.9, perturb=0.1))
    few, many = learn(chain, members=2), learn(chain, members=4)
    for batch in batches(many, 5):
        many.update(1e-2, batch)
        few.update(1e-2, {name: tensor[:2] for name, tensor in batch.items()})
    few.task_boundary()
    many.task_boundary()
    for name, tensor in few.tensors().items():
        torch.testing.assert_close(tensor, many.tensors()[name][:2], rtol=1e-9, atol=1e-12)


def test_members_and_seeds_differ_and_equal_ones_are_equal():
    one, again, other = learn(members=3), learn(members=3), learn(members=3, seed=1)
    assert_same(copies(one), copies(again))
    everyone = [*(one.one(m) for m in range(3)), *(other.one(m) for m in range(3))]
    for name in ("hidden0.weight", "hidden1.bias", "head.weight"):
        assert len({tuple(params[name].flatten().tolist()) for params in everyone}) == 6


def test_a_fresh_network_depends_on_seed_member_and_purpose_alone():
    learner = learn(members=3)
    first = learner.fresh("reset", 7)
    learner.update(1e-2, batches(learner, 1)[0])
    torch.rand(5)
    learner.fresh("another")
    assert_same(learner.fresh("reset", 7), first)
    assert_same(learn((Reset(),), members=5).fresh("reset", 7), {n: learn(members=5).fresh("reset", 7)[n] for n in first})
    assert_same({n: p[:3] for n, p in learn(members=5).fresh("reset", 7).items()}, first)
    others = [learner.fresh("reset", 8), learner.fresh("redo", 7), learner.fresh("reset"), learn(members=3, seed=1).fresh("reset", 7)]
    for fresh in (*others, dict(learner.net.params)):
        assert all(not (fresh[name] == first[name]).flatten(1).all(1).any() for name in first)
    assert all(len({tuple(each.flatten().tolist()) for each in first[name]}) == 3 for name in first)


def test_another_intervention_does_not_shift_the_fresh_networks_of_the_first():
    alone = learn((Witness(every=2),))
    accompanied = learn((Reset(clock="update", every=1), ReDo(every=1), Witness(every=2), ShrinkAndPerturb(clock="update", every=1)))
    for learner in (alone, accompanied):
        for batch in batches(learner, 2):
            learner.update(1e-2, batch)
    assert_same(alone.states[0], accompanied.states[2])
    assert alone.states[0]["head.weight"].all()


def test_each_refresh_has_a_fresh_network_of_its_own():
    learner = learn((Witness(), Witness(mark=1), Witness(clock="task")))
    seen = []
    for batch in batches(learner, 2):
        learner.update(1e-2, batch)
        learner.task_boundary()
        seen += [tuple(state["head.weight"].flatten().tolist()) for state in learner.states]
    assert len(set(seen)) == 6


@pytest.mark.parametrize("members", [1, 2])
def test_a_state_made_of_replaced_parameters_holds_them_as_they_were(members):
    learner, plain = learn((Souvenir(),), members=members), learn(members=members)
    (batch,) = batches(learner, 1)
    for each in (learner, plain):
        each.update(1e-2, batch)
    assert_same(learner.states[0], plain.net.params)
    assert_same(learner.net.params, learner.fresh("Souvenir", 0, "update", 1))


def test_the_clocks_count_apart():
    chain = (Reset(clock="update", every=2), ReDo(clock="task", every=3), LayerNorm())
    learner = learn(chain)
    dues = []
    for batch in batches(learner, 4):
        learner.update(1e-2, batch)
        learner.task_boundary()
        dues.append((learner.due("update"), learner.due("task")))
    assert dues == [((), ()), (chain[:1], ()), ((), chain[1:2]), (chain[:1], ())]


def test_features_are_each_members_own():
    learner = learn((NormalizeAndProject(),), members=3)
    (batch,) = batches(learner, 1)
    features = learner.features(learner.net.params, batch["inputs"])
    for member in range(3):
        alone = learner.network.apply(learner.one(member), batch["inputs"][member])[1]
        for name, units in alone.items():
            torch.testing.assert_close(features[name][member], units, rtol=1e-5, atol=1e-6)


def test_the_rate_is_each_updates_own():
    learner = learn(optimizer=SGD())
    before, (batch,) = copies(learner), batches(learner, 1)
    learner.update(0.0, batch)
    assert_same(
        {n: t for n, t in copies(learner).items() if n.startswith("params/")}, {n: before[n] for n in before if n.startswith("params/")}
    )
    small, large = learn(optimizer=SGD()), learn(optimizer=SGD())
    small.update(1e-3, batch)
    large.update(2e-3, batch)
    for name, start in before.items():
        if name.startswith("params/"):
            torch.testing.assert_close(large.tensors()[name] - start, 2 * (small.tensors()[name] - start), rtol=1e-3, atol=1e-7)


AGED = [Adam(), RAdam(), RMSprop(), UPGD(), Muon(), AdamO(), ScheduleFree()]


@pytest.mark.parametrize("optimizer", AGED, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("part", ["network", "heads", "optimizer"])
def test_one_age_a_tensor_is_the_age_of_each_of_its_weights(optimizer, part):
    reset = Reset(clock="update", every=3, part=part)
    whole, each = learn((reset,), optimizer=optimizer), learn((reset, ReDo(every=1000)), optimizer=optimizer)
    assert uniform_age(whole.chain) and not uniform_age(each.chain)
    for batch in batches(whole, 5):
        for learner in (whole, each):
            learner.update(0.01, batch)
    assert_same(whole.net.params, each.net.params)
    for slot, optimizer_state in whole.net.slots.items():
        for name, tensor in optimizer_state.items():
            assert torch.equal(tensor.expand_as(each.net.slots[slot][name]), each.net.slots[slot][name])
            assert (tensor.numel() == 2) == (slot in optimizer.ages or each.net.slots[slot][name].numel() == 2)


def test_methods_that_could_forget_single_weights_keep_each_ones_age():
    assert all(uniform_age((each,)) for each in (L2Init(), NormalizeAndProject(), LayerNorm(), Reset(), ShrinkAndPerturb()))
    assert not any(uniform_age((Reset(), each)) for each in (ReDo(every=1), ContinualBackprop(), SelfNormalizedResets(), Witness(every=1)))


@pytest.mark.parametrize("members", [1, 3, 64])
def test_updates_in_a_row_are_those_made_one_by_one(members: int) -> None:
    """64 members are two blocks, each of which makes all updates before the other begins."""
    chain = (NoisyUpdates(), L2Init(), SelfNormalizedResets(every=4))
    one, other = (learn(chain, members=members) for _ in range(2))
    given, rates = batches(one, 8), [1e-2 * (place + 1) for place in range(8)]
    singly = [one.update(rate, batch) for rate, batch in zip(rates, given, strict=True)]
    assert other.ahead == 4
    in_rows = [reported for at in (0, 4) for reported in other.updates(rates[at : at + 4], given[at : at + 4])]
    assert_same(one.tensors(), other.tensors())
    assert one.ticks == other.ticks and torch.equal(one.rate, other.rate)
    for mine, theirs in zip(singly, in_rows, strict=True):
        assert_same(mine, theirs)


def test_a_row_ends_at_the_next_refresh() -> None:
    learner = learn((ReDo(every=3), Reset(clock="task", every=1)))
    learner.update(1e-3, batches(learner, 1)[0])
    assert learner.ahead == 2
    with pytest.raises(AssertionError, match="in between"):
        learner.updates([1e-3] * 3, batches(learner, 3))
    assert learn((L2Init(),)).ahead == MAX_FUSED_UPDATES
