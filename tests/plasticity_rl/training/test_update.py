"""The update as a pure function of one network: by hand, beside autograd, and as the learner lifts it."""

import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.interventions import L2, NoisyUpdates, WeightClipping
from plasticity_rl.interventions.chain import scopes
from plasticity_rl.networks.layers import HeadSpec
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.noise import key
from plasticity_rl.optim.optimizers import SGD, Net
from plasticity_rl.training.cells import Hyper
from plasticity_rl.training.lift import copied
from plasticity_rl.training.update import UpdateRule, project, update

pytestmark = pytest.mark.usefixtures("double")

RATE = 0.1
CHAIN = (L2(strength=0.01), NoisyUpdates(), WeightClipping())


def squared(network):
    return lambda params, batch: (F.mse_loss(network.apply(params, batch["inputs"])[0], batch["targets"]), {})


def rule(chain):
    network = Network(MLP(width=5, depth=2), (3,), HeadSpec((("head", 2),)))
    return UpdateRule(network, squared(network), SGD(), chain, scopes(chain, network))


def start(network):
    torch.manual_seed(0)
    params = {name: torch.randn(shape) for name, shape in network.shapes.items()}
    return params, {"inputs": torch.randn(7, 3), "targets": torch.randn(7, 2)}


def hyper(chain):
    return Hyper(torch.tensor(RATE), {}, [{} for _ in chain])


def test_an_update_is_loss_penalty_step_and_projection_in_this_order():
    chain = (L2(strength=0.01), WeightClipping(kappa=1.5))
    network, loss, *_ = made = rule(chain)
    params, batch = start(network)
    states = [each.init(params, network.layers, torch.Generator()) for each in chain]
    net, _, reported = update(made, Net(params, SGD().init(params, uniform_age=True)), states, {}, hyper(chain), {}, batch)

    leaves = {name: param.clone().requires_grad_() for name, param in params.items()}
    value = loss(leaves, batch)[0]
    penalty = chain[0].penalty(leaves, states[0], network.layers, None)
    (value + penalty).backward()
    stepped = {name: leaf.detach() - RATE * leaf.grad for name, leaf in leaves.items()}
    expected, _ = chain[1].project(stepped, states[1], network.layers)
    assert not torch.equal(expected["hidden0.weight"], stepped["hidden0.weight"])
    torch.testing.assert_close(net.params, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(reported["loss"], value.detach(), rtol=1e-14, atol=0)


def test_it_writes_to_nothing_that_it_is_given():
    made = rule(CHAIN)
    params, batch = start(made.network)
    states = [each.init(params, made.network.layers, torch.Generator().manual_seed(1)) for each in CHAIN]
    given = (Net(params, SGD().init(params, uniform_age=True)), states, {}, hyper(CHAIN), {"1": key([5])[0]}, batch)
    kept = copied(given)
    update(made, *given, measure=True)
    project(made, *given[:2], given[3], measure=True)
    torch.testing.assert_close(given, kept, rtol=0, atol=0)


def test_measuring_changes_no_number():
    made = rule(CHAIN)
    params, batch = start(made.network)
    states = [each.init(params, made.network.layers, torch.Generator().manual_seed(1)) for each in CHAIN]
    given = (Net(params, SGD().init(params, uniform_age=True)), states, {}, hyper(CHAIN), {"1": key([5])[0]}, batch)
    plain, measured = update(made, *given), update(made, *given, measure=True)
    torch.testing.assert_close(plain[:2], measured[:2], rtol=0, atol=0)
    assert set(plain[2]) == {"loss"}
    assert {name.partition("/")[0] for name in measured[2]} == {
        "loss",
        *(
            "penalty_over_loss",
            "gradient_l0",
            "gradient_l1",
            "gradient_l2",
            "gradient_dormant_fraction",
            "step_change",
            "projection_factor",
            "projection_change",
        ),
    }
