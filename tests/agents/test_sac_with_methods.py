"""Every method in a learner of SAC: networks of an actor and of critics, and a temperature that no layer has."""

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from agents.sac import SAC, TEMPERATURE
from plasticity_rl.experiment import word
from plasticity_rl.interventions import BornAgain, Intervention, Reset, SafeAdam, assemble
from plasticity_rl.networks.layers import KEY
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.training.learner import Learner
from tests.agents.plain import STATES, Spaces, batch
from tests.learners import MEMBERS, due

RATE = 1e-2


def learner(chain: tuple[Intervention, ...]) -> Learner:
    agent = SAC()
    adam = Adam() if isinstance(chain[0], SafeAdam) else Adam(epsilon=1.0)  # whose steps depend on the size of gradients
    network, optimizer = assemble(MLP(width=6, depth=2), adam, chain, (STATES,), agent.heads(Spaces()))
    return Learner(network, lambda *given: agent.loss(network, *given), optimizer, chain, 2, 0, compile=False)


def stepped(temperatures: Tensor, grads: list[Tensor], adam: Adam) -> Tensor:
    """Adam by hand."""
    mean, square = torch.zeros_like(temperatures), torch.zeros_like(temperatures)
    for update, each in enumerate(grads, 1):
        mean = adam.beta1 * mean + (1 - adam.beta1) * each
        square = adam.beta2 * square + (1 - adam.beta2) * each**2
        step = mean / (1 - adam.beta1**update) / ((square / (1 - adam.beta2**update)).sqrt() + adam.epsilon)
        temperatures = temperatures - RATE * step
    return temperatures


@pytest.mark.parametrize("each", [each for each in MEMBERS if each != BornAgain(strength=2.0, loss="kl")], ids=word)
def test_every_method_leaves_the_temperature_to_the_optimizer(each: Intervention) -> None:
    """Three updates, of which the third refreshes; the temperature steps along the gradients of the loss alone."""
    made, grads = learner((due(each, "update", 3),)), []
    target = {name: param.clone() for name, param in made.net.params.items()}
    made.net.params[TEMPERATURE] += 0.5
    start = made.net.params[TEMPERATURE].clone()
    for update in range(3):
        members = [batch(10 * update + 100 * member) for member in range(2)]
        given = {name: torch.stack([one[name] for one in members]) for name in members[0]}
        drawn = {KEY: made._noise(update)[KEY]} if made.network.draws else {}
        of_loss = grad(lambda params, drawn, *given: made.loss(params | drawn, *given)[0])
        grads.append(vmap(of_loss)(made.net.params, drawn, given, target)[TEMPERATURE])
        made.update(RATE, given, target)
    assert all(param.isfinite().all() for param in made.tensors().values() if param.is_floating_point())
    if isinstance(each, Reset) and each.part in ("everything", "network"):
        assert made.net.params[TEMPERATURE].tolist() == [[0.0], [0.0]]
    else:
        torch.testing.assert_close(made.net.params[TEMPERATURE], stepped(start, grads, made.optimizer), rtol=1e-5, atol=1e-7)
