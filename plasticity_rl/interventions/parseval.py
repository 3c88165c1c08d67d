"""Parseval regularisation: orthogonal weights."""

from dataclasses import dataclass

import torch
from torch import Tensor

from plasticity_rl.checks import check
from plasticity_rl.interventions.base import Intervention, Layers, Seen, State, select
from plasticity_rl.networks import Params


@dataclass(frozen=True)
class Parseval(Intervention):
    """Adds strength * the sum over hidden weights of ||W W^T - s I||_F^2 (Cisse et al. 2017, arXiv 1704.08847; in continual reinforcement
    learning Chung et al. 2024, arXiv 2412.07224).

    A convolution's weight counts as a matrix (units, channels x height x width). Of a matrix with more rows than columns the columns
    are made orthogonal instead, W^T W: its rows cannot be. Heads, biases, norms and a noisy layer's standard deviations are left alone.
    Strength 1e-3 and s = 1 are the Plasticine library's, not confirmed in the papers. The papers start from orthogonal weights, where this
    penalty begins at 0; the default initialiser's do not.
    """

    strength: float = 1e-3
    scale: float = 1.0
    """s, the squared length that every row or column is drawn to"""

    def __post_init__(self) -> None:
        check(self, strength="(0, inf)", scale="(0, inf)")

    def penalty(self, params: Params, state: State, layers: Layers, seen: Seen) -> Tensor:
        return self.strength * torch.stack([self._distance(params[layer.weight].flatten(1)) for layer in select(layers, "hidden")]).sum()

    def _distance(self, matrix: Tensor) -> Tensor:
        rows, columns = matrix.shape
        products = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
        return (products - self.scale * torch.eye(min(rows, columns), dtype=matrix.dtype, device=matrix.device)).square().sum()
