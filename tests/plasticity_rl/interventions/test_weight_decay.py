"""Weight decay beside a plain reading of its formula."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import WeightDecay, assemble
from plasticity_rl.optim.optimizers import SGD
from plasticity_rl.training.learner import Learner
from tests.learners import SPECS, copies

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("decayed", ["weights", "all"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_weight_decay_takes_rate_times_strength_of_each_weight_and_of_standard_deviations_only_with_all(kind, decayed):
    chain = (WeightDecay(strength=0.5, decayed=decayed),)
    spec, inputs, ends = SPECS[kind]
    network, optimizer = assemble(spec, SGD(), chain, inputs, ends)
    learner = Learner(
        network, lambda params, batch: (params[network.layers[0].weight].sum() * 0, {}), optimizer, chain, 2, 0, compile=False
    )
    before = copies(learner)
    learner.update(0.1, {"inputs": torch.zeros(2, 1, *inputs)})
    for name, param in learner.net.params.items():
        kept = 0.95 if decayed == "all" or name.endswith(".weight") else 1.0
        torch.testing.assert_close(param, before[f"params/{name}"] * kept, rtol=1e-14, atol=0)
    assert any(name.endswith("_noise") for name in before) == (kind == "noisy")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strength": 0.0}, "strength must lie in (0, inf), not 0.0"),
        ({"decayed": "biases"}, "decayed cannot be 'biases'; one of: all, weights"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        WeightDecay(**fields)
    assert str(raised.value) == f"WeightDecay: {message}"
