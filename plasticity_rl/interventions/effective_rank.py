"""Steps that raise the effective rank of units."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.func import grad

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State
from plasticity_rl.networks.layers import Layers, Params
from plasticity_rl.optim.optimizers import Net

SMALLEST = 1e-6  # of the largest singular value: directions below it have no derivative to speak of


@dataclass(frozen=True)
class EffectiveRank(Refresh):
    """Raise the mean effective rank of the hidden layers' units by a gradient step of its own, L2-ER together with `l2` (He et al.,
    arXiv 2509.22335).

    Every `every` updates, all parameters take one plain step of length `rate` up the gradient of the mean over layers of exp(H(p)), where p
    are the singular values of a layer's units (samples, units) over their sum. Optimizer state stays. Each output of a convolution is a
    sample.

    Read in the official code, whose steps take the examples of all updates since the last one; here they take the last batch's. That code
    uses all hidden layers on MNIST, as here, and the last two on ImageNet. `rate` 1e-3 is its value beside weight decay on CIFAR and
    ImageNet, 1e-4 that without; `every` 12 is its value on ImageNet. Directions below 1e-6 of the largest count as absent, as the
    derivative depends there on which basis a decomposition returns. Its weight decay is coupled, as `l2` is. Costs a forward and a backward
    pass and a singular value decomposition of every layer's units per step.
    """

    default_every: ClassVar[dict[str, int]] = {"update": 12}
    uniform_age: ClassVar[bool] = True

    rate: Annotated[float, Interval("(0, inf)")] = 1e-3
    """length of a step over that of the gradient"""

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    @property
    def needs_fresh(self) -> bool:
        return False

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        if not context.features:
            return net, state

        def mean(learned: Params) -> Tensor:
            return torch.stack([effective_rank(units) for units in context.apply(net.params | learned)[1].values()]).mean()

        own = {name: net.params[name] for layer in layers for name in layer.own if name not in layer.singular}
        slope = grad(mean)(own)
        return net._replace(params=net.params | {name: own[name] + self.rate * slope[name] for name in own}), state


def effective_rank(units: Tensor) -> Tensor:
    """exp(H(p)) of the singular values' shares p, differentiable."""
    values = torch.linalg.svdvals(units)
    least = torch.finfo(values.dtype).tiny
    kept = torch.where(values > SMALLEST * values[0], values, 0.0)
    shares = kept / kept.sum().clamp(min=least)
    return (-shares * shares.clamp(min=least).log()).sum().exp()
