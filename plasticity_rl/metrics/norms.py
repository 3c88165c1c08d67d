"""Lengths of one network's weights and of their changes, by layer."""

import torch
from torch import Tensor

from plasticity_rl.networks import Layer, Params


def weight_norm(params: Params, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    """||W||, the Frobenius norm of each layer's weight: layer name -> scalar."""
    return {layer.name: params[layer.weight].norm() for layer in layers}


def effective_learning_rate(before: Params, after: Params, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    """||dW|| / ||W|| of one update, by layer: how far a weight turned, which for a normalised layer is all that counts.

    The ratio of Lyle et al. (arXiv 2407.01800, 2507.20057); `before` and `after` are the parameters around the update. 0 for a weight of
    zeros, which has no direction to turn.
    """
    changes = {layer.name: (after[layer.weight] - before[layer.weight]).norm() for layer in layers}
    lengths = weight_norm(before, layers)
    return {name: torch.where(lengths[name] > 0, change / lengths[name], 0.0) for name, change in changes.items()}
