"""Lion."""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from plasticity_rl.checks import Interval
from plasticity_rl.networks.layers import Layer, Params
from plasticity_rl.optim.optimizers import Net, Optimizer


@dataclass(frozen=True)
class Lion(Optimizer):
    """The sign of an average of gradients (Chen et al. 2023, arXiv 2302.06675).

    step = sign(beta1 mean + (1 - beta1) gradient), then mean <- beta2 mean + (1 - beta2) gradient. Every element moves by one learning
    rate, or not at all where the average is exactly 0, as in a dead unit; take rates three to ten times lower than Adam's, and a weight
    decay as much higher: advice from memory of the paper. Formula and defaults are read in optax.
    """

    beta1: Annotated[float, Interval("[0, 1)")] = 0.9
    """share of the past in the average whose sign is taken"""
    beta2: Annotated[float, Interval("[0, 1)")] = 0.99
    """decay per update of the average that is kept"""

    @property
    def slots(self) -> tuple[str, ...]:
        return ("mean",)

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        mean = net.slots["mean"]
        step: dict[str, Tensor] = {name: (self.beta1 * mean[name] + (1 - self.beta1) * grad).sign() for name, grad in grads.items()}
        return step, {"mean": {name: self.beta2 * mean[name] + (1 - self.beta2) * grad for name, grad in grads.items()}}
