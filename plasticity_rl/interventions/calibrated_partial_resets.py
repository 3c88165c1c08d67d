"""Partial resets: every unit moves toward a new one, by as much as it lacks gradient."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State, UpdateContext
from plasticity_rl.metrics.norms import unit_gradients
from plasticity_rl.networks.layers import Layer, Layers, Params, own_units
from plasticity_rl.optim.optimizers import Net

TINY = 1e-8  # of the code read: the score of a layer without any gradient is 0


@dataclass(frozen=True)
class CalibratedPartialResets(Refresh):
    """Move every unit a little toward a new one, more so the smaller its share of the gradient, CPR (arXiv 2607.24996).

    Utility is a running average (by `decay`, from 1) of ReGraMa's score, the mean |gradient| of a unit's incoming weights over its layer's
    mean. A refresh turns it into a share

        r = rate * min(2 sigmoid(-sharpness (utility - threshold)), 1)

    and sets incoming weights to (1 - r) w + r new and outgoing weights to (1 - r) w, layer after layer, so that a weight between two layers
    shrinks first and is mixed then. All utilities start again at 1. Biases, norms and optimizer state are unchanged.

    All of this is read in the authors' repository, where the method is also called continuous partial resets; the paper itself was not
    read. rate 0.015 and threshold 1 are those of its scripts for this form; its function has 0.012 and 0.95, with an exponential in place
    of the sigmoid, and others, which are not built. New weights come from the network's own initialiser, there uniform by He et al. The
    gradient is the loss's with penalties. Channels of a residual stream are skipped.
    """

    rate: Annotated[float, Interval("(0, 1]")] = 0.015
    """largest share of a new unit, per refresh"""
    sharpness: Annotated[float, Interval("(0, inf)")] = 16.0
    """how fast the share falls as the utility rises above the threshold"""
    threshold: Annotated[float, Interval("(0, inf)")] = 1.0
    """utility below which a unit takes the largest share; 1 is the mean of a layer"""
    decay: Annotated[float, Interval("[0, 1)")] = 0.99
    """share of the running utility kept per update"""

    default_every: ClassVar[dict[str, int]] = {"update": 1000, "task": 1}
    uniform_age: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        return {layer.name: params[layer.weight].new_ones(layer.units) for layer in own_units(layers)}

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        averaged = {}
        for layer in own_units(layers):
            sizes = unit_gradients(grads[layer.weight])
            averaged[layer.name] = self.decay * state[layer.name] + (1 - self.decay) * sizes / (sizes.mean() + TINY)
        return net, averaged

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        params = dict(net.params)
        for layer in own_units(layers):
            share = self.rate * (2 * torch.sigmoid(-self.sharpness * (state[layer.name] - self.threshold))).clamp(max=1.0)
            for name in layer.weights:
                own = share.view(-1, *(1,) * (params[name].ndim - 1))
                params[name] = (1 - own) * params[name] + own * context.fresh[name]
            for reader in layers:
                if reader.name in layer.readers:
                    params |= {name: (1 - _by_column(share, layer, params[name])) * params[name] for name in reader.weights}
        return net._replace(params=params), {name: torch.ones_like(utility) for name, utility in state.items()}


def _by_column(share: Tensor, layer: Layer, weight: Tensor) -> Tensor:
    """The units' shares beside the columns of a reader's weight that read them."""
    return share.repeat_interleave(layer.columns).repeat(layer.copies).view(1, -1, *(1,) * (weight.ndim - 2))
