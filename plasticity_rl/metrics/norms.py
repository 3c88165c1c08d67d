"""Norms of one network's weights, weight changes and gradients, by layer; and the sensitivity of outputs to inputs."""

from collections.abc import Callable

import torch
from torch import Tensor

from plasticity_rl.networks.layers import Layer, Params


def weight_norm(params: Params, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    """||W||, the Frobenius norm of each layer's weight: layer name -> scalar."""
    return {layer.name: params[layer.weight].norm() for layer in layers}


def distance(before: Params, after: Params, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    """||W' - W||, the Frobenius norm of the change of each layer's weight: layer name -> scalar.

    From the parameters before and after one update it is the update's norm; from the initial parameters it is the distance from
    initialisation, part of which a refresh removes. In layers that a norm follows, length does not measure change of the function: see
    `effective_learning_rate`.
    """
    return {layer.name: (after[layer.weight] - before[layer.weight]).norm() for layer in layers}


def effective_learning_rate(before: Params, after: Params, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    """||dW|| / ||W|| of one update, by layer: the angle by which a weight turned, all that matters for a normalised layer.

    The ratio of Lyle et al. (arXiv 2407.01800, 2507.20057); `before` and `after` are the parameters before and after the update. 0 for a
    weight of zeros.
    """
    changes, lengths = distance(before, after, layers), weight_norm(before, layers)
    return {name: torch.where(lengths[name] > 0, change / lengths[name], 0.0) for name, change in changes.items()}


def gradient_l0(grads: Params, layers: tuple[Layer, ...], tolerance: float = 0.0) -> dict[str, Tensor]:
    """The share of a layer's parameters, of all kinds, whose |gradient| exceeds `tolerance`: layer name -> scalar in [0, 1].

    Falls as units die, which the L2 norm can hide (Abbas et al. 2023, arXiv 2303.07507, from a secondary source). The use of a share, which
    makes layers of unequal size comparable, is ours. With a `tolerance` above 0 it depends on the loss's scale.
    """
    return {name: (gradient.abs() > tolerance).to(gradient).mean() for name, gradient in _by_layer(grads, layers).items()}


def gradient_l1(grads: Params, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    """The L1 norm of the gradient over a layer's parameters, of all kinds: layer name -> scalar. Grows with the layer's size and the loss's
    scale."""
    return {name: gradient.abs().sum() for name, gradient in _by_layer(grads, layers).items()}


def gradient_l2(grads: Params, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    """The L2 norm of the gradient over a layer's parameters, of all kinds: layer name -> scalar.

    Dominated by few large elements, so it hides that most are zero: compare L0 and L1. A small norm may mean that training has converged.
    """
    return {name: gradient.norm() for name, gradient in _by_layer(grads, layers).items()}


def unit_gradients(gradient: Tensor) -> Tensor:
    """Mean |gradient| of each unit's incoming weights, (units,), from the gradient of a layer's weight (units, ...)."""
    return gradient.abs().flatten(1).mean(1)


def gradient_dormant_fraction(grads: Params, layers: tuple[Layer, ...], tau: float = 0.01) -> dict[str, Tensor]:
    """The share of a hidden layer's units whose mean |gradient| over incoming weights is at most `tau` times the layer's mean, the ratio of
    GraMa (Liu et al. 2025, arXiv 2505.24061): layer name -> scalar in [0, 1]. The higher, the more units hardly learn.

    A layer without any gradient is entirely dormant. tau 0.01 is a second implementation's; the paper's own was not read. Papers also
    report GraMa as the score itself, whose direction is the other one.
    """
    sizes = {layer.name: unit_gradients(grads[layer.weight]) for layer in layers if not layer.head}
    return {name: (each <= tau * each.mean()).to(each).mean() for name, each in sizes.items()}


GRADIENT = {
    "gradient_l0": gradient_l0,
    "gradient_l1": gradient_l1,
    "gradient_l2": gradient_l2,
    "gradient_dormant_fraction": gradient_dormant_fraction,
}
"""name -> function of a gradient: (grads, layers)"""
STEP = {"update_norm": distance, "effective_learning_rate": effective_learning_rate}
"""name -> function of one update: (before, after, layers)"""


def jacobian_norm(apply: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """||d outputs / d inputs||_F per example, averaged over the batch: a scalar, in units of output over units of input.

    `apply` maps inputs (batch, *shape) to outputs (batch, ...); bytes are divided by 255 first, as in Network.apply. Costs one forward pass
    and one backward pass per output: 918 for C51 with 18 actions, so pass a subset. Outputs must depend on their own example alone:
    meaningless with batch norms. A local measure, small also where outputs are flat for lack of training.
    """
    x = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs

    def flat(x: Tensor) -> Tensor:
        return apply(x).flatten(1)

    pulled = torch.func.vjp(flat, x)
    outputs, pull = pulled[0], pulled[1]
    units = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
    squares = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for unit in units:  # one by one: all rows of the Jacobian at once would take `outputs` times the batch's memory
        squares = squares + pull(unit.expand_as(outputs))[0].flatten(1).square().sum(1)
    return squares.sqrt().mean()


def _by_layer(grads: Params, layers: tuple[Layer, ...]) -> Params:
    return {layer.name: torch.cat([grads[name].flatten() for name in layer.own]) for layer in layers}
