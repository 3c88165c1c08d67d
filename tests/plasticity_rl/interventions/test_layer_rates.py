"""Recorded rates per layer, beside a plain reading and the schedule with one rate for all."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import LayerRates, NormalizeAndProject, assemble
from plasticity_rl.interventions.layer_rates import _at
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import SGD
from plasticity_rl.optim.schedules import Recorded
from tests.learners import RATE, batches, learn

pytestmark = pytest.mark.usefixtures("double")


def test_each_hidden_weight_takes_its_own_share_of_a_step():
    """Three hidden layers: plain gradient descent moves a weight by rate x gradient, here times the layer's factor."""
    shares = {"hidden0": (0.5, 0.25), "hidden1": (2.0, 1.0), "hidden2": (0.0, 3.0)}
    chain = (LayerRates(updates=(0, 2), factors=tuple(factor for each in shares.values() for factor in each)),)
    slowed, plain = (learn(each, "mlp", 2) for each in (chain, ()))
    for update, batch in enumerate(batches("mlp", 2, 4)):
        before = {name: param.clone() for name, param in slowed.net.params.items()}
        for name, param in plain.net.params.items():  # a step of the plain learner from the same place, with equal slots
            param.copy_(before[name])
        for slot, optimizer_state in plain.net.slots.items():
            for name, tensor in optimizer_state.items():
                tensor.copy_(slowed.net.slots[slot][name])
        slowed.update(RATE, batch)
        plain.update(RATE, batch)
        for name, param in slowed.net.params.items():
            step = plain.net.params[name] - before[name]
            first, last = shares.get(name.removesuffix(".weight"), (1.0, 1.0))
            share = first + (last - first) * min(update, 2) / 2
            assert torch.allclose(param - before[name], share * step, rtol=1e-9, atol=1e-15), (name, update)


def test_between_updates_it_is_the_schedule_of_the_same_record():
    updates, factors = (0, 3, 10, 11), (1.0, 0.5, 0.75, 0.0)
    schedule, record = Recorded(rate=1.0, updates=updates, factors=factors), (torch.tensor(updates), torch.tensor(factors))
    for update in range(15):
        assert float(_at(torch.tensor(float(update)), *record)) == pytest.approx(schedule.at(update, 15), abs=1e-12)


def test_after_nap_it_steps_from_the_projected_weight():
    """With factors of 0 the hidden weights stay where NaP put them, bit for bit up to rescaling to an equal length."""
    learner = learn((NormalizeAndProject(), LayerRates(factors=(0.0,))), "mlp", 2)
    before = learner.net.params["hidden1.weight"].clone()
    for batch in batches("mlp", 2, 3):
        learner.update(RATE, batch)
    assert torch.allclose(learner.net.params["hidden1.weight"], before, rtol=1e-12)
    assert not torch.allclose(learner.net.params["hidden1.scale"], torch.ones(()))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"updates": (2, 1), "factors": (1.0, 1.0)}, "LayerRates: updates must be whole numbers that rise, from 0 on, not (2, 1)"),
        ({"factors": (-1.0,)}, "LayerRates: factors must lie in [0, inf), not -1.0"),
        ({"factors": (1.0, 2.0)}, "LayerRates: factors must number 1, or 3 to give each hidden layer its own, not 2"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        assemble(MLP(width=4, depth=3), SGD(), (LayerRates(**fields),), (5,), 3)
    assert str(raised.value) == message
