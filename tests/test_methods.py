"""Each intervention beside a plain reading of its formula, and what chains of them do.

Everything is computed in double precision, so that a difference is a fault.
"""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import (
    Evidence,
    L2Init,
    LayerNorm,
    NormalizeAndProject,
    ReDo,
    Reset,
    ShrinkAndPerturb,
    WeightDecay,
    assemble,
)
from plasticity_rl.interventions.base import overwrite, select
from plasticity_rl.learner import Learner
from plasticity_rl.networks import MLP, Network
from plasticity_rl.optimizers import SGD, Adam, Net, RMSprop
from tests.learners import (
    BATCH,
    OUTPUTS,
    RATE,
    SPECS,
    assert_same,
    batches,
    columns_by_hand,
    copies,
    deaden,
    dormant_by_loops,
    evidence_for,
    generator,
    learn,
    loss,
    random_net,
)

pytestmark = pytest.mark.usefixtures("double")


# LayerNorm and WeightDecay


@pytest.mark.parametrize("kind", list(SPECS))
def test_layer_norm_builds_the_norm_and_nothing_else(kind):
    spec, inputs = SPECS[kind]
    network, optimizer = assemble(spec, Adam(), (LayerNorm(),), inputs, OUTPUTS)
    assert network.spec == dataclasses.replace(spec, norm="layer") and optimizer == Adam()


@pytest.mark.parametrize("decayed", ["weights", "all"])
def test_weight_decay_takes_rate_times_strength_of_each_weight(decayed):
    chain = (WeightDecay(strength=0.5, decayed=decayed),)
    network, optimizer = assemble(MLP(width=4, depth=1), SGD(), chain, (3,), 2)
    learner = Learner(network, lambda params, batch: (params["head.bias"].sum() * 0, {}), optimizer, chain, 2, 0, compile=False)
    before = copies(learner)
    learner.update(0.1, {"inputs": torch.zeros(2, 1, 3)})
    for name, param in learner.net.params.items():
        kept = 0.95 if decayed == "all" or name.endswith("weight") else 1.0
        torch.testing.assert_close(param, before[f"params/{name}"] * kept, rtol=1e-14, atol=0)


# L2Init


@pytest.mark.parametrize("kind", list(SPECS))
def test_l2_init_is_the_squared_distance_from_birth(kind):
    method, network = L2Init(strength=0.3), learn((L2Init(),), kind, 1).network
    birth = network.init(generator())
    state = method.init(birth, network.layers)
    params = {name: param.clone().requires_grad_() for name, param in random_net(network).params.items()}
    penalty = method.penalty(params, state, network.layers)
    by_hand = sum(
        (now - then) ** 2
        for name in params
        for now, then in zip(params[name].flatten().tolist(), birth[name].flatten().tolist(), strict=True)
    )
    assert penalty.item() == pytest.approx(0.3 * by_hand, rel=1e-9)
    for name, grad in zip(params, torch.autograd.grad(penalty, list(params.values())), strict=True):
        torch.testing.assert_close(grad, 0.6 * (params[name].detach() - birth[name]), rtol=1e-9, atol=1e-12)


def test_l2_init_pulls_toward_birth_whatever_was_reset_since():
    learner = learn((Reset(), L2Init(strength=0.25)), "mlp", 2, optimizer=SGD())
    birth = copies(learner)
    learner.update(RATE, batches("mlp", 2, 1)[0])
    learner.task_boundary()
    reset = copies(learner)
    assert not torch.equal(reset["params/head.weight"], birth["params/head.weight"])
    plain = learn((), "mlp", 2, optimizer=SGD())
    plain.load({name: tensor for name, tensor in reset.items() if not name.startswith("states/")}, plain.ticks)
    (batch,) = batches("mlp", 2, 1, seed=1)
    for each in (learner, plain):
        each.update(RATE, batch)
    for name, param in learner.net.params.items():
        pulled = plain.net.params[name] - RATE * 0.5 * (reset[f"params/{name}"] - birth[f"params/{name}"])
        torch.testing.assert_close(param, pulled, rtol=1e-10, atol=1e-12)


# NormalizeAndProject


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_the_length_of_a_hidden_weight_does_not_matter(kind, norm):
    network = learn((NormalizeAndProject(norm=norm),), kind, 1).network
    bare = learn((), kind, 1).network
    x = torch.randn(BATCH, *network.inputs, generator=generator())

    def shift(network: Network, weight: str) -> float:
        """How far the outputs go when that weight grows by half, relative to their size."""
        params = random_net(network).params
        before, after = (network.apply(p, x)[0] for p in (params, params | {weight: params[weight] * 1.5}))
        return ((after - before).norm() / before.norm()).item()

    for layer in network.layers:
        if layer.head:
            assert shift(network, layer.weight) > 0.05
        else:
            assert shift(network, layer.weight) < 1e-4  # all that is left is the norms' epsilon
            assert shift(bare, layer.weight) > 0.05


@pytest.mark.parametrize(("kind", "members"), [("mlp", 3), ("nature", 1)])
def test_hidden_lengths_stay_what_they_were_and_the_head_goes_free(kind, members):
    held, loose = learn((NormalizeAndProject(),), kind, members), learn((LayerNorm(),), kind, members)

    def lengths(learner: Learner, layer) -> torch.Tensor:
        return learner.net.params[layer.weight].flatten(1).norm(dim=1)

    birth = {layer.name: lengths(held, layer) for layer in held.network.layers}
    for batch in batches(kind, members, 50):
        for learner in (held, loose):
            learner.update(RATE, batch)
    for layer in held.network.layers:
        if layer.head:
            assert ((lengths(held, layer) / birth[layer.name] - 1).abs() > 0.005).all()
        else:
            torch.testing.assert_close(lengths(held, layer), birth[layer.name], rtol=1e-12, atol=0)
            assert ((lengths(loose, layer) / birth[layer.name] - 1).abs() > 0.005).all()


def test_scale_and_offset_by_hand():
    network = MLP(width=2, depth=1, norm="layer").build((2,), 1)
    params = network.init(generator()) | {"hidden0.scale": torch.tensor([3.0, 0.0]), "hidden0.offset": torch.tensor([0.0, -4.0])}
    root = 2**0.5 / 5  # (3, 0, 0, -4) has length 5, and is held at the root of 2 units
    expected = {
        "joint": ([3 * root, 0.0], [0.0, -4 * root]),
        "toward_init": ([2.5, 0.25], [0.0, -3.0]),
        "frozen": ([1.0, 1.0], [0.0, 0.0]),
    }
    for policy, (scale, offset) in expected.items():
        method = NormalizeAndProject(scale_and_offset=policy, pull=0.25)
        after, _ = method.project(params, method.init(params, network.layers), network.layers)
        assert after["hidden0.scale"].tolist() == pytest.approx(scale) and after["hidden0.offset"].tolist() == pytest.approx(offset)
        assert_same({n: after[n] for n in ("head.weight", "head.bias")}, {n: params[n] for n in ("head.weight", "head.bias")})
        torch.testing.assert_close(after["hidden0.weight"], params["hidden0.weight"], rtol=1e-14, atol=0)


def test_a_projection_leaves_the_direction_and_the_optimizers_memory():
    chain = (NormalizeAndProject(),)
    learner, free = learn(chain, "mlp", 1), learn((LayerNorm(),), "mlp", 1)
    (batch,) = batches("mlp", 1, 1)
    for each in (learner, free):
        each.update(RATE, batch)
    for layer in select(learner.network.layers, "hidden"):
        cosine = F.cosine_similarity(learner.net.params[layer.weight].flatten(), free.net.params[layer.weight].flatten(), dim=0)
        assert cosine.item() == pytest.approx(1, abs=1e-12)
    for slot, memory in learner.net.slots.items():
        torch.testing.assert_close(memory, free.net.slots[slot], rtol=1e-12, atol=0)


def test_a_joint_length_of_scale_and_offset_does_not_matter_before_another_norm():
    network = MLP(width=8, depth=2, norm="layer").build((5,), 3)
    params, x = random_net(network).params, torch.randn(BATCH, 5, generator=generator())
    longer = params | {name: params[name] * 1.5 for name in ("hidden0.scale", "hidden0.offset")}
    torch.testing.assert_close(network.apply(longer, x)[0], network.apply(params, x)[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("chain", [(NormalizeAndProject(norm="given"),), (WeightDecay(), NormalizeAndProject(norm="given"))], ids=repr)
def test_a_network_without_a_norm_cannot_be_projected(chain):
    with pytest.raises(UsageError, match="NormalizeAndProject needs a norm before every activation, and hidden0 has none"):
        assemble(MLP(), Adam(), chain, (3,), 2)


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_a_given_norm_is_taken(norm):
    assert assemble(MLP(norm=norm), Adam(), (NormalizeAndProject(norm="given"),), (3,), 2)[0].spec.norm == norm


@pytest.mark.parametrize("activation", ["gelu", "tanh"])
def test_joint_projection_needs_a_homogeneous_activation(activation):
    with pytest.raises(UsageError, match=rf"joint needs a homogeneous activation \(relu, leaky-relu\), and hidden0 has {activation}"):
        assemble(MLP(activation=activation), Adam(), (NormalizeAndProject(),), (3,), 2)
    for policy in ("toward_init", "frozen"):
        assemble(MLP(activation=activation), Adam(), (NormalizeAndProject(scale_and_offset=policy),), (3,), 2)


# Reset


@pytest.mark.parametrize(
    ("part", "clears_replay", "syncs_target"),
    [("everything", True, True), ("network", False, True), ("hidden", False, True), ("heads", False, True), ("optimizer", False, False)],
)
def test_what_a_reset_asks_of_the_agent(part, clears_replay, syncs_target):
    assert (Reset(part=part).clears_replay, Reset(part=part).syncs_target) == (clears_replay, syncs_target)


@pytest.mark.parametrize("part", ["everything", "network"])
def test_after_a_reset_of_everything_it_is_a_new_network_with_a_new_optimizer(part):
    learner = learn((Reset(part=part),), "mlp", 3)
    data = batches("mlp", 3, 6)
    for batch in data[:3]:
        learner.update(RATE, batch)
    learner.task_boundary()
    newborn = learn((), "mlp", 3)
    fresh = {f"params/{name}": param for name, param in learner.fresh("Reset", 0, "task", 1).items()}
    newborn.load(copies(newborn) | fresh, newborn.ticks)
    for batch in data[3:]:
        learner.update(RATE, batch)
        newborn.update(RATE, batch)
    assert_same(copies(learner), copies(newborn))


def test_a_reset_of_the_optimizer_is_torchs_new_optimizer():
    learner = learn((Reset(part="optimizer"),), "mlp", 1)
    data = batches("mlp", 1, 6)
    theirs = {name: torch.nn.Parameter(param[0].clone()) for name, param in learner.net.params.items()}
    for count, batch in enumerate(data):
        if count % 3 == 0:
            optimizer = torch.optim.Adam(theirs.values(), lr=RATE)
        if count == 3:
            learner.task_boundary()
        learner.update(RATE, batch)
        optimizer.zero_grad()
        loss(learner.network, dict(theirs), {name: tensor[0] for name, tensor in batch.items()})[0].backward()
        optimizer.step()
    for name, param in learner.net.params.items():
        torch.testing.assert_close(param[0], theirs[name].data, rtol=1e-8, atol=1e-10)


# ShrinkAndPerturb


@pytest.mark.parametrize("kind", list(SPECS))
@pytest.mark.parametrize("part", ["all", "hidden", "heads"])
def test_shrink_and_perturb_by_hand(kind, part):
    method, network = ShrinkAndPerturb(shrink=0.8, perturb=0.4, part=part), learn((), kind, 1).network
    net = random_net(network)
    evidence = evidence_for(network, net)
    after, _ = method.refresh(net, {}, evidence, network.layers)
    for name, old in net.params.items():
        touched = part == "all" or (part == "heads") == name.startswith("head.")
        for new, value, noise in zip(*(t.flatten()[:200].tolist() for t in (after.params[name], old, evidence.fresh[name])), strict=True):
            assert new == (pytest.approx(0.8 * value + 0.4 * noise, rel=1e-12, abs=1e-15) if touched else value)
    assert after.slots is net.slots


def test_shrink_and_perturb_leaves_a_fresh_networks_scales_at_their_start():
    network = MLP(norm="layer").build((3,), 2)
    net = Net(network.init(generator()), {})
    after, _ = ShrinkAndPerturb().refresh(net, {}, Evidence(network.init(generator(1)), {}), network.layers)
    assert (after.params["hidden0.scale"] == 1).all() and (after.params["hidden0.offset"] == 0).all()


# ReDo

DEAD = {"hidden0": (1, 4), "hidden1": (0, 7), "hidden2": (3, 5)}


def redo_by_loops(network: Network, net: Net, evidence: Evidence, tau: float) -> Net:
    """Sokar et al. 2023, one unit after the other: all incoming weights of all layers, then all outgoing ones."""
    params = {name: param.clone() for name, param in net.params.items()}
    slots = {slot: {name: tensor.clone() for name, tensor in memory.items()} for slot, memory in net.slots.items()}
    marked = dormant_by_loops(network, evidence.features, tau)
    for layer, units in marked.items():
        for unit in units:
            for name in params:
                if name.startswith(f"{layer}."):
                    params[name][unit] = 0.0 if name.endswith("bias") else evidence.fresh[name][unit]
                    for memory in slots.values():
                        memory[name][unit] = 0.0
    for layer, units in marked.items():
        for unit in units:
            for reader, columns in columns_by_hand(network, layer, unit).items():
                for tree in (params, *slots.values()):
                    tree[reader][:, columns] = 0.0
    return Net(params, slots)


@pytest.mark.parametrize("norm", ["none", "layer", "rms"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_redo_is_the_paper_unit_by_unit(kind, norm):
    spec, inputs = SPECS[kind]
    network = dataclasses.replace(spec, norm=norm).build(inputs, OUTPUTS)
    net = random_net(network)
    net = net._replace(params=deaden(network, net.params, DEAD))
    evidence = evidence_for(network, net)
    after, _ = ReDo(tau=0.3).refresh(net, {}, evidence, network.layers)
    expected = redo_by_loops(network, net, evidence, 0.3)
    torch.testing.assert_close(after.params, expected.params, rtol=1e-6, atol=0)
    torch.testing.assert_close(after.slots, expected.slots, rtol=1e-6, atol=0)
    for layer, units in DEAD.items():
        for unit in units:
            assert unit in dormant_by_loops(network, evidence.features, 0.3)[layer]


def test_a_recycled_unit_does_not_speak_even_to_a_recycled_reader():
    for kind, (spec, inputs) in SPECS.items():
        network = spec.build(inputs, OUTPUTS)
        net = random_net(network)
        net = net._replace(params=deaden(network, net.params, DEAD))
        after, _ = ReDo(tau=0.0).refresh(net, {}, evidence_for(network, net), network.layers)
        for layer, reader in (("hidden0", "hidden1"), ("hidden1", "hidden2")):
            for unit in DEAD[layer]:
                for recycled in DEAD[reader]:
                    weights = after.params[f"{reader}.weight"][recycled]
                    assert not weights[columns_by_hand(network, layer, unit)[f"{reader}.weight"]].any(), kind
                    assert weights.any()
                    assert after.params[f"{reader}.bias"][recycled] == 0


@pytest.mark.parametrize("kind", list(SPECS))
def test_recycling_silent_units_leaves_the_outputs_alone(kind):
    spec, inputs = SPECS[kind]
    network = spec.build(inputs, OUTPUTS)
    net = random_net(network)
    net = net._replace(params=deaden(network, net.params, DEAD))
    x = torch.randn(BATCH, *inputs, generator=generator(3))
    outputs, features = network.apply(net.params, x)
    after, _ = ReDo(tau=0.0).refresh(net, {}, Evidence(network.init(generator(4)), features), network.layers)
    assert not torch.equal(after.params["hidden0.weight"], net.params["hidden0.weight"])
    torch.testing.assert_close(network.apply(after.params, x)[0], outputs, rtol=1e-10, atol=1e-12)
    responses = network.apply(after.params, x)[1]
    assert any(responses["hidden0"][:, unit].any() for unit in DEAD["hidden0"])  # alive again


def test_newborn_weights_are_as_wide_as_the_initialisers():
    spec = MLP(width=64, depth=2)
    network, _ = assemble(spec, Adam(), (), (100,), 2)
    net = random_net(network)
    evidence = evidence_for(network, net)
    after, _ = ReDo(tau=0.9).refresh(net, {}, evidence, network.layers)
    for layer, fan_in in (("hidden0", 100), ("hidden1", 64)):
        units = dormant_by_loops(network, evidence.features, 0.9)[layer]
        silent = dormant_by_loops(network, evidence.features, 0.9)["hidden0"] if layer == "hidden1" else []
        heard = [column for column in range(fan_in) if column not in silent]
        weights, bound = after.params[f"{layer}.weight"][units][:, heard], fan_in**-0.5
        assert len(units) > 10 and 0.9 * bound < weights.abs().max() <= bound
        assert weights.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_a_sample_without_any_response_changes_nothing():
    network = MLP(width=8, depth=2).build((5,), 3)
    net = random_net(network)
    evidence = evidence_for(network, net)
    silent = evidence._replace(features={n: torch.cat([f, torch.zeros(2, 8)]) for n, f in evidence.features.items()})
    one, other = (ReDo(tau=0.5).refresh(net, {}, each, network.layers)[0] for each in (evidence, silent))
    assert_same(one.params, other.params)
    assert not torch.equal(one.params["hidden0.weight"], net.params["hidden0.weight"])


def test_redo_finds_its_units_on_the_batch_just_learned_from():
    learner = learn((ReDo(every=2, tau=0.4),), "mlp", 2)
    plain = learn((), "mlp", 2)
    for batch in batches("mlp", 2, 2):
        learner.update(RATE, batch)
        plain.update(RATE, batch)
    for m in range(2):
        net = Net(plain.one(m), {slot: {n: t[m] for n, t in memory.items()} for slot, memory in plain.net.slots.items()})
        features = plain.network.apply(net.params, batch["inputs"][m])[1]
        fresh = {name: param[m] for name, param in learner.fresh("ReDo", 0, "update", 2).items()}
        expected = redo_by_loops(plain.network, net, Evidence(fresh, features), 0.4)
        torch.testing.assert_close(learner.one(m), expected.params, rtol=1e-6, atol=1e-12)


def test_redo_at_a_task_boundary_before_any_batch_recycles_nothing():
    learner = learn((ReDo(clock="task", every=1),), "mlp", 2)
    before = copies(learner)
    learner.task_boundary()
    assert_same(copies(learner), before)


# Combinations


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("kind", list(SPECS))
def test_nap_and_redo_both_act_in_either_order(kind, order):
    redo = ReDo(every=2, tau=0.5)
    chain = (NormalizeAndProject(), redo)[::order]
    learner, alone = learn(chain, kind, 2), learn((NormalizeAndProject(),), kind, 2)
    birth = copies(learner)
    for batch in batches(kind, 2, 2):
        learner.update(RATE, batch)
        alone.update(RATE, batch)
    assert learner.network.spec.norm == "layer"
    for m in range(2):
        features = alone.network.apply(alone.one(m), batch["inputs"][m])[1]
        marked = dormant_by_loops(alone.network, features, 0.5)
        for layer in select(learner.network.layers, "hidden"):
            now, then = learner.one(m)[layer.weight], alone.one(m)[layer.weight]
            assert now.norm().item() == pytest.approx(birth[f"params/{layer.weight}"][m].norm().item(), rel=1e-12)
            for unit in range(layer.units):
                turned = F.cosine_similarity(now[unit].flatten(), then[unit].flatten(), dim=0).item() < 0.9
                assert turned or unit not in marked[layer.name]
                for reader, columns in columns_by_hand(learner.network, layer.name, unit).items():
                    assert (unit in marked[layer.name]) == (not learner.one(m)[reader][:, columns].any())


def test_projection_after_recycling_a_silent_layer_is_finite():
    # All units of hidden0 are dormant, so all that hidden1 reads becomes zero: a weight without a direction.
    network, _ = assemble(MLP(width=4, depth=2), Adam(), (NormalizeAndProject(), ReDo()), (3,), 2)
    params = network.init(generator())
    state = NormalizeAndProject().init(params, network.layers)
    net = Net(deaden(network, params, {"hidden0": (0, 1, 2, 3)}), {})
    net, _ = ReDo().refresh(net, {}, evidence_for(network, net), network.layers)
    assert not net.params["hidden1.weight"].any()
    after, _ = NormalizeAndProject().project(net.params, state, network.layers)
    assert all(param.isfinite().all() for param in after.values())
    assert after["hidden0.weight"].norm().item() == pytest.approx(state["hidden0.weight"].item())


@pytest.mark.parametrize("order", [1, -1])
def test_layer_norm_and_weight_decay_both_act_in_either_order(order):
    chain = (LayerNorm(), WeightDecay(strength=0.5))[::order]
    network, optimizer = assemble(MLP(width=8, depth=3), Adam(), chain, (5,), OUTPUTS)
    assert (network.spec, optimizer) == (MLP(width=8, depth=3, norm="layer"), Adam(weight_decay=0.5))
    both, norm_alone = learn(chain, "mlp", 2), learn((LayerNorm(),), "mlp", 2)
    before, (batch,) = copies(both), batches("mlp", 2, 1)
    for learner in (both, norm_alone):
        learner.update(RATE, batch)
    for name, param in both.net.params.items():
        decay = RATE * 0.5 * before[f"params/{name}"] if name.endswith("weight") else 0.0
        torch.testing.assert_close(param, norm_alone.net.params[name] - decay, rtol=1e-10, atol=1e-14)


def test_refreshes_come_in_the_chains_order():
    first, second = Reset(clock="update", every=1, part="network"), ShrinkAndPerturb(clock="update", every=1, shrink=0.5, perturb=0.25)
    for chain in ((first, second), (second, first)):
        learner = learn(chain, "mlp", 2)
        learner.update(RATE, batches("mlp", 2, 1)[0])
        reset, noise = learner.fresh("Reset", 0, "update", 1), learner.fresh("ShrinkAndPerturb", 0, "update", 1)
        for name, param in learner.net.params.items():
            expected = 0.5 * reset[name] + 0.25 * noise[name] if chain[0] is first else reset[name]
            torch.testing.assert_close(param, expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("network", "optimizer", "chain", "message"),
    [
        (
            MLP(),
            Adam(),
            (LayerNorm(), NormalizeAndProject(norm="rms")),
            "LayerNorm and NormalizeAndProject cannot be combined: norm would be both 'layer' and 'rms'",
        ),
        (
            MLP(),
            Adam(),
            (NormalizeAndProject(norm="rms"), ReDo(), LayerNorm()),
            "NormalizeAndProject and LayerNorm cannot be combined: norm would be both 'rms' and 'layer'",
        ),
        (MLP(norm="rms"), Adam(), (LayerNorm(),), "the MLP itself and LayerNorm cannot be combined: norm would be both 'rms' and 'layer'"),
        (
            MLP(),
            Adam(),
            (WeightDecay(strength=0.1), WeightDecay(strength=0.2)),
            "WeightDecay and WeightDecay cannot be combined: weight_decay would be both 0.1 and 0.2",
        ),
        (
            MLP(),
            RMSprop(weight_decay=0.3),
            (WeightDecay(strength=0.1),),
            "the RMSprop itself and WeightDecay cannot be combined: weight_decay would be both 0.3 and 0.1",
        ),
        (
            MLP(),
            Adam(decayed="all"),
            (WeightDecay(),),
            "the Adam itself and WeightDecay cannot be combined: decayed would be both 'all' and 'weights'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_two_that_disagree_are_refused_and_both_are_named(network, optimizer, chain, message):
    with pytest.raises(UsageError) as raised:
        assemble(network, optimizer, chain, (3,), 2)
    assert str(raised.value) == message


def test_those_that_agree_are_combined():
    chain = (LayerNorm(), NormalizeAndProject(), NormalizeAndProject(norm="given"), WeightDecay(strength=0.1), WeightDecay(strength=0.1))
    network, optimizer = assemble(MLP(norm="layer"), Adam(weight_decay=0.1), chain, (3,), 2)
    assert (network.spec, optimizer) == (MLP(norm="layer"), Adam(weight_decay=0.1))


# The primitive


def test_overwrite_takes_values_and_forgets_memory_where_the_mask_holds():
    net = Net(
        {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])}, {"mean": {"a": torch.tensor([4.0, 5.0]), "b": torch.tensor([6.0])}}
    )
    after = overwrite(net, {"a": torch.tensor([False, True])}, {"a": torch.tensor([7.0, 8.0])})
    assert {name: param.tolist() for name, param in after.params.items()} == {"a": [1.0, 8.0], "b": [3.0]}
    assert {name: memory.tolist() for name, memory in after.slots["mean"].items()} == {"a": [4.0, 0.0], "b": [6.0]}


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (WeightDecay, {"strength": 0.0}, "strength must lie in (0, inf), not 0.0"),
        (WeightDecay, {"decayed": "biases"}, "decayed cannot be 'biases'; one of: all, weights"),
        (L2Init, {"strength": -1e-3}, "strength must lie in (0, inf), not -0.001"),
        (L2Init, {"strength": math.inf}, "strength must be a finite number, not inf"),
        (NormalizeAndProject, {"norm": "none"}, "norm cannot be 'none'; one of: given, layer, rms"),
        (NormalizeAndProject, {"scale_and_offset": "toward-init"}, "scale_and_offset cannot be 'toward-init'; did you mean toward_init?"),
        (NormalizeAndProject, {"pull": 0.0}, "pull must lie in (0, 1], not 0.0"),
        (NormalizeAndProject, {"pull": 1.1}, "pull must lie in (0, 1], not 1.1"),
        (Reset, {"part": "head"}, "part cannot be 'head'; did you mean heads?"),
        (Reset, {"every": 0}, "every must lie in [1, inf), not 0"),
        (Reset, {"every": 2.0}, "every must be a whole number, not 2.0"),
        (Reset, {"clock": "updates"}, "clock cannot be 'updates'; did you mean update?"),
        (ShrinkAndPerturb, {"shrink": 1.5}, "shrink must lie in [0, 1], not 1.5"),
        (ShrinkAndPerturb, {"perturb": -0.1}, "perturb must lie in [0, inf), not -0.1"),
        (ShrinkAndPerturb, {"part": "everything"}, "part cannot be 'everything'; one of: all, heads, hidden"),
        (ReDo, {"tau": 1.0}, "tau must lie in [0, 1), not 1.0"),
        (ReDo, {"tau": -0.1}, "tau must lie in [0, 1), not -0.1"),
        (ReDo, {"tau": math.nan}, "tau must be a finite number, not nan"),
        (ReDo, {"every": 0}, "every must lie in [1, inf), not 0"),
        (ReDo, {"every": True}, "every must be a whole number, not True"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(kind, fields, message):
    with pytest.raises(UsageError) as raised:
        kind(**fields)
    assert str(raised.value) == f"{kind.__name__}: {message}"
