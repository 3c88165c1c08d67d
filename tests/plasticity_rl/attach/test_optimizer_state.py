"""torch.optim's state of reset and other elements, beside each element's own history."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from plasticity_rl.attach import attach
from plasticity_rl.interventions import Refresh
from plasticity_rl.interventions.recycling import overwrite
from tests.learners import generator

pytestmark = pytest.mark.usefixtures("double")


@dataclasses.dataclass(frozen=True)
class Rebirth(Refresh):
    """Resets every weight's first row to 0."""

    def refresh(self, net, state, evidence, layers):
        masks = {layer.weight: torch.zeros_like(net.params[layer.weight], dtype=torch.bool) for layer in layers}
        for mask in masks.values():
            mask[0] = True
        return overwrite(net, masks, {name: torch.zeros_like(net.params[name]) for name in masks}), state


def linear() -> nn.Linear:
    module = nn.Linear(3, 4, bias=False)
    nn.init.constant_(module.weight, 0.5)
    return module


def gradients(count: int) -> list[torch.Tensor]:
    draw = generator(6)
    return [torch.randn(4, 3, generator=draw) for _ in range(count)]


@pytest.mark.parametrize("corrected", [True, False])
def test_newborn_and_survivors_take_steps_of_one_learning_rate(corrected):
    """With a constant gradient each of Adam's steps is one learning rate; uncorrected, the first after a reset would be 3.15."""
    module = linear()
    optimizer = torch.optim.Adam(module.parameters(), 0.01, eps=1e-12)
    plan = attach(module, optimizer, (Rebirth(every=2000),), torch.randn(2, 3))
    for number in range(2300):
        module.weight.grad = torch.full((4, 3), 0.7)
        before = module.weight.detach().clone()
        if number == 2000 and not corrected:
            plan.detach()
        optimizer.step()
        moved = (before - module.weight.detach()) / 0.01
        if corrected:
            torch.testing.assert_close(moved, torch.ones(4, 3), rtol=1e-8, atol=1e-9)
            plan.after_step()
        elif number < 2000:
            plan.after_step()
        else:
            first_square, first_mean = (1 - 0.999) / (1 - 0.999**2001), (1 - 0.9) / (1 - 0.9**2001)
            assert math.isclose(moved[0, 0], first_mean / first_square**0.5, rel_tol=1e-6) and 2.9 < moved[0, 0] < 3.2
            torch.testing.assert_close(moved[1:], torch.ones(3, 3), rtol=1e-8, atol=1e-9)
            return


FLAVOURS = {
    "adam": (torch.optim.Adam, {"betas": (0.8, 0.95), "eps": 1e-3}),
    "adam l2": (torch.optim.Adam, {"weight_decay": 0.2}),
    "adam maximize": (torch.optim.Adam, {"maximize": True, "foreach": True}),
    "amsgrad": (torch.optim.Adam, {"amsgrad": True, "betas": (0.5, 0.6)}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.3}),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.9}),
    "rmsprop l2": (torch.optim.RMSprop, {"alpha": 0.9, "weight_decay": 0.2, "maximize": True}),
    "rmsprop momentum": (torch.optim.RMSprop, {"alpha": 0.8, "momentum": 0.7, "centered": True}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
}


def alone(kind: type, how: dict, weight: float, grads: list[float], count: int) -> tuple[list[float], float]:
    """Each step of one weight under the textbook rule; `count`: step of its reset (0: the optimizer's start)."""
    mean = square = largest = velocity = 0.0
    path = []
    for t, grad in enumerate(grads, 1):
        grad = -grad if how.get("maximize") else grad
        if kind is torch.optim.AdamW:
            weight -= 0.01 * how["weight_decay"] * weight
        else:
            grad += how.get("weight_decay", 0.0) * weight
        if kind is torch.optim.SGD:
            velocity = 0.9 * velocity + grad
            weight -= 0.01 * (grad + 0.9 * velocity)
        elif kind is torch.optim.RMSprop:
            alpha = how["alpha"]
            square, mean = alpha * square + (1 - alpha) * grad**2, alpha * mean + (1 - alpha) * grad
            grown = 1 - alpha**t if count else 1.0
            change = grad / (math.sqrt(square / grown - (mean**2 if how.get("centered") else 0.0)) + 1e-8)
            velocity = how.get("momentum", 0.0) * velocity + change
            weight -= 0.01 * velocity
        else:
            beta1, beta2 = how.get("betas", (0.9, 0.999))
            mean, square = beta1 * mean + (1 - beta1) * grad, beta2 * square + (1 - beta2) * grad**2
            largest = max(largest, square)
            divisor = math.sqrt((largest if how.get("amsgrad") else square) / (1 - beta2**t)) + how.get("eps", 1e-8)
            weight -= 0.01 * mean / (1 - beta1**t) / divisor
        path.append(weight)
    return path, weight


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_each_element_goes_as_if_it_were_alone(flavour):
    kind, how = FLAVOURS[flavour]
    module, grads = linear(), gradients(25)
    optimizer = kind(module.parameters(), lr=0.01, **how)
    plan = attach(module, optimizer, (Rebirth(every=10),), torch.randn(2, 3))
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    for number, grad in enumerate(grads, 1):
        module.weight.grad = grad.clone()
        optimizer.step()
        schedule.step()
        for row in range(4):
            for column in range(3):
                born = (number - 1) // 10 * 10 if row == 0 else 0
                own = [each[row, column].item() for each in grads[born:number]]
                expected = alone(kind, how, 0.0 if born else 0.5, own, born)[1]
                assert math.isclose(module.weight[row, column].item(), expected, rel_tol=1e-8, abs_tol=1e-11), (number, row, column)
        plan.after_step()


def test_a_correction_ends():
    module = linear()
    optimizer = torch.optim.Adam(module.parameters(), 0.01, betas=(0.5, 0.6))
    plan = attach(module, optimizer, (Rebirth(every=40),), torch.randn(2, 3))
    held = []
    for grad in gradients(79):
        module.weight.grad = grad
        optimizer.step()
        plan.after_step()
        held.append(any(name.startswith("reset_steps/") for name in plan.state_dict()))
    lasts = math.ceil(math.log(1e-7) / math.log(0.6))  # 32
    assert held == [False] * 39 + [True] * (lasts) + [False] * (79 - 39 - lasts)


@pytest.mark.parametrize("first", [True, False])
def test_a_hook_that_was_there_before_the_plan_makes_no_difference(first):
    """Hooks of an optimizer run in the order in which they came."""
    module, other = linear(), linear()
    optimizer, optimizer2 = (torch.optim.Adam(each.parameters(), 0.01) for each in (module, other))
    plans = []
    if first:
        optimizer.register_step_post_hook(lambda *_: plans[0].after_step() and None)
    plans += [attach(each, by, (Rebirth(every=3),), torch.randn(2, 3)) for each, by in ((module, optimizer), (other, optimizer2))]
    if not first:
        optimizer.register_step_post_hook(lambda *_: plans[0].after_step() and None)
    for grad in gradients(10):
        for each, by in ((module, optimizer), (other, optimizer2)):
            each.weight.grad = grad.clone()
            by.step()
        plans[1].after_step()
        assert torch.equal(module.weight, other.weight) and module.weight.isfinite().all()
