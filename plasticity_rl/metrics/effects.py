"""What interventions do to one network: a run whose chain never acted says so.

Each function takes the parameters around one hook of one method. What a method builds leaves no such trace: look at the network.
"""

import torch
from torch import Tensor

from plasticity_rl.networks.layers import Layer, Params


def penalty_over_loss(penalty: Tensor, loss: Tensor) -> Tensor:
    """penalty / |loss|, scalars: 0 where the loss is 0. It says how large the penalty is, not how hard it pulls: that is its gradient."""
    return torch.where(loss != 0, penalty / loss.abs(), 0.0)


def change(before: Params, after: Params) -> Tensor:
    """||p' - p|| / ||p|| over all parameters: a scalar, 0 for a method that only looked, and for parameters of zeros."""
    length = _length(before)
    return torch.where(length > 0, _length({name: after[name] - before[name] for name in before}) / length, 0.0)


def factor(before: Params, after: Params) -> Tensor:
    """||p'|| / ||p|| over all tensors that changed: a scalar, under 1 for a projection that shortens, 1 where nothing changed.

    One number for the whole network: layers that grow and layers that shrink cancel in it, which `change` shows.
    """
    changed = {name: (after[name] != before[name]).any() for name in before}
    lengths = [_length({name: torch.where(changed[name], net[name], 0.0) for name in before}) for net in (before, after)]
    return torch.where(lengths[0] > 0, lengths[1] / lengths[0], 1.0)


def refreshed(before: Params, after: Params, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    """`weights_refreshed`, how many parameters have another value, and `units_recycled`, how many units of hidden layers have another in
    all of their incoming weights: scalars, double, to be added up over refreshes.

    A method that moves every weight a little refreshes all of them.
    """
    weights = torch.stack([(after[name] != before[name]).sum() for name in before]).sum()
    rows = [(after[layer.weight] != before[layer.weight]).flatten(1).all(1).sum() for layer in layers if not layer.head]
    return {"weights_refreshed": weights.double(), "units_recycled": torch.stack(rows).sum().double()}


def _length(params: Params) -> Tensor:
    return torch.stack([param.square().sum() for param in params.values()]).sum().sqrt()
