"""AdamO."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from plasticity_rl.checks import Interval
from plasticity_rl.networks.layers import Layer, Params
from plasticity_rl.optim.optimizers import Adam, Net


@dataclass(frozen=True)
class AdamO(Adam):
    """Adam with a decoupled step toward orthogonal weights (Rosseau, Mueller & Nowe, ICML 2026, arXiv 2606.09762).

    w <- w - rate * (Adam's step + isometry * the gradient of ||W^T W - I||_F^2), and of ||W W^T - I||_F^2 where a weight has fewer rows
    than columns, for every hidden weight. Adam's averages see the task's gradient alone, as in AdamW; the penalty in the loss is the method
    `parseval`, whose target is another. A convolution's weight is a matrix (units, channels x height x width).

    Formulas are read in two second implementations; the paper's own strength was not read. A fork of rejax by another hand uses 0.1 to 0.2
    with half this gradient, a target of units / inputs for weights with more units than inputs, and sorted pairs of units (GroupSort),
    which keep the length of what passes through; with ReLU such weights halve its mean square in each layer. Neither is built.
    """

    isometry: Annotated[float, Interval("[0, inf)")] = 0.1
    """strength of the step toward orthogonal weights, per unit of learning rate"""

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        step, slots = super().step(net, grads, layers, noise)
        pulled = {layer.weight for layer in layers if not layer.head and layer.weight in grads}
        return {name: s + self.isometry * _deviation(net.params[name]) if name in pulled else s for name, s in step.items()}, slots


def _deviation(weight: Tensor) -> Tensor:
    """Gradient of the squared distance of the smaller Gram matrix from the identity."""
    matrix = weight.flatten(1)
    wide = matrix.shape[0] < matrix.shape[1]
    rows = matrix if wide else matrix.mT
    off = rows @ rows.mT - torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
    gradient = 4 * off @ rows
    return (gradient if wide else gradient.mT).reshape(weight.shape)
