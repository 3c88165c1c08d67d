"""Schedule-free AdamW."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import Interval
from plasticity_rl.networks.layers import Layer, Params
from plasticity_rl.optim.optimizers import Net, Optimizer, averaged


@dataclass(frozen=True)
class ScheduleFree(Optimizer):
    """AdamW whose weights are an average of its iterates, in place of a decaying learning rate (Defazio et al. 2024, arXiv 2405.15682).

        y = (1 - beta1) z + beta1 x;  z <- z - rate * (gradient at y / root mean square + weight_decay * y);  x <- (1 - c) x + c z

    x are the network's parameters: they act, are scored, stand in checkpoints and are copied to target networks, and methods of a chain
    refresh and project them. The loss, penalties and metrics of gradients are of y, so that a policy-gradient agent learns at other weights
    than those that acted. c is the share of this update in the sum over updates of the squared largest rate so far: updates of a warm-up
    count less. It falls as 1 / updates, so that the average keeps earlier tasks too, until `reset` makes it start again.

    The state holds z - x, so that it is 0 for a new weight, whose average starts at its new value. A refresh or projection moves z by as
    much as x; y is not projected. Formula and defaults are read in the authors' package, whose rate is 2.5e-3, constant. Its warm-up is a
    learning-rate schedule here, and its power of the update count, 0 by default, is left out.
    """

    beta1: Annotated[float, Interval("[0, 1)")] = 0.9
    """share of the average in the weights at which gradients are taken"""
    beta2: Annotated[float, Interval("[0, 1)")] = 0.999
    """decay per update of the average of squared gradients"""
    epsilon: Annotated[float, Interval("(0, inf)")] = 1e-8
    """added to the root of the average of squared gradients"""

    ages: ClassVar[tuple[str, ...]] = ("seen2", "peak", "total")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("ahead", "square", "seen2", "peak", "total")

    def gradient_at(self, net: Net) -> Params:
        return {name: param + (1 - self.beta1) * net.slots["ahead"][name] for name, param in net.params.items()}

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        """The step of z."""
        square = averaged(net.slots["square"], self.beta2, lambda name: grads[name].square())
        seen2 = averaged(net.slots["seen2"], self.beta2, lambda name: 1.0)
        step = {name: grad / ((square[name] / seen2[name]).sqrt() + self.epsilon) for name, grad in grads.items()}
        return self.decay_added(step, self.gradient_at(net), layers), net.slots | {"square": square, "seen2": seen2}

    def moved(self, net: Net, grads: Params, rate: Tensor, layers: tuple[Layer, ...], noise: Params) -> Net:
        step, slots = self.step(net, grads, layers, noise)
        peak = {name: old.clamp(min=rate) for name, old in slots["peak"].items()}
        total = {name: old + peak[name].square() for name, old in slots["total"].items()}
        params, ahead = {}, {}
        for name, param in net.params.items():
            share = torch.where(total[name] > 0, peak[name].square() / torch.where(total[name] > 0, total[name], 1.0), 0.0)
            from_x = slots["ahead"][name] - rate * step[name]  # z after its step, as seen from x before its own
            params[name], ahead[name] = param + share * from_x, (1 - share) * from_x
        return Net(params, slots | {"ahead": ahead, "peak": peak, "total": total})
