"""Layer norm as an intervention: its layers, alone and beside others."""

import dataclasses

import pytest
import torch

from plasticity_rl.interventions import LayerNorm, WeightDecay, assemble
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam
from tests.learners import OUTPUTS, RATE, SPECS, batches, copies, learn

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("kind", list(SPECS))
def test_layer_norm_builds_the_norm_and_nothing_else(kind):
    spec, inputs, ends = SPECS[kind]
    network, optimizer = assemble(spec, Adam(), (LayerNorm(),), inputs, ends)
    assert network.spec == dataclasses.replace(spec, norm="layer") and optimizer == Adam()


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
