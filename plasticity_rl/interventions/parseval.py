"""Parseval regularisation: orthogonal weights."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State, UpdateContext
from plasticity_rl.networks.layers import Layers, Params, select


@dataclass(frozen=True)
class Parseval(Intervention):
    """Add strength * the sum over hidden weights of ||W W^T - s I||_F^2 (Cisse et al. 2017, arXiv 1704.08847).

    Chung et al. 2024 (arXiv 2412.07224) use it in continual reinforcement learning. A convolution's weight counts as a matrix (units,
    channels x height x width). A matrix with more rows than columns, whose rows cannot be orthogonal, contributes W^T W instead: the
    difference is constant, the gradient the same. Heads, biases, norms and a noisy layer's standard deviations are left out.

    The defaults are those of Chung et al.'s code: s = 2 is the square of the gain of its orthogonal initial weights, so that the penalty
    starts at 0 there, as it does here after Orthogonal with ReLU, and not with the default initialiser. Its strength is 1e-3 in two
    environments and 1e-4 in the other two, times (64 / width)^2 in layers of another width than 64; that factor is not built, nor is the
    learned scale behind every layer that it has in one of them.

    An update costs two more products of each weight with a matrix of its smaller side, for the products of its rows and their gradient.
    With batches of 32 and a Nature CNN, whose dense layer has 512 rows of 3,136, these are more multiplications (counted) than the rest of
    a DQN update.
    """

    repeatable: ClassVar[bool] = True

    strength: Annotated[float, Interval("(0, inf)")] = 1e-3
    """factor of the squared distance"""
    scale: Annotated[float, Interval("(0, inf)")] = 2.0
    """s, the target squared length of every row or column"""

    def __post_init__(self) -> None:
        check(self)

    def penalty(self, params: Params, state: State, layers: Layers, context: UpdateContext) -> Tensor:
        return self.strength * torch.stack([self._distance(params[layer.weight].flatten(1)) for layer in select(layers, "hidden")]).sum()

    def _distance(self, matrix: Tensor) -> Tensor:
        """Squared distance, with the gradient 4 (W W^T - s I) W.

        Automatic differentiation would take one more product, as it does not use the symmetry of W W^T.
        """
        rows, columns = matrix.shape
        wide = matrix if rows <= columns else matrix.T
        still = wide.detach()
        off = still @ still.T - self.scale * torch.eye(len(still), dtype=matrix.dtype, device=matrix.device)
        return off.square().sum() + 4 * ((off @ still) * (wide - still)).sum()
