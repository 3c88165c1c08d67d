"""Recycling: the one primitive that refreshes share, new values under a mask with no memory of the optimizer there."""

import torch
from torch import Tensor

from plasticity_rl.checks import UsageError
from plasticity_rl.networks.layers import Layers, Params, own_units, unit_masks
from plasticity_rl.optim.optimizers import Net


def overwrite(net: Net, masks: Params, values: Params) -> Net:
    """Take `values` where `masks` hold, and forget the optimizer's memory there. Both map parameter names to tensors of their shape."""
    params = {name: torch.where(masks[name], values[name], old) if name in masks else old for name, old in net.params.items()}

    def forgotten(name: str, memory: Tensor) -> Tensor:
        mask = masks[name] if memory.shape == masks[name].shape else masks[name].all()  # one age for the whole tensor: `uniform_age`
        return memory.masked_fill(mask, 0.0)

    slots = {
        slot: {name: forgotten(name, old) if name in masks else old for name, old in memory.items()} for slot, memory in net.slots.items()
    }
    return Net(params, slots)


def check_recycled(who: str, layers: Layers) -> None:
    """Raises UsageError where a recycled unit would be mute for ever. For `require` of what recycles."""
    for layer in own_units(layers):
        for reader in layers:
            if reader.powered and reader.name in layer.readers:
                raise UsageError(
                    f"{who} sets a unit's outgoing weights to 0, where powerprop gives them no gradient: "
                    f"units of {layer.name} would be mute for ever; take one of the two"
                )


def recycle(net: Net, fresh: Params, marked: dict[str, Tensor], layers: Layers) -> Net:
    """New incoming weights, no bias and no outgoing weights for the marked units (a bool each) of some layers, and no memory of them."""
    zeros = {name: torch.zeros_like(param) for name, param in net.params.items()}
    newborn = fresh | {layer.bias: zeros[layer.bias] for layer in layers if layer.bias is not None}
    masks = [unit_masks(layer, layers, marked[layer.name], net.params) for layer in layers if layer.name in marked]
    for rows, _ in masks:  # all of them before any column: a recycled unit must not speak to a recycled reader either
        net = overwrite(net, rows, newborn)
    for _, columns in masks:
        net = overwrite(net, columns, zeros)
    return net
