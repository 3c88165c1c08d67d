"""A saved and loaded learner equals an uninterrupted one."""

import pytest
import torch

from plasticity_rl.experiment import word
from plasticity_rl.interventions import TRAC, Refresh
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import SGD
from plasticity_rl.training.learner import Learner
from tests.learners import MEMBERS, assert_same, due
from tests.plasticity_rl.training.learners import batches, copies, learn

RESUMED = [
    (each, clock, stop)
    for each in MEMBERS
    for clock, stop in ([(c, s) for c in ("update", "task") for s in (2, 3)] if isinstance(each, Refresh) else [("update", 3)])
]


@pytest.mark.parametrize(("intervention", "clock", "stop"), RESUMED, ids=[f"{word(e)}-{clock}-{stop}" for e, clock, stop in RESUMED])
def test_resumed_is_never_stopped_bit_for_bit(intervention, clock, stop):
    chain = (due(intervention, clock, 2),)
    straight = learn(chain)
    data = batches(straight, 6)

    def go_on(learner: Learner, steps: range) -> None:
        for step in steps:
            learner.task_boundary()  # the first event after a resume: its batch must have been saved
            learner.update(1e-2 / (1 + step), data[step])

    go_on(straight, range(stop))
    saved, ticks = copies(straight), dict(straight.ticks)
    go_on(straight, range(stop, 6))
    resumed = learn(chain, seed=0)
    go_on(resumed, range(1))  # used before: no trace may remain
    resumed.load(saved, ticks)
    assert_same(copies(resumed), saved)
    go_on(resumed, range(stop, 6))
    assert_same(copies(resumed), copies(straight))
    assert resumed.ticks == straight.ticks == {"update": 6, "task": 6}
    if not isinstance(intervention, TRAC):  # its scale may close, and the weights are the first ones again
        assert not torch.equal(saved["params/hidden0.weight"], straight.net.params["hidden0.weight"])


def test_loading_keeps_the_storage():
    learner, other = learn(), learn(seed=1)
    other.update(1e-2, batches(other, 1)[0])
    places = {name: tensor.data_ptr() for name, tensor in learner.tensors().items()}
    learner.load(copies(other), other.ticks)
    assert {name: tensor.data_ptr() for name, tensor in learner.tensors().items() if name != "inputs"} == places
    assert_same(copies(learner), copies(other))
    learner.ticks["update"] += 1
    assert other.ticks == {"update": 1, "task": 0}


@pytest.mark.parametrize(
    "other",
    [{"members": 1}, {"members": 3}, {"optimizer": SGD()}, {"spec": MLP(width=9, depth=2)}, {"spec": MLP(width=8, depth=1)}],
    ids=str,
)
def test_another_learners_tensors_are_refused(other):
    learner = learn()
    before, theirs = copies(learner), learn(seed=1, **other)
    with pytest.raises((KeyError, RuntimeError)):
        learner.load(copies(theirs), theirs.ticks)
    assert_same(copies(learner), before)
