"""Laws that hold for every intervention.

Everything is computed in double precision, so that a difference is a fault.
"""

import dataclasses
import importlib
import pkgutil
import typing
from functools import partial

import pytest
import torch

from plasticity_rl import interventions
from plasticity_rl.experiment import word
from plasticity_rl.interventions import (
    AdamRel,
    DynamicSparsity,
    EffectiveRank,
    Intervention,
    NormalizeAndProject,
    NormConstraint,
    PlasticityInjection,
    ReDo,
    Refresh,
    RefreshContext,
    Reset,
    Wasserstein,
    assemble,
)
from plasticity_rl.interventions.chain import purpose_of
from plasticity_rl.networks.activations import HOMOGENEOUS
from plasticity_rl.networks.layers import KEY, select
from plasticity_rl.noise import key, normals
from plasticity_rl.optim.optimizers import Adam, Net
from plasticity_rl.records.checkpoint import load_latest, save
from plasticity_rl.records.events import Snapshot
from plasticity_rl.seeds import derive
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.lift import lift, stack
from tests.learners import (
    MEMBERS,
    RATE,
    SPECS,
    STRUCTURAL,
    assert_same,
    batches,
    copies,
    due,
    evidence_for,
    generator,
    law,
    learn,
    length,
    loss,
    random_like,
    random_net,
    seen,
)
from tests.refreshes import NAMED, frozen_by_injection

pytestmark = pytest.mark.usefixtures("double")
structural_law = partial(law, kinds=STRUCTURAL)


def test_the_laws_are_stated_for_the_whole_table_of_contents():
    exported = {each for each in vars(interventions).values() if isinstance(each, type) and issubclass(each, Intervention)}
    assert {type(each) for each in MEMBERS} == exported - {Intervention, Refresh}
    files = [file.name for file in pkgutil.iter_modules(interventions.__path__) if file.name not in ("base", "chain", "recycling", "scope")]
    written = [vars(importlib.import_module(f"{interventions.__name__}.{file}")).values() for file in files]
    shared = {Intervention, Refresh}
    assert exported - shared <= {each for values in written for each in values if isinstance(each, type)}
    assert len(files) == len(exported - shared)
    for kind, field in ((Reset, "part"), (NormalizeAndProject, "scale_and_offset")):
        stated = [getattr(each, field) for each in MEMBERS if isinstance(each, kind)]
        assert sorted(stated) == sorted(typing.get_args(typing.get_type_hints(kind)[field]))


@law
def test_lifted_is_a_loop_over_members(intervention, kind, members):
    intervention = due(intervention, "update", 2)
    learner = learn((intervention,), kind, members)
    updates = 5 if kind == "mlp" else 3  # a refresh and an update after it; on the cheapest kind also after the fourth and fifth
    network, optimizer, data = learner.network, learner.optimizer, batches(kind, members, updates)
    births = [{name: param.clone() for name, param in learner.one(m).items()} for m in range(members)]
    ones = [Net(params, optimizer.init(params)) for params in births]
    purpose = ("state", type(intervention).__name__, 0)
    states = [intervention.init(net.params, network.layers, learner.draw(m, *purpose)) for m, net in enumerate(ones)]
    for count, batch in enumerate(data, start=1):
        learner.update(RATE, batch)
        for m in range(members):
            mine = {name: tensor[m] for name, tensor in batch.items()}
            leaves = {name: param.clone().requires_grad_() for name, param in ones[m].params.items()}
            number = derive(0, m, "noise", type(intervention).__name__, 0, count - 1)
            noise = normals(key([number])[0], network.shapes) if intervention.noisy else {}
            around = seen(network, mine)._replace(noise=noise)
            drawn = {KEY: key([derive(0, m, "noise", "activations", count - 1)])[0]} if network.draws else {}
            total = loss(network, leaves | drawn, mine)[0] + intervention.penalty(leaves, states[m], network.layers, around)
            grads = dict(zip(leaves, torch.autograd.grad(total, list(leaves.values()), materialize_grads=True), strict=True))
            net = optimizer.update(ones[m], grads, torch.tensor(RATE), network.layers)
            net, states[m] = intervention.after_step(net, states[m], grads, network.layers, around)
            params, states[m] = intervention.project(net.params, states[m], network.layers)
            if isinstance(intervention, Refresh) and count % 2 == 0:
                fresh = learner.fresh(type(intervention).__name__, 0, "update", count)
                features = network.apply(params, mine["inputs"])[1]
                evidence = RefreshContext({n: f[m] for n, f in fresh.items()}, features, seen(network, mine).apply)
                net, states[m] = intervention.refresh(net._replace(params=params), states[m], evidence, network.layers)
                params, states[m] = intervention.project(net.params, states[m], network.layers)
            ones[m] = net._replace(params=params)
    for m in range(members):
        expected = {f"params/{n}": p for n, p in ones[m].params.items()} | {f"states/0/{n}": s for n, s in states[m].items()}
        optimizer_states = {slot: network.learned(optimizer_state) for slot, optimizer_state in ones[m].slots.items()}
        expected |= {
            f"slots/{slot}/{n}": tensor for slot, optimizer_state in optimizer_states.items() for n, tensor in optimizer_state.items()
        }
        found = {name: tensor[m] for name, tensor in copies(learner).items()}
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@partial(structural_law, over=[each for each in MEMBERS if not isinstance(each, Refresh)])
def test_without_a_refresh_a_task_boundary_changes_nothing(intervention, kind, members):
    learner = learn((intervention,), kind, members)
    learner.update(RATE, batches(kind, members, 1)[0])
    before = copies(learner)
    learner.task_boundary()
    assert_same(copies(learner), before)
    assert learner.due("update") == learner.due("task") == ()


REFRESHES = [each for each in MEMBERS if isinstance(each, Refresh)]


# Wasserstein and DynamicSparsity act between refreshes: test_l2.py, test_dynamic_sparsity.py
@partial(structural_law, over=[each for each in REFRESHES if not isinstance(each, Wasserstein | DynamicSparsity)])
@pytest.mark.parametrize("clock", ["update", "task"])
def test_nothing_changes_when_not_due(intervention, kind, members, clock):
    with_it, without = learn((due(intervention, clock, 3),), kind, members), learn((), kind, members, **intervention.build())
    data = batches(kind, members, 4)
    for learner in (with_it, without):
        learner.update(RATE, data[0])
    for count in (1, 2, 3):
        for learner in (with_it, without):
            if clock == "task":
                learner.task_boundary()
            elif count > 1:
                learner.update(RATE, data[count])
        assert with_it.due(clock) == (with_it.chain if count == 3 else ())
        if count < 3:  # a method's own counters may change
            assert_same({name: tensor for name, tensor in copies(with_it).items() if not name.startswith("states/")}, copies(without))
    changed, plain = copies(with_it), copies(without)
    assert any(not torch.equal(changed[name], plain[name]) for name in plain)


FREE = [
    *(each for each in MEMBERS if not each.needs_layer_graph or (isinstance(each, Refresh) and not each.needs_fresh)),
    NormConstraint(part="all"),
]


@partial(law, over=FREE)
def test_what_a_method_says_that_it_does_not_look_at_makes_no_difference(intervention, kind, members):
    """Heads, readers, activations and units for a method without `needs_layer_graph`; a fresh network for one without `needs_fresh`."""
    network = learn((intervention,), kind, 1).network
    net, grads = random_net(network, members), random_like(random_net(network).params, 5)
    evidence, around = evidence_for(network, net), seen(network, draw=generator(3))
    bare = (
        network.layers
        if intervention.needs_layer_graph
        else tuple(layer._replace(readers=(), columns=1, activation=None, shared=False, copies=1) for layer in network.layers)
    )
    found = []
    for layers in (network.layers, bare):
        blind = layers is bare and not intervention.needs_layer_graph
        apply = (lambda params, raw=False: (around.apply(params, raw)[0], {})) if blind else around.apply
        sight, given = around._replace(apply=apply), evidence._replace(features={}) if blind else evidence
        if layers is bare and isinstance(intervention, Refresh) and not intervention.needs_fresh:
            given = given._replace(fresh={})
        state = intervention.init(net.params, layers, generator(2))
        total = intervention.penalty(net.params, state, layers, sight)
        after, state = intervention.after_step(net, state, grads, layers, sight)
        if isinstance(intervention, Refresh):
            after, state = intervention.refresh(after, state, given, layers)
        params, state = intervention.project(after.params, state, layers)
        found.append(({"": total}, params, state, *after.slots.values()))
    for one, other in zip(*found, strict=True):
        assert_same(one, other)


def test_which_methods_go_with_any_module() -> None:
    free = {word(each).partition(":")[0] for each in FREE if not each.needs_layer_graph}
    penalties = {"l2", "l2-init", "wasserstein", "spectral", "churn", "born-again"}
    weights = {"noisy-updates", "soft-reset", "weight-clipping", "norm-constraint", "dash", "fire", "selective-weight-reinitialization"}
    assert free == penalties | weights | {"shrink-and-perturb", "hare-and-tortoise", "reset", "trac", "adam-rel"}


@structural_law
def test_storage_is_kept_and_every_parameter_still_trains(intervention, kind, members):
    learner = learn((due(intervention, "task", 1),), kind, members)
    data = batches(kind, members, 3)
    places = {name: (tensor.data_ptr(), tensor.shape) for name, tensor in learner.tensors().items()}
    learner.update(RATE, data[0])
    learner.task_boundary()
    before = copies(learner)
    learner.update(RATE, data[1])
    assert {name: (tensor.data_ptr(), tensor.shape) for name, tensor in learner.tensors().items() if name != "inputs"} == places
    held = {"scale", "offset"} if getattr(intervention, "scale_and_offset", None) == "frozen" else set()
    for name, param in learner.net.params.items():
        if isinstance(intervention, PlasticityInjection) and frozen_by_injection(name, kind):
            assert torch.equal(param, before[f"params/{name}"])
            continue
        for slot, optimizer_state in learner.net.slots.items() if name not in learner.network.non_trainable else ():
            assert optimizer_state[name].shape in (param.shape, (members, *(1,) * (param.ndim - 1))), (slot, name)
            assert (optimizer_state[name] != before[f"slots/{slot}/{name}"]).flatten(1).any(1).all(), (slot, name)
        moved = (param != before[f"params/{name}"]).flatten(1).any(1)
        assert moved.all() != (name.rpartition(".")[2] in held), name


# where DynamicSparsity grows at random hangs on the fresh network, and what EffectiveRank steps along: tests of their own
@partial(law, over=[each for each in REFRESHES if getattr(each, "grow", None) != "random" and not isinstance(each, EffectiveRank)])
def test_a_refresh_changes_exactly_what_it_names(intervention, kind, members):
    network = learn((intervention,), kind, 1).network
    nets = [random_net(network, seed) for seed in range(members)]
    evidence = [evidence_for(network, net, seed) for seed, net in enumerate(nets)]
    states = []
    for seed, net in enumerate(nets):
        state = intervention.init(network.init(generator(seed)), network.layers, generator(seed))
        for step in range(3):  # so that every update's counters are filled
            around = seen(network, draw=generator(10 * seed + step))
            state = intervention.after_step(net, state, random_like(net.params, 10 * seed + step), network.layers, around)[1]
        states.append(state)
    refresh = lift(lambda net, state, *evidence: intervention.refresh(net, state, RefreshContext(*evidence), network.layers))
    after, _ = refresh(stack(nets), stack(states), stack([each.fresh for each in evidence]), stack([each.features for each in evidence]))
    for member, net in enumerate(nets):
        params, optimizer_state = NAMED[type(intervention)](intervention, net, states[member], evidence[member].features, kind)
        for name, old in net.params.items():
            assert torch.equal(after.params[name][member] != old, params[name]), name
            for slot in net.slots:
                new, old = after.slots[slot][name][member], net.slots[slot][name]
                named = optimizer_state[name] & (slot.startswith("seen") or not isinstance(intervention, AdamRel))  # ages alone
                assert torch.equal(new != old, named) and not new[named].any(), (slot, name)
        everything, nothing = (all(mask.all() for mask in params.values()), not any(mask.any() for mask in params.values()))
        assert not isinstance(intervention, ReDo) or not (everything or nothing)


# AdamRel keeps averages and forgets their count, on purpose, and DynamicSparsity's absent weights do not move
STEADY = [each for each in REFRESHES if not each.build() and not isinstance(each, AdamRel | DynamicSparsity)]


@pytest.mark.parametrize(
    "intervention",
    [each for each in STEADY if type(each).penalty is Intervention.penalty],
    ids=word,
)
def test_after_a_refresh_newborn_and_surviving_weights_take_steps_of_one_learning_rate(intervention):
    """With a constant gradient each of Adam's steps is one learning rate, unless an average or its correction is wrongly kept or lost."""

    def total(params, batch):  # every second unit has a tenth of the others' gradient, so that methods find some to recycle
        return sum((param.movedim(0, -1) * (1 + 9 * (torch.arange(len(param)) % 2))).sum() for param in params.values()), {}

    chain, (spec, inputs, ends) = (due(intervention, "update", 20),), SPECS["mlp"]
    network, optimizer = assemble(spec, Adam(), chain, inputs, ends)
    learner = Learner(network, total, optimizer, chain, 2, 0, compile=False)
    for batch in batches("mlp", 2, 24):
        before = copies(learner)
        learner.update(1e-3, batch)
        if learner.due("update"):
            name = type(intervention).__name__
            refreshed = learner.refresh_counts[f"weights_refreshed/{name}"]
            assert (refreshed > 0).all() != (getattr(intervention, "part", None) == "optimizer")
            continue
        for name, param in learner.net.params.items():
            torch.testing.assert_close(before[f"params/{name}"] - param, torch.full_like(param, 1e-3), rtol=1e-7, atol=0)


@structural_law
def test_its_state_survives_a_checkpoint(intervention, kind, members, tmp_path):
    chain = (due(intervention, "update", 2),)
    learner, other = learn(chain, kind, members), learn(chain, kind, members, seed=1)
    for batch in batches(kind, members, 3):
        learner.update(RATE, batch)
    save(tmp_path, 3, Snapshot(learner.tensors(), {"ticks": learner.ticks}))
    snapshot, problems = load_latest(tmp_path)
    assert snapshot is not None and problems == []
    state = {name: tensor for name, tensor in learner.tensors().items() if name.startswith("states/0/")}
    assert list(state) == [f"states/0/{name}" for name in intervention.init(learner.one(0), learner.network.layers, generator())]
    other.load(snapshot.tensors, snapshot.counters["ticks"])
    assert_same(other.tensors(), learner.tensors())
    assert other.ticks == {"update": 3, "task": 0}


@partial(
    law,
    over=[
        each
        for each in MEMBERS
        if type(each).project is Intervention.project
        and each.build().get("norm", "layer") == "layer"
        and each.build().get("activation", "relu") in HOMOGENEOUS  # as `joint` needs
    ],
)
def test_projections_have_the_last_word_whatever_the_order(intervention, kind, members):
    nap, other = NormalizeAndProject(), due(intervention, "update", 2)
    for chain in ((nap, other), (other, nap)):
        learner = learn(chain, kind, members)
        births, data = {layer.name: length(learner.net.params, layer.name) for layer in learner.network.layers}, batches(kind, members, 3)
        for count, batch in enumerate(data, start=1):
            learner.update(RATE, batch)
            if count == 3:
                learner.task_boundary()
            if count == 2 and isinstance(other, Refresh) and other.clears_replay:  # a new agent keeps the lengths of its own birth
                fresh = learner.fresh(*purpose_of(chain, chain.index(other)), "update", 2)
                births = {name: length(fresh, name) for name in births}
            for layer in select(learner.network.layers, "hidden"):
                now, then = length(learner.net.params, layer.name), births[layer.name]
                torch.testing.assert_close(now, then, rtol=1e-12, atol=0)
                if (kind, layer.name) != ("residual", "hidden0_2b"):  # its sum is read as it is
                    pair = torch.cat([learner.net.params[f"{layer.name}.{part}"] for part in ("scale", "offset")], 1).norm(dim=1)
                    torch.testing.assert_close(pair, torch.full((members,), layer.units**0.5), rtol=1e-12, atol=0)


@partial(structural_law, over=[each for each in MEMBERS if each.repeatable])
def test_two_of_a_kind_do_not_clash(intervention, kind, members):
    first = due(intervention, "update", 2)
    if isinstance(intervention, Refresh):
        second = due(intervention, "update", 4)
    else:
        field = next(each.name for each in dataclasses.fields(first) if isinstance(getattr(first, each.name), float))
        second = dataclasses.replace(first, **{field: 2 * getattr(first, field)})
    learner = learn((first, second), kind, members)
    one = learn((first,), kind, members)
    assert len(learner.states) == 2 and learner.states[0].keys() == learner.states[1].keys()
    assert len(learner.tensors()) == len(one.tensors()) + len(learner.states[1])
    for batch in batches(kind, members, 2):
        learner.update(RATE, batch)
    places = [tensor.data_ptr() for tensor in learner.tensors().values()]
    assert len(set(places)) == len(places)
    assert all(tensor.isfinite().all() for tensor in learner.tensors().values())
