"""AdamRel: the paper's limits of a step after the gradient jumps, by this project's Adam and by torch's."""

import math

import pytest
import torch
from torch import nn

from plasticity_rl.attach import attach
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import AdamRel, RefreshContext
from plasticity_rl.optim.optimizers import SGD, Adam, Net, RMSprop

pytestmark = pytest.mark.usefixtures("double")

JUMP = 1e5  # of the gradient, where the objective changes


def step_after_the_jump(forget: bool, uniform_age: bool) -> float:
    params = {"w": torch.zeros(2)}
    optimizer = Adam()
    net = Net(params, optimizer.init(params, uniform_age=uniform_age))
    for _ in range(8_000):
        net = optimizer.update(net, {"w": torch.ones(2)}, torch.tensor(1.0), ())
    if forget:
        net, _ = AdamRel().refresh(net, {}, RefreshContext({}, {}), ())
    after = optimizer.update(net, {"w": JUMP * torch.ones(2)}, torch.tensor(1.0), ())
    return (net.params["w"] - after.params["w"])[0].item()


@pytest.mark.parametrize("uniform_age", [False, True])
def test_a_step_after_the_jump_is_one_learning_rate_and_not_the_root_of_ten(uniform_age: bool) -> None:
    assert step_after_the_jump(True, uniform_age) == pytest.approx(1.0, rel=1e-3)
    assert step_after_the_jump(False, uniform_age) == pytest.approx(math.sqrt(10), rel=1e-3)


def test_later_steps_are_torchs_with_its_counter_set_to_zero() -> None:
    gradients = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))
    weight = nn.Parameter(torch.zeros(3))
    theirs, ours = torch.optim.Adam([weight], lr=0.1), Adam()
    net = Net({"w": torch.zeros(3)}, ours.init({"w": torch.zeros(3)}))
    for update, gradient in enumerate(gradients):
        if update == 12:
            theirs.state[weight]["step"].zero_()
            net, _ = AdamRel().refresh(net, {}, RefreshContext({}, {}), ())
        weight.grad = gradient
        theirs.step()
        net = ours.update(net, {"w": gradient}, torch.tensor(0.1), ())
        torch.testing.assert_close(net.params["w"], weight.detach(), rtol=1e-10, atol=1e-12)


def test_attached_to_torchs_adam_it_is_the_same() -> None:
    torch.manual_seed(0)
    modules = [nn.Linear(3, 2) for _ in range(2)]
    modules[1].load_state_dict(modules[0].state_dict())
    optimizers = [torch.optim.Adam(module.parameters(), lr=0.1) for module in modules]
    plan = attach(modules[0], optimizers[0], (AdamRel(clock="update", every=5),))
    for update in range(1, 13):
        x = torch.randn(4, 3)
        for module, optimizer in zip(modules, optimizers, strict=True):
            optimizer.zero_grad()
            module(x).square().mean().backward()
            optimizer.step()
        plan.after_step()
        if update % 5 == 0:
            for param in modules[1].parameters():
                optimizers[1].state[param]["step"].zero_()
        for one, other in zip(modules[0].parameters(), modules[1].parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


def test_optimizers_without_a_bias_correction_are_no_place_for_it() -> None:
    assert AdamRel().is_noop(SGD()) and not AdamRel().is_noop(Adam()) and not AdamRel().is_noop(RMSprop())
    with pytest.raises(UsageError, match="clock=update needs every"):
        AdamRel(clock="update")
