"""Weight normalization: rows of unit length, before a norm."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import WeightNormalization, assemble
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam
from tests.learners import RATE, SPECS, batches, generator, learn

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("kind", list(SPECS))
def test_each_hidden_units_weights_have_length_one_from_birth(kind: str) -> None:
    learner = learn((WeightNormalization(),), kind, 2)
    data = batches(kind, 2, 2)
    for count in range(3):
        for layer in learner.network.layers:
            if layer.head:
                continue
            for member in range(2):
                for unit in range(layer.units):
                    parts = [learner.net.params[name][member, unit].flatten() for name in layer.weights]
                    assert torch.cat(parts).norm().item() == pytest.approx(1.0, rel=1e-9)
        if count < 2:
            learner.update(RATE, data[count])


def test_under_a_batch_norm_it_changes_no_output_and_under_a_layer_norm_it_does() -> None:
    x = torch.randn(16, 5, generator=generator(1))
    for norm, same in (("batch", True), ("layer", False)):
        method = WeightNormalization(norm=norm)  # type: ignore[arg-type]
        network, _ = assemble(MLP(width=8, depth=2), Adam(), (method,), (5,), 3)
        params = network.init(generator())
        for name in ("hidden0.weight", "hidden1.weight"):  # long, so that the norm's epsilon does not show
            params[name] = params[name] * torch.linspace(100, 300, 8).unsqueeze(1)
        projected, _ = method.project(params, {}, network.layers)
        one, other = (network.apply(each, x)[0] for each in (params, projected))
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3) == same


def test_it_needs_a_norm() -> None:
    with pytest.raises(UsageError, match="WeightNormalization needs a norm before every activation, and layer 'hidden0' has none"):
        assemble(MLP(), Adam(), (WeightNormalization(norm="given"),), (5,), 2)
