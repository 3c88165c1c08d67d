"""Spectral regularisation: every layer's largest singular value near one."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State, UpdateContext
from plasticity_rl.networks.layers import Layers, Params
from plasticity_rl.optim.optimizers import Net

TINY = 1e-30


@dataclass(frozen=True)
class Spectral(Intervention):
    """Add strength * the sum over layers of (sigma_max(W)^k - 1)^2 + ||b||^(2k) (Lewandowski et al. 2024, arXiv 2406.06811).

    A convolution's weight counts as a matrix (units, channels x height x width); heads are included. sigma_max is ||W v||; v, a unit vector
    of each layer's fan in, starts as the leading right singular vector and takes `iterations` steps of power iteration after every update:
    sigma_max is slightly too small while the leading direction turns, and for some updates after a reset. The gradient treats v as
    constant, which is exact if v is.

    k = 2 is remembered, and a second code's. For the bias a survey writes ||b||^k and a second code ||b||^(2k), the same form with 0 in
    place of 1, which is used here. A norm's offset is treated as a bias, and its scale adds ||scale - 1||^2: the second code's choice, not
    confirmed in the paper. A noisy layer's standard deviations are left out. The strength is ours.
    """

    repeatable: ClassVar[bool] = True

    strength: Annotated[float, Interval("(0, inf)")] = 1e-4
    """factor of the sum"""
    exponent: Annotated[float, Interval("[1, inf)")] = 2.0
    """k"""
    iterations: Annotated[int, Interval("[1, 1000]")] = 1
    """power iterations after every update"""

    uniform_age: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)

    @property
    def needs_layer_graph(self) -> bool:
        return False

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        # not by power iteration: a new weight's singular values are so close that after 100 steps its gradient can be 87% off
        return {layer.weight: torch.linalg.svd(params[layer.weight].flatten(1), full_matrices=False).Vh[0].clone() for layer in layers}

    def penalty(self, params: Params, state: State, layers: Layers, context: UpdateContext) -> Tensor:
        terms = []
        for layer in layers:
            largest = (params[layer.weight].flatten(1) @ state[layer.weight]).norm()
            terms.append((largest**self.exponent - 1).square())
            terms += [params[name].square().sum() ** self.exponent for name in (layer.bias, layer.offset) if name is not None]
            if layer.scale is not None:
                terms.append((params[layer.scale] - 1).square().sum())
        return self.strength * torch.stack(terms).sum()

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        return net, {name: _iterated(net.params[name].flatten(1), vector, self.iterations) for name, vector in state.items()}


def _iterated(matrix: Tensor, vector: Tensor, times: int) -> Tensor:
    """`vector` after power iterations toward the leading right singular vector; unchanged for a matrix of zeros."""
    for _ in range(times):
        image = matrix.T @ (matrix @ vector)
        length = image.norm()
        vector = torch.where(length > TINY, image / length.clamp(min=TINY), vector)
    return vector
