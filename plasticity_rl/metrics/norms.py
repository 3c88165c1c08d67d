"""Lengths of one network's weights, of their changes and gradients, by layer; and how steeply outputs answer to inputs."""

from collections.abc import Callable

import torch
from torch import Tensor

from plasticity_rl.networks.layers import Layer, Params


def weight_norm(params: Params, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    """||W||, the Frobenius norm of each layer's weight: layer name -> scalar."""
    return {layer.name: params[layer.weight].norm() for layer in layers}


def distance(before: Params, after: Params, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    """||W' - W||, the Frobenius norm of the change of each layer's weight: layer name -> scalar.

    With the parameters around one update it is the update's norm; with those at birth it is the distance from initialisation, of which
    a refresh takes a part away. In layers that a norm follows, length is no sign of change in what they compute: see
    `effective_learning_rate`.
    """
    return {layer.name: (after[layer.weight] - before[layer.weight]).norm() for layer in layers}


def effective_learning_rate(before: Params, after: Params, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    """||dW|| / ||W|| of one update, by layer: how far a weight turned, which for a normalised layer is all that counts.

    The ratio of Lyle et al. (arXiv 2407.01800, 2507.20057); `before` and `after` are the parameters around the update. 0 for a weight of
    zeros, which has no direction to turn.
    """
    changes, lengths = distance(before, after, layers), weight_norm(before, layers)
    return {name: torch.where(lengths[name] > 0, change / lengths[name], 0.0) for name, change in changes.items()}


def gradient_l0(grads: Params, layers: tuple[Layer, ...], tolerance: float = 0.0) -> dict[str, Tensor]:
    """The share of a layer's parameters, of all kinds, whose |gradient| exceeds `tolerance`: layer name -> scalar in [0, 1].

    Falls as units die, which the L2 norm can hide (Abbas et al. 2023, arXiv 2303.07507, by a secondary source). A share and not a count,
    for layers of unequal size, is ours. Above a `tolerance` of 0 it depends on the loss's scale.
    """
    return {name: (gradient.abs() > tolerance).to(gradient).mean() for name, gradient in _by_layer(grads, layers).items()}


def gradient_l1(grads: Params, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    """The sum of |gradient| over a layer's parameters, of all kinds: layer name -> scalar. Grows with the layer's size and the loss's
    scale."""
    return {name: gradient.abs().sum() for name, gradient in _by_layer(grads, layers).items()}


def gradient_l2(grads: Params, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    """The Euclidean norm of the gradient over a layer's parameters, of all kinds: layer name -> scalar.

    A few large numbers make it up, so it hides that most are gone; look at L0 and L1 beside it. A small one may mean that all is learned.
    """
    return {name: gradient.norm() for name, gradient in _by_layer(grads, layers).items()}


GRADIENT = {"gradient_l0": gradient_l0, "gradient_l1": gradient_l1, "gradient_l2": gradient_l2}
"""name -> what is measured of a gradient: (grads, layers)"""
STEP = {"update_norm": distance, "effective_learning_rate": effective_learning_rate}
"""name -> what is measured of one update: (before, after, layers)"""


def jacobian_norm(apply: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """||d outputs / d inputs||_F of an example, averaged over the batch: a scalar, in units of output over units of input.

    `apply` maps inputs (batch, *shape) to outputs (batch, ...); bytes become fractions of 255 first, as in Network.apply. One forward pass,
    and one backward pass an output: 918 of them for C51 on 18 actions, so hand it fewer. Outputs must depend on their own example alone;
    batch norms mix examples, and their numbers mean nothing here. It is local, and where outputs are flat for want of training, small.
    """
    x = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs

    def flat(x: Tensor) -> Tensor:
        return apply(x).flatten(1)

    pulled = torch.func.vjp(flat, x)
    outputs, pull = pulled[0], pulled[1]
    units = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
    squares = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for unit in units:  # one after the other: all rows of the Jacobian at once would be `outputs` times the batch
        squares = squares + pull(unit.expand_as(outputs))[0].flatten(1).square().sum(1)
    return squares.sqrt().mean()


def _by_layer(grads: Params, layers: tuple[Layer, ...]) -> Params:
    return {layer.name: torch.cat([grads[name].flatten() for name in layer.own]) for layer in layers}
