"""Continual backprop beside a plain reading of the paper, unit by unit."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import ContinualBackprop, RefreshContext
from plasticity_rl.interventions.base import State
from plasticity_rl.optim.optimizers import Net
from tests.learners import RATE, SPECS, assert_same, batches, built, copies, evidence_for, generator, learn, random_like, random_net, seen
from tests.refreshes import READERS, columns_by_hand, multiplied, useless_by_loops

pytestmark = pytest.mark.usefixtures("double")


def outgoing_by_loops(kind: str, net: Net, layer: str, unit: int) -> float:
    """Mean |outgoing weight| of a unit."""
    read = [
        abs(weight)
        for name, columns in columns_by_hand(kind, layer, unit).items()
        if name.endswith(".weight")
        for column in columns
        for weight in net.params[name][:, column].flatten().tolist()
    ]
    return sum(read) / len(read)


def history_by_loops(method: ContinualBackprop, kind: str, nets: list[Net], features: list[dict[str, torch.Tensor]]) -> State:
    """Running averages over some updates, one unit at a time."""
    state: State = {}
    for layer in READERS[kind]:
        units = features[0][layer].shape[1]
        age, owed, mean, utility = 0, 0.0, [0.0] * units, [0.0] * units
        for net, seen_now in zip(nets, features, strict=True):
            age += 1
            owed += method.rate * (units - int(owed) if age > method.maturity else 0)
            for unit in range(units):
                outputs = seen_now[layer][:, unit].tolist()
                mean[unit] = method.decay * mean[unit] + (1 - method.decay) * sum(outputs) / len(outputs)
                worth = sum(map(abs, outputs)) / len(outputs)
                if method.utility == "adaptable_contribution":
                    centre = mean[unit] / (1 - method.decay**age)
                    incoming = net.params[f"{layer}.weight"][unit].flatten().tolist()
                    worth = sum(abs(output - centre) for output in outputs) / len(outputs) / (sum(map(abs, incoming)) / len(incoming))
                worth *= outgoing_by_loops(kind, net, layer, unit)
                utility[unit] = method.decay * utility[unit] + (1 - method.decay) * worth
        state[f"{layer}.age"] = torch.full((units,), float(age))
        state[f"{layer}.mean"] = torch.tensor([mean])
        state[f"{layer}.utility"] = torch.tensor(utility)
        state[f"{layer}.owed"] = torch.tensor(owed)
    return state


def refresh_by_loops(method: ContinualBackprop, kind: str, net: Net, state: State, evidence: RefreshContext) -> tuple[Net, State]:
    """Move means into biases, then replace all incoming weights, then all outgoing ones."""
    params = {name: param.clone() for name, param in net.params.items()}
    slots = {slot: {name: tensor.clone() for name, tensor in optimizer_state.items()} for slot, optimizer_state in net.slots.items()}
    state = {name: tensor.clone() for name, tensor in state.items()}
    marked = useless_by_loops(method, state, kind)
    for layer, units in marked.items():
        for unit in units:
            mean = state[f"{layer}.mean"][0, unit] / (1 - method.decay ** state[f"{layer}.age"][unit])
            for name, columns in columns_by_hand(kind, layer, unit).items():
                bias = name.replace(".weight", ".bias")
                if name.endswith(".weight") and bias in params and not multiplied(kind, layer):
                    for column in columns:
                        params[bias] += net.params[name][:, column].flatten(1).sum(1) * mean if net.params[name].ndim == 4 else 0
                        params[bias] += net.params[name][:, column] * mean if net.params[name].ndim == 2 else 0
    for layer, units in marked.items():
        for unit in units:
            for name in params:
                if name.startswith(f"{layer}."):
                    params[name][unit] = 0.0 if name.endswith("bias") else evidence.fresh[name][unit]
                    for optimizer_state in slots.values():
                        optimizer_state[name][unit] = 0.0
    for layer, units in marked.items():
        state[f"{layer}.owed"] -= int(state[f"{layer}.owed"])
        for unit in units:
            for part in ("age", "mean", "utility"):
                state[f"{layer}.{part}"][..., unit] = 0.0
            for name, columns in columns_by_hand(kind, layer, unit).items():
                for tree in (params, *slots.values()):
                    tree[name][:, columns] = 0.0
    return Net(params, slots), state


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("utility", ["contribution", "adaptable_contribution"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_continual_backprop_is_the_paper_unit_by_unit(kind, utility, norm):
    method, network = ContinualBackprop(rate=0.1, maturity=2, decay=0.8, utility=utility), built(kind, norm=norm)
    nets = [random_net(network, seed) for seed in range(6)]
    state = method.init(nets[0].params, network.layers, generator())
    features = []
    for net, batch in zip(nets, batches(kind, 1, len(nets)), strict=True):
        around = seen(network, {name: tensor[0] for name, tensor in batch.items()})
        features.append(around.apply(net.params)[1])
        net, state = method.after_step(net, state, random_like(net.params, 1), network.layers, around)
    expected = history_by_loops(method, kind, nets, features)
    torch.testing.assert_close(state, {name: expected[name] for name in state}, rtol=1e-9, atol=1e-12)
    evidence = evidence_for(network, nets[-1])
    after, later = method.refresh(nets[-1], state, evidence, network.layers)
    net, remembered = refresh_by_loops(method, kind, nets[-1], expected, evidence)
    torch.testing.assert_close(after.params, net.params, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(after.slots, net.slots, rtol=1e-12, atol=0)
    torch.testing.assert_close(later, {name: remembered[name] for name in later}, rtol=1e-9, atol=1e-12)
    assert any(useless_by_loops(method, expected, kind).values())


@pytest.mark.parametrize("activation", ["relu", "crelu"])
@pytest.mark.parametrize("kind", ["mlp", "convolutions"])
def test_what_a_replaced_unit_said_on_average_moves_into_its_readers_biases(kind, activation):
    # Units with constant outputs: recycling goes unnoticed, unless their means are dropped or zeroed too early.
    method, network = ContinualBackprop(rate=0.1, maturity=0, decay=0.9), built(kind, activation=activation)
    net = random_net(network)
    still = {"hidden0": [0], "hidden1": [2], "hidden2": [1]}
    for layer, units in still.items():
        for unit in units:
            net.params[f"{layer}.weight"][unit] = 0.0
            net.params[f"{layer}.bias"][unit] = 0.3
    state = method.init(net.params, network.layers, generator())
    batch = {name: tensor[0] for name, tensor in batches(kind, 1, 1)[0].items()}
    for _ in range(3):
        net, state = method.after_step(net, state, net.params, network.layers, seen(network, batch))
    for layer in network.layers:
        if not layer.head:
            state[f"{layer.name}.utility"] = torch.ones(layer.units)
            state[f"{layer.name}.utility"][still.get(layer.name, [])] = 0.0
            state[f"{layer.name}.owed"] = torch.tensor(float(len(still.get(layer.name, []))))
    after, _ = method.refresh(net, state, evidence_for(network, net), network.layers)
    before, now = (network.apply(params, batch["inputs"])[0] for params in (net.params, after.params))
    torch.testing.assert_close(now, before, rtol=1e-9, atol=1e-12)
    moved = after.params["hidden1.bias"] - net.params["hidden1.bias"]
    assert (moved != 0).all() and (after.params["hidden0.weight"][0] != net.params["hidden0.weight"][0]).all()


def test_newborn_weights_take_no_stale_step_and_then_steps_of_one_learning_rate():
    # The official code's Adam gives a new unit 0.0032 learning rates, and lets it step along the old unit's gradient.
    learner = learn((ContinualBackprop(rate=0.05, maturity=0, every=10),), "mlp", 1)
    data = batches("mlp", 1, 11)
    for batch in data[:-1]:
        learner.update(RATE, batch)
    born = learner.states[0]["hidden1.age"][0] == 0
    assert 0 < born.sum() < 8
    before = copies(learner)
    learner.update(RATE, data[-1])
    steps = {name: (learner.tensors()[name] - before[name])[0] for name in ("params/hidden1.weight", "params/hidden2.weight")}
    assert not steps["params/hidden1.weight"][born].any()  # no reader yet, hence no gradient
    assert not before["params/hidden2.weight"][0][:, born].any()
    taken = steps["params/hidden2.weight"][:, born].abs()
    heard = learner.net.slots["square"]["hidden2.weight"][0][:, born] > 1e-12
    assert heard.any()
    torch.testing.assert_close(taken[heard], torch.full_like(taken[heard], RATE), rtol=1e-3, atol=0)


def test_of_the_old_enough_the_one_of_least_corrected_utility_goes():
    # A decay of 0.5 leaves 1 - 2^-3 of a utility after three updates: 0.40 / 0.875 = 0.457 is worth more than 0.42 after ten.
    method, network = ContinualBackprop(maturity=2, decay=0.5), built("mlp")
    net = random_net(network)
    state = method.init(net.params, network.layers, generator())
    state["hidden1.age"] = torch.tensor([2.0, 3.0] + [10.0] * 6)
    state["hidden1.utility"] = torch.tensor([0.0, 0.40, 0.42] + [0.9] * 5)
    state["hidden1.owed"] = torch.tensor(1.5)
    after, later = method.refresh(net, state, evidence_for(network, net), network.layers)
    changed = (after.params["hidden1.weight"] != net.params["hidden1.weight"]).any(1)
    assert changed.tolist() == [False, False, True] + [False] * 5
    assert later["hidden1.age"].tolist() == [2.0, 3.0, 0.0] + [10.0] * 5 and later["hidden1.owed"] == 0.5


def test_a_replacement_is_paid_when_a_whole_one_is_owed_and_fractions_are_kept():
    # 8 units, old enough from the third update on: 0.07 x 8 = 0.56 more are due in the third and fourth, and 0.07 x 7 in the fifth, where
    # one is due already: 1.61. One is new then, and too young for two updates: 0.07 x 7, 6, 7, 6, 6 more.
    learner = learn((ContinualBackprop(rate=0.07, maturity=2, every=5),), "mlp", 2)
    owed, ages = [], []
    for batch in batches("mlp", 2, 10):
        learner.update(RATE, batch)
        owed.append(learner.states[0]["hidden1.owed"].tolist())
        ages.append(learner.states[0]["hidden1.age"].sort().values.tolist())
    by_hand = [0, 0, 0.56, 1.12, 0.61, 1.10, 1.52, 2.01, 2.43, 0.85]
    assert [each for pair in owed for each in pair] == pytest.approx([each for each in by_hand for _ in range(2)], abs=1e-9)
    assert ages[4] == [[0.0] + [5.0] * 7] * 2 and ages[3] == [[4.0] * 8] * 2
    assert all(each in ([0.0] * 2 + [5.0] + [10.0] * 5, [0.0] * 2 + [10.0] * 6) for each in ages[9])


def test_no_more_is_owed_than_there_are_units():
    # The official code replaces at once, and new units are young: with a rate of 0.5, half of the others fall due in every update.
    learner = learn((ContinualBackprop(rate=0.5, maturity=0, every=20),), "mlp", 1)
    owed = []
    for batch in batches("mlp", 1, 20):
        learner.update(RATE, batch)
        owed.append(learner.states[0]["hidden1.owed"].item())
    assert owed[:5] == [4.0, 6.0, 7.0, 7.5, 8.0] and owed[5:19] == [8.0] * 14
    assert owed[19] == 0 and learner.states[0]["hidden1.age"].tolist() == [[0.0] * 8]


def test_every_update_or_every_tenth_replaces_as_many():
    counts = []
    for every in (1, 10):
        learner = learn((ContinualBackprop(rate=1 / 128, maturity=0, every=every),), "mlp", 1)
        born = 0
        for batch in batches("mlp", 1, 100):
            learner.update(RATE, batch)
            born += (learner.states[0]["hidden0.age"] == 0).sum().item() if learner.due("update") else 0
        counts.append(born)
    assert counts == [6, 6]  # 100 x 8 / 128 = 6.25


def test_nothing_is_replaced_before_it_is_old_enough():
    learner, plain = learn((ContinualBackprop(rate=1.0, maturity=5, every=1),), "mlp", 2), learn((), "mlp", 2)
    data = batches("mlp", 2, 6)
    for count, batch in enumerate(data, start=1):
        learner.update(RATE, batch)
        plain.update(RATE, batch)
        same = torch.equal(learner.net.params["hidden1.weight"], plain.net.params["hidden1.weight"])
        assert same == (count <= 5)
    assert_same({"age": learner.states[0]["hidden1.age"]}, {"age": torch.zeros(2, 8)})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate": 0.0}, "rate must lie in (0, 1], not 0.0"),
        ({"maturity": -1}, "maturity must lie in [0, inf), not -1"),
        ({"decay": 1.0}, "decay must lie in [0, 1), not 1.0"),
        ({"utility": "weights"}, "utility cannot be 'weights'; one of: adaptable_contribution, contribution"),
        ({"every": 0}, "every must lie in [1, inf), not 0"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        ContinualBackprop(**fields)
    assert str(raised.value) == f"ContinualBackprop: {message}"
