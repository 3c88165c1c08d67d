"""Recycling of the units that hardly receive a gradient."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State, UpdateContext
from plasticity_rl.interventions.recycling import check_recycled, recycle
from plasticity_rl.metrics.norms import unit_gradients
from plasticity_rl.networks.layers import Layers, Params, own_units
from plasticity_rl.optim.optimizers import Net


@dataclass(frozen=True)
class ReGraMa(Refresh):
    """Re-initialise the units whose incoming weights hardly receive a gradient (Liu et al., NeurIPS 2025, arXiv 2505.24061).

    A unit's score (GraMa) is the mean |gradient| of its incoming weights divided by its layer's mean, in the last update; units with a
    score of at most `tau` are recycled as by ReDo: incoming weights re-initialised (its norm's scale and offset too), bias and outgoing
    weights zero, their optimizer state reset. Unlike ReDo it says nothing of an activation's sign or size, so any activation will do.

    Formula and both defaults are read in a second implementation, the baseline of arXiv 2607.24996; the paper's text and code were not
    read. That baseline also uses tau 0.25 every 100 updates (PPO on Slippery Ant) and 1e-4 with at most 2% of a layer at once (MinAtar);
    the cap is not built. Gradients are the loss's with penalties, of one batch, before any clipping. Where no unit has a gradient, all are
    recycled. A noisy layer's standard deviations do not count. Channels of a residual stream are skipped, as in ReDo.
    """

    tau: Annotated[float, Interval("[0, 1)")] = 0.01
    """largest score of a recycled unit, relative to its layer's mean"""

    default_every: ClassVar[dict[str, int]] = {"update": 1000, "task": 1}

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    def require(self, layers: Layers) -> None:
        check_recycled("ReGraMa", layers)

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        # equal sizes until there is a gradient, so that a refresh before the first update recycles none
        return {layer.name: params[layer.weight].new_ones(layer.units) for layer in own_units(layers)}

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        return net, {layer.name: unit_gradients(grads[layer.weight]) for layer in own_units(layers)}

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        marked: dict[str, Tensor] = {name: sizes <= self.tau * sizes.mean() for name, sizes in state.items()}
        return recycle(net, context.fresh, marked, layers), state
