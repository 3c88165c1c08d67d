"""Effects of interventions on one network, which show whether a run's chain ever acted.

Each function takes the parameters before and after one hook of one method. Layers that a method builds leave no such trace: look at the
network.
"""

import torch
from torch import Tensor

from plasticity_rl.networks.layers import Layer, Params


def penalty_over_loss(penalty: Tensor, loss: Tensor) -> Tensor:
    """penalty / |loss|, a scalar; 0 where the loss is 0. Measures the penalty's size, not its effect, which is its gradient's."""
    return torch.where(loss != 0, penalty / loss.abs(), 0.0)


def change(before: Params, after: Params) -> Tensor:
    """||p' - p|| / ||p|| over all parameters: a scalar; 0 for a method that changed nothing, and for parameters of zeros."""
    length = _length(before)
    return torch.where(length > 0, _length({name: after[name] - before[name] for name in before}) / length, 0.0)


def factor(before: Params, after: Params) -> Tensor:
    """||p'|| / ||p|| over all tensors that changed: a scalar, below 1 for a projection that reduces norms, 1 where nothing changed.

    One number for the whole network: growing and shrinking layers cancel, but not in `change`.
    """
    changed = {name: (after[name] != before[name]).any() for name in before}
    lengths = [_length({name: torch.where(changed[name], net[name], 0.0) for name in before}) for net in (before, after)]
    return torch.where(lengths[0] > 0, lengths[1] / lengths[0], 1.0)


def refreshed(before: Params, after: Params, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    """`weights_refreshed`, the number of changed parameters, and `units_recycled`, the number of hidden units whose incoming weights all
    changed: scalars, double, to be summed over refreshes.

    A method that perturbs every weight slightly counts all of them as refreshed.
    """
    weights = torch.stack([(after[name] != before[name]).sum() for name in before]).sum()
    rows = [(after[layer.weight] != before[layer.weight]).flatten(1).all(1).sum() for layer in layers if not layer.head]
    return {"weights_refreshed": weights.double(), "units_recycled": torch.stack(rows).sum().double()}


def _length(params: Params) -> Tensor:
    return torch.stack([param.square().sum() for param in params.values()]).sum().sqrt()
