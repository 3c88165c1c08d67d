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
    """Adds strength * the sum over hidden weights of ||W W^T - s I||_F^2 (Cisse et al. 2017, arXiv 1704.08847; in continual reinforcement
    learning Chung et al. 2024, arXiv 2412.07224).

    A convolution's weight counts as a matrix (units, channels x height x width). Of one with more rows than columns, W^T W is taken in
    its place, as its rows cannot be orthogonal: that differs by a constant and has the same gradient. Heads, biases, norms and a noisy
    layer's standard deviations are left alone.

    The defaults are those of Chung et al.'s code: s = 2 is the square of the gain of its initial weights, which are orthogonal, so that
    the penalty begins at 0 there, as it does here after Orthogonal with ReLU, and does not with the default initialiser. Its strength is
    1e-3 in two environments and 1e-4 in the other two, and times (64 / width)^2 in layers of another width than 64, which is not done
    here; nor is the learned scale behind every layer that it has in one of them.

    An update costs two products more of each weight with a matrix of its smaller side, for the products of its rows and for their gradient.
    Beside batches of 32 of a Nature CNN, whose dense layer has 512 rows of 3,136, these are more multiplications (counted) than all the
    rest of a DQN's update.
    """

    repeatable: ClassVar[bool] = True

    strength: Annotated[float, Interval("(0, inf)")] = 1e-3
    """what the squared distance is multiplied with"""
    scale: Annotated[float, Interval("(0, inf)")] = 2.0
    """s, the squared length that every row or column is drawn to"""

    def __post_init__(self) -> None:
        check(self)

    def penalty(self, params: Params, state: State, layers: Layers, context: UpdateContext) -> Tensor:
        return self.strength * torch.stack([self._distance(params[layer.weight].flatten(1)) for layer in select(layers, "hidden")]).sum()

    def _distance(self, matrix: Tensor) -> Tensor:
        """Its value, and the gradient 4 (W W^T - s I) W, for which automatic differentiation would take one product more: it does not know
        that W W^T is symmetric."""
        rows, columns = matrix.shape
        wide = matrix if rows <= columns else matrix.T
        still = wide.detach()
        off = still @ still.T - self.scale * torch.eye(len(still), dtype=matrix.dtype, device=matrix.device)
        return off.square().sum() + 4 * ((off @ still) * (wide - still)).sum()
