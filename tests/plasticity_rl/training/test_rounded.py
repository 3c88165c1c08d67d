"""Weights held in bfloat16 beside those in single precision."""

import pytest
import torch

from plasticity_rl.interventions import (
    L2Init,
    NormalizeAndProject,
    Reset,
)
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import Nature
from tests.learners import assert_same
from tests.plasticity_rl.training.learners import batches, learn


@pytest.mark.parametrize("chain", [(), (L2Init(), NormalizeAndProject()), (Reset(clock="update", every=2),)])
def test_rounded_parameters_are_the_parameters_rounded_whatever_changes_them(chain):
    learner = learn(chain, Nature(width=16, precision="bfloat16"), (4, 44, 44))
    hidden = {layer.weight for layer in learner.network.layers if not layer.head}

    def check() -> None:
        assert learner.low_precision.keys() == hidden and learner.acting.keys() == learner.net.params.keys()
        for name, rounded in learner.low_precision.items():
            assert torch.equal(rounded, learner.net.params[name].bfloat16()) and learner.acting[name] is rounded

    check()
    held = [tensor.data_ptr() for tensor in learner.low_precision.values()]
    for batch in batches(learner, 2):
        learner.update(0.01, batch)
        check()
    learner.load(learn(chain, Nature(width=16, precision="bfloat16"), (4, 44, 44), seed=1).tensors(), learner.ticks)
    check()
    assert held == [tensor.data_ptr() for tensor in learner.low_precision.values()]


def test_learning_from_rounded_parameters_is_rounding_in_every_update(monkeypatch):
    spec = Nature(width=16, precision="bfloat16")
    rounded = learn((L2Init(), NormalizeAndProject()), spec, (4, 44, 44))
    monkeypatch.setattr(Network, "low_precision", lambda self, params: {})
    rounding = learn((L2Init(), NormalizeAndProject()), spec, (4, 44, 44))
    monkeypatch.undo()
    for batch in batches(rounded, 3):
        rounded.update(0.01, batch)
        with monkeypatch.context() as patch:
            patch.setattr(Network, "low_precision", lambda self, params: {})
            rounding.update(0.01, batch)
    assert not rounding.low_precision
    assert_same(rounded.net.params, rounding.net.params)
