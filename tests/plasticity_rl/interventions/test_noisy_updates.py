"""Noisy updates beside their given noise."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import NoisyUpdates
from plasticity_rl.optim.optimizers import SGD
from tests.learners import SPECS, batches, built, learn, random_net, seen
from tests.learners import generator as draw
from tests.refreshes import HEADS

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("part", ["all", "hidden", "heads"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_noisy_updates_by_hand(kind, part):
    method, network = NoisyUpdates(sigma=0.2, part=part), built(kind)
    net, around = random_net(network), seen(network, draw=draw(3))
    after, _ = method.after_step(net, {}, net.params, network.layers, around)
    for name, old in net.params.items():
        touched = part == "all" or (part == "heads") == name.startswith(HEADS[kind])
        for new, value, noise in zip(*(t.flatten()[:99].tolist() for t in (after.params[name], old, around.noise[name])), strict=True):
            assert new == (pytest.approx(value + 0.2 * noise, rel=1e-12, abs=1e-15) if touched else value)
    assert after.slots is net.slots


def test_every_update_and_member_has_noise_of_its_own_that_no_learning_rate_scales():
    learner = learn((NoisyUpdates(sigma=0.1),), "mlp", 3)
    steps = []
    for batch in batches("mlp", 3, 2):
        before = {name: param.clone() for name, param in learner.net.params.items()}
        learner.update(0.0, batch)
        steps += [*(learner.net.params["hidden1.weight"] - before["hidden1.weight"])]
    assert torch.stack(steps).flatten(1).std(1).tolist() == pytest.approx([0.1] * 6, rel=0.3)
    assert len({tuple(step.flatten().tolist()) for step in steps}) == 6


def test_two_methods_of_a_chain_have_numbers_of_their_own():
    def moved(*chain):
        learner = learn(chain, "mlp", 1, optimizer=SGD())
        before = learner.one(0)["hidden1.weight"].clone()
        learner.update(0.0, batches("mlp", 1, 1)[0])
        return learner.one(0)["hidden1.weight"] - before

    one, both = moved(NoisyUpdates(sigma=0.1)), moved(NoisyUpdates(sigma=0.1), NoisyUpdates(sigma=0.1, part="hidden"))
    other = both - one  # the second's, as the first has the same numbers in either
    assert one.std().item() == pytest.approx(0.1, rel=0.3) and other.std().item() == pytest.approx(0.1, rel=0.3)
    assert abs(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].item()) < 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sigma": 0.0}, "sigma must lie in (0, inf), not 0.0"),
        ({"part": "everything"}, "part cannot be 'everything'; one of: all, heads, hidden"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        NoisyUpdates(**fields)
    assert str(raised.value) == f"NoisyUpdates: {message}"
