"""Resets beside new networks and torch's new optimizers."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import HareAndTortoise, L2Init, Reset
from tests.learners import RATE, assert_same, batches, built, copies, evidence_for, learn, loss, random_net

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize(
    ("part", "clears_replay", "syncs_target"),
    [
        ("everything", True, True),
        ("network", False, True),
        ("hidden", False, True),
        ("heads", False, True),
        ("optimizer", False, False),
        ("last", False, True),
    ],
)
def test_what_a_reset_asks_of_the_agent(part, clears_replay, syncs_target):
    reset = Reset(part=part, last=2 if part == "last" else None)
    assert (reset.clears_replay, reset.syncs_target) == (clears_replay, syncs_target)


@pytest.mark.parametrize("part", ["everything", "network"])
def test_after_a_reset_of_everything_it_is_a_new_network_with_a_new_optimizer(part):
    learner = learn((Reset(part=part),), "mlp", 3)
    data = batches("mlp", 3, 6)
    for batch in data[:3]:
        learner.update(RATE, batch)
    learner.task_boundary()
    newborn = learn((), "mlp", 3)
    fresh = {f"params/{name}": param for name, param in learner.fresh("Reset", 0, "task", 1).items()}
    newborn.load({name: tensor.clone() for name, tensor in newborn.tensors().items()} | fresh, newborn.ticks)
    for batch in data[3:]:
        learner.update(RATE, batch)
        newborn.update(RATE, batch)
    assert_same(copies(learner), copies(newborn))


def test_a_reset_of_the_optimizer_is_torchs_new_optimizer():
    learner = learn((Reset(part="optimizer"),), "mlp", 1)
    data = batches("mlp", 1, 6)
    theirs = {name: torch.nn.Parameter(param[0].clone()) for name, param in learner.net.params.items()}
    optimizer = torch.optim.Adam(theirs.values(), lr=RATE)
    for count, batch in enumerate(data):
        if count == 3:
            optimizer = torch.optim.Adam(theirs.values(), lr=RATE)
            learner.task_boundary()
        learner.update(RATE, batch)
        optimizer.zero_grad()
        loss(learner.network, dict(theirs), {name: tensor[0] for name, tensor in batch.items()})[0].backward()
        optimizer.step()
    for name, param in learner.net.params.items():
        torch.testing.assert_close(param[0], theirs[name].data, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("kind", "last", "kept"),
    [
        ("mlp", 1, ("hidden0", "hidden1")),
        ("mlp", 2, ("hidden0",)),
        ("mlp", 3, ()),
        ("convolutions", 2, ("hidden0", "hidden1")),
        ("residual", 1, tuple(f"hidden{block}{branch}" for block in (0, 1) for branch in ("", "_1a", "_1b", "_2a", "_2b"))),
        ("residual", 6, ("hidden0", "hidden0_1a", "hidden0_1b", "hidden0_2a", "hidden0_2b")),
        ("noisy", 1, ("hidden0", "quantiles")),
        ("noisy", 2, ()),
    ],
)
def test_the_last_hidden_layers_are_counted_from_the_heads(kind, last, kept):
    network = built(kind)
    net = random_net(network)
    evidence = evidence_for(network, net)
    after, _ = Reset(part="last", last=last).refresh(net, {}, evidence, network.layers)
    for name, old in net.params.items():
        stays = name.split(".")[0] in kept
        assert torch.equal(after.params[name], old if stays else evidence.fresh[name]), name
        for slot, optimizer_state in after.slots.items():
            assert torch.equal(optimizer_state[name], net.slots[slot][name] if stays else torch.zeros_like(old))


def test_more_last_layers_than_there_are_are_refused():
    with pytest.raises(UsageError) as raised:
        learn((Reset(part="last", last=4),), "mlp", 1)
    assert str(raised.value) == "Reset: last must be at most 3, the number of hidden layers, not 4"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"part": "head"}, "part cannot be 'head'; did you mean heads?"),
        ({"every": 0}, "every must lie in [1, inf), not 0"),
        ({"every": 2.0}, "every must be a whole number, not 2.0"),
        ({"clock": "updates"}, "clock cannot be 'updates'; did you mean update?"),
        ({"part": "last"}, "part=last and the field last, its number of hidden layers, must be set together"),
        ({"part": "heads", "last": 1}, "part=last and the field last, its number of hidden layers, must be set together"),
        ({"part": "last", "last": 0}, "last must lie in [1, inf), not 0"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        Reset(**fields)
    assert str(raised.value) == f"Reset: {message}"


@pytest.mark.parametrize("methods", [(L2Init(strength=0.1),), (HareAndTortoise(decay=0.9, every=2),), (L2Init(), HareAndTortoise(every=3))])
def test_a_new_agents_methods_remember_nothing(methods):
    """After a reset of everything a chain learns as one that began with the new network."""
    learner = learn((*methods, Reset()), "mlp", 3)
    data = batches("mlp", 3, 8)
    for batch in data[:4]:
        learner.update(RATE, batch)
    learner.task_boundary()
    newborn = learn(methods, "mlp", 3)
    fresh = learner.fresh("Reset", 0, "task", 1)
    names = {f"params/{name}": param for name, param in fresh.items()}
    newborn.load({name: tensor.clone() for name, tensor in newborn.tensors().items()} | names, {"update": 4, "task": 1})
    for index, method in enumerate(methods):
        for name, tensor in newborn.states[index].items():
            tensor.copy_(fresh[name])
            assert torch.equal(learner.states[index][name], fresh[name]), method
    for batch in data[4:]:
        learner.update(RATE, batch)
        newborn.update(RATE, batch)
    for name, param in newborn.net.params.items():
        assert torch.equal(param, learner.net.params[name])


def test_a_reset_of_the_network_alone_leaves_other_methods_their_memory():
    learner = learn((L2Init(), Reset(part="network")), "mlp", 2)
    before = {name: tensor.clone() for name, tensor in learner.states[0].items()}
    learner.update(RATE, batches("mlp", 2, 1)[0])
    learner.task_boundary()
    for name, tensor in learner.states[0].items():
        assert torch.equal(tensor, before[name])
