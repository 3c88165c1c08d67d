"""Direction-aware shrinking."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State, UpdateContext
from plasticity_rl.networks.layers import Layers, Params
from plasticity_rl.optim.optimizers import Net

TINY = 1e-30  # a zero vector has no direction: its cosine is 0


@dataclass(frozen=True)
class DASH(Refresh):
    """Shrink weights that do not point along the negative gradient (Shin et al., NeurIPS 2024, arXiv 2410.23495).

    w <- w * max(least, cos(w, -g)) with g a moving average of gradients, g <- (1 - alpha) * g + alpha * gradient after every update. As in
    the official code, a direction is a unit's incoming weights in a dense layer, one kernel (one unit, one channel) in a convolution, and a
    bias vector as a whole. Heads are included; scales, offsets and a noisy layer's standard deviations are not. The defaults 0.3 and 0.3
    are from its README.

    The official code shrinks when new data arrives, after a pass over all data with the weights fixed; here g averages the gradients of the
    whole loss over updates, and the default clock is the task. Optimizer state is kept; chain Reset(part="optimizer") to reset it.
    """

    clock: Literal["update", "task"] = "task"
    least: Annotated[float, Interval("[0, 1]")] = 0.3
    """smallest factor; the paper's lambda"""
    alpha: Annotated[float, Interval("(0, 1]")] = 0.3
    """weight of the newest gradient in the average"""

    default_every: ClassVar[dict[str, int]] = {"task": 1}
    uniform_age: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    @property
    def needs_layer_graph(self) -> bool:
        return False

    @property
    def needs_fresh(self) -> bool:
        return False

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        return {name: torch.zeros_like(params[name]) for name in _shrunk(layers)}

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        return net, {name: (1 - self.alpha) * old + self.alpha * grads[name] for name, old in state.items()}

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        cosines = {name: _cosine(net.params[name], -gradient) for name, gradient in state.items()}
        shrunk = {name: net.params[name] * cosine.clamp(min=self.least).clamp(max=1.0) for name, cosine in cosines.items()}
        return net._replace(params=net.params | shrunk), state


def _shrunk(layers: Layers) -> tuple[str, ...]:
    return tuple(name for layer in layers for name in (layer.weight, layer.bias) if name is not None)


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    """Cosine similarity per direction: a vector, a row of a matrix, or a kernel of a convolution."""
    dims = (-2, -1) if one.ndim == 4 else -1

    def unit(vectors: Tensor) -> Tensor:
        return vectors / vectors.square().sum(dims, keepdim=True).sqrt().clamp(min=TINY)

    return (unit(one) * unit(other)).sum(dims, keepdim=True)
