"""Optimizer fields that SafeAdam sets, and optimizers that refuse it."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import SafeAdam, WeightDecay, assemble
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import LAMB, LARS, SGD, UPGD, Adam, RAdam, RMSprop
from tests.learners import batches, copies, learn

pytestmark = pytest.mark.usefixtures("double")


def test_its_optimizer_is_torchs_adam_with_these_values():
    learner = learn((SafeAdam(),), "mlp", 1)
    assert learner.optimizer == Adam(beta2=0.9, epsilon=1e-3)
    plain = learn((), "mlp", 1, optimizer=SGD())
    theirs = {name: torch.nn.Parameter(param[0].clone()) for name, param in plain.net.params.items()}
    optimizer = torch.optim.Adam(theirs.values(), lr=0.01, betas=(0.9, 0.9), eps=1e-3)
    for batch in batches("mlp", 1, 5):
        for name, param in plain.net.params.items():
            param.copy_(theirs[name].data[None])
        before = copies(plain)
        plain.update(1.0, batch)
        for name, param in theirs.items():
            param.grad = (before[f"params/{name}"] - plain.net.params[name])[0]
        optimizer.step()
        learner.update(0.01, batch)
    for name, param in learner.net.params.items():
        torch.testing.assert_close(param[0], theirs[name].data, rtol=1e-8, atol=1e-10)


def test_a_gradient_that_grows_a_hundredfold_no_longer_makes_steps_of_many_learning_rates():
    # With 0.9 twice both averages remember as long, and the mean is never longer than the root mean square. With 0.999 the n-th step is
    # about 100 (1 - 0.9^n) / sqrt(1 + 10 n): 5.2 at the fifth, with the survivors' bias correction of 1 - 0.999^1000.
    def largest(optimizer) -> float:
        params = {"w": torch.tensor(0.0)}
        slots, steps = optimizer.init(params), []
        for gradient in [1.0] * 1000 + [100.0] * 10:
            step, slots = optimizer.step(type(net)(params, slots), {"w": torch.tensor(gradient)}, (), {})
            steps.append(step["w"].item())
        return max(steps)

    net = learn((), "mlp", 1).net
    safe = assemble(MLP(), Adam(), (SafeAdam(),), (3,), 2)[1]
    assert largest(safe) < 1 and largest(Adam()) > 5


def test_all_that_have_both_fields_take_them_and_chains_combine():
    for kind in (Adam, RAdam, LAMB):
        _, optimizer = assemble(MLP(), kind(clip_norm=2.0), (WeightDecay(strength=0.1), SafeAdam(beta2=0.8)), (3,), 2)
        assert optimizer == kind(clip_norm=2.0, weight_decay=0.1, beta2=0.8, epsilon=1e-3)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (SGD(), "SafeAdam sets beta2, and SGD has no such field"),
        (RMSprop(), "SafeAdam sets beta2, and RMSprop has no such field"),
        (LARS(), "SafeAdam sets beta2, and LARS has no such field"),
        (UPGD(), "SafeAdam sets beta2, and UPGD has no such field"),
        (Adam(epsilon=1.5e-4), "the Adam itself and SafeAdam cannot be combined: epsilon would be both 0.00015 and 0.001"),
    ],
    ids=str,
)
def test_another_optimizer_is_refused(optimizer, message):
    with pytest.raises(UsageError) as raised:
        assemble(MLP(), optimizer, (SafeAdam(),), (3,), 2)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"beta2": 1.0}, "beta2 must lie in [0, 1), not 1.0"), ({"epsilon": 0.0}, "epsilon must lie in (0, inf), not 0.0")],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        SafeAdam(**fields)
    assert str(raised.value) == f"SafeAdam: {message}"
