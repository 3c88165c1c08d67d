"""Recycling: new values under a mask, and a reset of the optimizer state there."""

import torch
from torch import Tensor

from plasticity_rl.checks import UsageError
from plasticity_rl.networks.layers import Layers, Params, own_units, select, unit_masks
from plasticity_rl.optim.optimizers import Net


def overwrite(net: Net, masks: Params, values: Params) -> Net:
    """Write `values` where `masks` are true, and reset the optimizer state there. Both map parameter names to tensors of their shape."""
    params = {name: torch.where(masks[name], values[name], old) if name in masks else old for name, old in net.params.items()}

    def reset(name: str, state: Tensor) -> Tensor:
        mask = masks[name] if state.shape == masks[name].shape else masks[name].all()  # one age for the whole tensor: `uniform_age`
        return state.masked_fill(mask, 0.0)

    slots = {slot: {name: reset(name, old) if name in masks else old for name, old in state.items()} for slot, state in net.slots.items()}
    return Net(params, slots)


def check_recycled(who: str, layers: Layers) -> None:
    """Raises UsageError if no unit could be recycled, or never recover; call from `require` of methods that recycle."""
    if select(layers, "hidden") and not own_units(layers):
        raise UsageError(
            f"{who} recycles units, and no hidden layer has units of its own: all are summed, concatenated or mixed with others'"
        )
    for layer in own_units(layers):
        for reader in layers:
            if reader.powered and reader.name in layer.readers:
                raise UsageError(
                    f"{who} sets a unit's outgoing weights to 0, where powerprop gives them no gradient: "
                    f"units of {layer.name} could never recover; take one of the two"
                )


def recycle(net: Net, fresh: Params, marked: dict[str, Tensor], layers: Layers) -> Net:
    """Re-initialise the marked units (layer -> a bool for each unit): new incoming weights, zero bias, zero outgoing weights, reset
    optimizer state."""
    zeros = {name: torch.zeros_like(param) for name, param in net.params.items()}
    newborn = fresh | {layer.bias: zeros[layer.bias] for layer in layers if layer.bias is not None}
    masks = [unit_masks(layer, layers, marked[layer.name], net.params) for layer in layers if layer.name in marked]
    for rows, _ in masks:  # all rows before any column: a recycled unit must not feed a recycled reader either
        net = overwrite(net, rows, newborn)
    for _, columns in masks:
        net = overwrite(net, columns, zeros)
    return net
