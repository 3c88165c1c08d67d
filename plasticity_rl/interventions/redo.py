"""Recycling of dormant neurons."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State
from plasticity_rl.interventions.recycling import check_recycled, recycle
from plasticity_rl.metrics.units import dormant
from plasticity_rl.networks.layers import Layers, own_units
from plasticity_rl.optim.optimizers import Net


@dataclass(frozen=True)
class ReDo(Refresh):
    """Re-initialise the units that hardly respond to a batch (Sokar et al. 2023, arXiv 2302.12902).

    A unit is dormant if its mean |output| divided by its layer's mean is at most `tau`. Its incoming weights are re-initialised (its norm's
    scale and offset too), its bias and outgoing weights become zero, and their optimizer state is reset. A noisy layer's standard
    deviations are treated alike, except the bias's, which is re-initialised. A convolution's unit is a channel: its mean is over positions
    too, and its outgoing weights into a dense layer are those of all positions. Heads have no units; channels of a residual stream, which
    several layers write and read, are skipped, as in the official code. Recycling a silent unit keeps the network's function, except in
    layers with a norm, whose statistics change.

    Defaults are from the PyTorch port's configuration (tau 0.025, every 1,000 updates); the official class waits 200,000, and the paper
    also uses tau 0.1. The batch is the one just learned from; the official code draws one of 256 and the port one of 64: smaller batches
    have more dormant units. The official code draws Xavier uniform weights, here the network's own initialiser is used; it keeps the
    optimizer state of biases and Adam's step counter, here both are reset.
    """

    tau: Annotated[float, Interval("[0, 1)")] = 0.025
    """largest response of a dormant unit, relative to its layer's mean"""

    default_every: ClassVar[dict[str, int]] = {"update": 1000, "task": 1}

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    def require(self, layers: Layers) -> None:
        check_recycled("ReDo", layers)

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        if not context.features:  # a task boundary before the first batch
            return net, state
        marked = {layer.name: dormant(context.features[layer.name], self.tau) for layer in own_units(layers)}
        return recycle(net, context.fresh, marked, layers), state
