"""Trust region on features."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State, UpdateContext, require_read_units
from plasticity_rl.networks.layers import Layers, Params, penultimate
from plasticity_rl.optim.optimizers import Net


@dataclass(frozen=True)
class FeatureTrustRegion(Intervention):
    """Keep the last hidden layer's pre-activations near those of a recent network (Moalla et al. 2024, arXiv 2405.00662).

    Proximal feature optimisation: adds coefficient * mean over samples and units of the squared change since the anchor network.
    Coefficient 1, the mean, the last layer and the pre-activations are the official code's for Atari. That code constrains the policy's
    network and not its separate value network; here both share the constrained layer, or both networks are constrained. If several layers
    feed heads, their means are added. Pre-activations are the activation's inputs, after a norm.

    The first anchor is the initial network; every `every` updates the network as the optimizer left it, before any projection or refresh,
    becomes the anchor. The paper's anchor is the network that collected the data: for PPO, `every` is epochs x minibatches, 16 by this
    project's defaults and the paper's smallest setting. Costs a second and a third forward pass per update.
    """

    repeatable: ClassVar[bool] = True

    coefficient: Annotated[float, Interval("(0, inf)")] = 1.0
    """factor of the mean squared change; the official code's for Atari"""
    every: Annotated[int, Interval("[2, inf)")] = 16
    """updates between two anchors; 1 would leave nothing to penalise"""

    uniform_age: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)

    def require(self, layers: Layers) -> None:
        require_read_units(type(self).__name__, layers)

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        start = next(iter(params.values()))
        return {name: param.clone() for name, param in params.items()} | {"updates": start.new_zeros((), dtype=torch.int64)}

    def penalty(self, params: Params, state: State, layers: Layers, context: UpdateContext) -> Tensor:
        now, then = context.apply(params, raw=True)[1], context.apply({name: state[name] for name in params}, raw=True)[1]
        return self.coefficient * torch.stack([(now[layer.name] - then[layer.name]).square().mean() for layer in penultimate(layers)]).sum()

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        updates = state["updates"] + 1
        due = updates % self.every == 0
        return net, {name: torch.where(due, param, state[name]) for name, param in net.params.items()} | {"updates": updates}
