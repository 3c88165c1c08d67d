"""Hare and tortoise beside a plain moving average."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import HareAndTortoise
from tests.learners import RATE, assert_same, batches, copies, learn

pytestmark = pytest.mark.usefixtures("double")


def test_the_hare_is_set_to_the_average_of_where_it_was_and_goes_on_with_its_optimizer():
    learner, plain = learn((HareAndTortoise(every=3, decay=0.9),), "mlp", 2), learn((), "mlp", 2)
    tortoise = {name: [param.flatten().tolist()] for name, param in plain.net.params.items()}
    for batch in batches("mlp", 2, 3):
        learner.update(RATE, batch)
        plain.update(RATE, batch)
        for name, hare in plain.net.params.items():
            tortoise[name].append([0.9 * slow + 0.1 * fast for slow, fast in zip(tortoise[name][-1], hare.flatten().tolist(), strict=True)])
    for name, param in learner.net.params.items():
        torch.testing.assert_close(param.flatten(), torch.tensor(tortoise[name][-1]), rtol=1e-9, atol=1e-12)
        assert not torch.equal(param, plain.net.params[name])
    for slot, optimizer_state in plain.net.slots.items():
        assert_same(learner.net.slots[slot], optimizer_state)
    assert_same(learner.states[0], learner.net.params)


def test_hare_and_tortoise_part_again_after_they_met():
    # The official code makes both share their numbers at a reset, until the next average.
    learner = learn((HareAndTortoise(every=1, decay=0.5),), "mlp", 1)
    (batch,) = batches("mlp", 1, 1)
    birth = copies(learner)
    plain = learn((), "mlp", 1)
    for each in (learner, plain):
        each.update(RATE, batch)
    for name, param in learner.net.params.items():
        torch.testing.assert_close(param, (birth[f"params/{name}"] + plain.net.params[name]) / 2, rtol=1e-10, atol=1e-14)
        assert learner.states[0][name].data_ptr() != param.data_ptr()


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"decay": 1.0}, "decay must lie in [0, 1), not 1.0"), ({"every": 0}, "every must lie in [1, inf), not 0")],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        HareAndTortoise(**fields)
    assert str(raised.value) == f"HareAndTortoise: {message}"
