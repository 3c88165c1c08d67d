"""Soft resets: a drift toward the initialisation in every update."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State, UpdateContext
from plasticity_rl.networks.layers import Layers, Params
from plasticity_rl.optim.optimizers import Net


@dataclass(frozen=True)
class SoftReset(Intervention):
    """Drift toward the initial distribution after every update (Galashov et al. 2024, arXiv 2411.04034).

    theta <- gamma * theta + (1 - gamma) * mu0 + noise * sqrt(1 - gamma^2) * sigma0 * normal noise: the Ornstein-Uhlenbeck process that the
    paper assumes for the drift of the optimum; without gradients it converges to the distribution of (mu0, sigma0) from any start. mu0 is
    the network's own `start`, or the `average` of each initial tensor (0 for weights, up to sampling error, 1 for scales); sigma0 is each
    initial tensor's standard deviation: 0 for scales, offsets and a noisy layer's standard deviations, and rough for a bias of a few units.

    The paper estimates gamma online, from how well the drifted network predicts the next batch; that is not built: gamma is a constant
    here, and its value ours. The paper's own updates use the mean of the drift (noise=0) and a larger learning step instead; the latter is
    not built either. Its formulas are remembered, with its abstract and a survey at hand.
    """

    noisy: ClassVar[bool] = True
    uniform_age: ClassVar[bool] = True

    gamma: Annotated[float, Interval("[0, 1)")] = 0.99999
    """share of the parameters kept per update"""
    noise: Annotated[float, Interval("[0, inf)")] = 1.0
    """factor of the process's noise; 0 leaves its mean"""
    mean: Literal["start", "average"] = "start"
    """target of the drift"""

    def __post_init__(self) -> None:
        check(self)

    @property
    def needs_layer_graph(self) -> bool:
        return False

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        means = {name: param.clone() if self.mean == "start" else param.mean().expand_as(param).clone() for name, param in params.items()}
        return means | {f"{name}.spread": param.std(correction=0) for name, param in params.items()}

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        width = self.noise * (1 - self.gamma**2) ** 0.5
        return net._replace(
            params={
                name: self.gamma * param + (1 - self.gamma) * state[name] + width * state[f"{name}.spread"] * context.noise[name]
                for name, param in net.params.items()
            }
        ), state
