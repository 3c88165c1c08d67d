"""Chains of several interventions: all act, in their order, or are refused."""

import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import (
    L2,
    CReLU,
    LayerNorm,
    NormalizeAndProject,
    PlasticityInjection,
    ReDo,
    Reset,
    ShrinkAndPerturb,
    WeightClipping,
    WeightDecay,
    assemble,
)
from plasticity_rl.interventions.chain import due_refreshes, metric_names, overrides, purpose_of
from plasticity_rl.interventions.recycling import overwrite
from plasticity_rl.networks.layers import select
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam, Net, RMSprop
from tests.learners import RATE, SPECS, batches, learn, length
from tests.refreshes import READERS, columns_by_hand, dormant_by_loops

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("kind", list(SPECS))
def test_nap_and_redo_both_act_in_either_order(kind, order):
    redo = ReDo(every=2, tau=0.5)
    chain = (NormalizeAndProject(), redo)[::order]
    learner, alone = learn(chain, kind, 2), learn((NormalizeAndProject(),), kind, 2)
    births = {layer.name: length(learner.net.params, layer.name) for layer in learner.network.layers}
    data = batches(kind, 2, 2)
    for batch in data:
        learner.update(RATE, batch)
        alone.update(RATE, batch)
    assert learner.network.spec.norm == "layer"
    for m in range(2):
        features = alone.network.apply(alone.one(m), data[-1]["inputs"][m])[1]
        zeros = {reader: set() for layer in READERS[kind] for reader in columns_by_hand(kind, layer, 0)}
        for layer, units in dormant_by_loops(kind, features, 0.5).items():
            for unit in units:
                now, then = (each.one(m)[f"{layer}.weight"][unit].flatten() for each in (learner, alone))
                assert F.cosine_similarity(now, then, dim=0).item() < 0.9
                for reader, columns in columns_by_hand(kind, layer, unit).items():
                    zeros[reader] |= set(columns)
        for reader, columns in zeros.items():
            columns_read = learner.one(m)[reader].transpose(0, 1).flatten(1).any(1)
            assert [column for column, read in enumerate(columns_read.tolist()) if not read] == sorted(columns)
    for layer in select(learner.network.layers, "hidden"):
        torch.testing.assert_close(length(learner.net.params, layer.name), births[layer.name], rtol=1e-12, atol=0)


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
            "WeightDecay is twice in the chain, and only one of its settings can act: name it once",
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
    chain = (LayerNorm(), NormalizeAndProject(), WeightDecay(strength=0.1))
    network, optimizer = assemble(MLP(norm="layer"), Adam(weight_decay=0.1), chain, (3,), 2)
    assert (network.spec, optimizer) == (MLP(norm="layer"), Adam(weight_decay=0.1))


@pytest.mark.parametrize(
    "chain",
    [
        (L2(), L2()),
        (L2(), LayerNorm(), L2(strength=1e-5)),  # the default
        (WeightDecay(), WeightDecay()),
        (ReDo(), ReDo(every=1000)),
        (Reset(), Reset(every=1)),
    ],
    ids=repr,
)
def test_an_exact_repeat_is_refused(chain):
    with pytest.raises(UsageError, match=f"^{type(chain[0]).__name__} is twice in the chain with the same settings: name it once$"):
        assemble(MLP(), Adam(), chain, (3,), 2)


@pytest.mark.parametrize(
    "chain",
    [
        (WeightClipping(kappa=1.0), WeightClipping(kappa=2.0)),  # the tighter holds
        (NormalizeAndProject(), NormalizeAndProject(norm="given")),
        (PlasticityInjection(), PlasticityInjection(every=2)),  # one injection a run
    ],
    ids=repr,
)
def test_other_settings_that_do_not_add_up_are_refused(chain):
    with pytest.raises(
        UsageError, match=f"^{type(chain[0]).__name__} is twice in the chain, and only one of its settings can act: name it once$"
    ):
        assemble(MLP(), Adam(), chain, (3,), 2)


@pytest.mark.parametrize("decayed", ["weights", "all"])
def test_two_penalties_add_up(decayed):
    chain = (L2(strength=0.25), L2(strength=0.5, decayed=decayed))
    learner = learn(chain, "mlp", 1)
    params = learner.one(0)
    weights = sum(params[layer.weight].square().sum() for layer in learner.network.layers)
    everything = sum(param.square().sum() for param in params.values())
    expected = 0.25 * weights + 0.5 * (everything if decayed == "all" else weights)
    found = sum(each.penalty(params, {}, learner.network.layers, None) for each in chain)
    torch.testing.assert_close(found, expected)


def test_two_resets_of_different_clocks_both_act():
    chain = (Reset(clock="update", every=2, part="heads"), Reset(clock="update", every=3, part="hidden"))
    learner = learn(chain, "mlp", 1)
    drawn = []
    for batch in batches("mlp", 1, 6):
        before = {name: param.clone() for name, param in learner.one(0).items()}
        learner.update(0.0, batch)
        changed = {
            name.partition(".")[0].rstrip("0123456789") for name, param in learner.one(0).items() if not torch.equal(param, before[name])
        }
        drawn.append(sorted(changed))
    assert drawn == [[], ["head"], ["hidden"], ["head"], [], ["head", "hidden"]]


def test_overwrite_takes_values_and_forgets_memory_where_the_mask_holds():
    net = Net(
        {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])}, {"mean": {"a": torch.tensor([4.0, 5.0]), "b": torch.tensor([6.0])}}
    )
    after = overwrite(net, {"a": torch.tensor([False, True])}, {"a": torch.tensor([7.0, 8.0])})
    assert {name: param.tolist() for name, param in after.params.items()} == {"a": [1.0, 8.0], "b": [3.0]}
    assert {name: optimizer_state.tolist() for name, optimizer_state in after.slots["mean"].items()} == {"a": [4.0, 0.0], "b": [6.0]}


@pytest.mark.parametrize("order", [1, -1])
def test_a_norm_and_pairs_of_outputs_are_both_built(order):
    network, _ = assemble(MLP(), Adam(), (LayerNorm(), CReLU())[::order], (3,), 2)
    assert [(layer.activation, layer.scale is not None) for layer in select(network.layers, "hidden")] == [("crelu", True)] * 3


def test_names_and_random_streams_of_a_method_count_those_of_its_own_class():
    chain = (ReDo(every=2), Reset(), L2(), ReDo(every=3), Reset(clock="update", every=6))
    assert metric_names(chain) == ("ReDo", "Reset", "L2", "ReDo-2", "Reset-2")
    assert [purpose_of(chain, index) for index in range(5)] == [("ReDo", 0), ("Reset", 0), ("L2", 0), ("ReDo", 1), ("Reset", 1)]
    due = {tick: [index for index, _ in due_refreshes(chain, "update", tick)] for tick in range(1, 7)}
    assert due == {1: [], 2: [0], 3: [3], 4: [0], 5: [], 6: [0, 3, 4]}
    assert [index for index, _ in due_refreshes(chain, "task", 1)] == [1]


def test_hooks_are_those_that_a_class_overrides():
    hooks = {type(each): [hook for hook in ("penalty", "after_step", "project") if overrides(each, hook)] for each in (L2(), Reset())}
    assert hooks == {L2: ["penalty"], Reset: []} and overrides(WeightClipping(), "project")
