"""Noise in every update."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State, UpdateContext
from plasticity_rl.networks.layers import Layers, Params, Part, select
from plasticity_rl.optim.optimizers import Net


@dataclass(frozen=True)
class NoisyUpdates(Intervention):
    """Add sigma * normal noise to the parameters after every update, independent of the learning rate.

    "Noisy updates" are a baseline of the NaP paper (Lyle et al. 2024, arXiv 2407.01800); that they are this, and how strong they are, is
    not confirmed. 1e-4 is the largest noise that Dohare et al. 2024 sweep in their shrink and perturb.
    """

    repeatable: ClassVar[bool] = True
    noisy: ClassVar[bool] = True
    uniform_age: ClassVar[bool] = True

    sigma: Annotated[float, Interval("(0, inf)")] = 1e-4
    """standard deviation"""
    part: Part = "all"
    """layers to perturb"""

    def __post_init__(self) -> None:
        check(self)

    @property
    def needs_layer_graph(self) -> bool:
        return self.part != "all"

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        names = [name for layer in select(layers, self.part) for name in layer.parameters]
        return net._replace(params=net.params | {name: net.params[name] + self.sigma * context.noise[name] for name in names}), state
