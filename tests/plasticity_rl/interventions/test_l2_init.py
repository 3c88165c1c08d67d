"""Regenerative regularisation beside a plain reading of its formula."""

import math

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import L2Init, Reset
from plasticity_rl.optim.optimizers import SGD
from tests.learners import RATE, SPECS, batches, built, copies, generator, learn, random_net, seen

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("kind", list(SPECS))
def test_l2_init_is_the_squared_distance_from_birth(kind):
    method, network = L2Init(strength=0.3), built(kind)
    birth = network.init(generator())
    state = method.init(birth, network.layers, generator())
    params = {name: param.clone().requires_grad_() for name, param in random_net(network).params.items()}
    penalty = method.penalty(params, state, network.layers, seen(network))
    by_hand = sum(
        (now - then) ** 2
        for name in params
        for now, then in zip(params[name].flatten().tolist(), birth[name].flatten().tolist(), strict=True)
    )
    assert penalty.item() == pytest.approx(0.3 * by_hand, rel=1e-9)
    for name, grad in zip(params, torch.autograd.grad(penalty, list(params.values())), strict=True):
        torch.testing.assert_close(grad, 0.6 * (params[name].detach() - birth[name]), rtol=1e-9, atol=1e-12)


def test_l2_init_pulls_toward_birth_unless_the_agent_is_a_new_one():
    learner = learn((Reset(part="network"), L2Init(strength=0.25)), "mlp", 2, optimizer=SGD())
    birth = copies(learner)
    learner.update(RATE, batches("mlp", 2, 1)[0])
    learner.task_boundary()
    reset = copies(learner)
    assert not torch.equal(reset["params/head.weight"], birth["params/head.weight"])
    plain = learn((), "mlp", 2, optimizer=SGD())
    plain.load({name: tensor for name, tensor in reset.items() if not name.startswith("states/")}, plain.ticks)
    (batch,) = batches("mlp", 2, 1, seed=1)
    for each in (learner, plain):
        each.update(RATE, batch)
    for name, param in learner.net.params.items():
        pulled = plain.net.params[name] - RATE * 0.5 * (reset[f"params/{name}"] - birth[f"params/{name}"])
        torch.testing.assert_close(param, pulled, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strength": -1e-3}, "strength must lie in (0, inf), not -0.001"),
        ({"strength": math.inf}, "strength must be a finite number, not inf"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        L2Init(**fields)
    assert str(raised.value) == f"L2Init: {message}"
