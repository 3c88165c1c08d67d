"""Continual backpropagation: steady replacement of the least useful units."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State, UpdateContext
from plasticity_rl.interventions.recycling import check_recycled, recycle
from plasticity_rl.networks.layers import Layer, Layers, Params, own_units
from plasticity_rl.optim.optimizers import Net

TINY = 1e-12  # avoids division by zero for units without incoming weights


@dataclass(frozen=True)
class ContinualBackprop(Refresh):
    """Replace a small share of the units, the least useful of those old enough (Dohare et al. 2024, Nature 632, arXiv 2306.13812).

    Utility is a running average (by `decay`, bias-corrected by the unit's age) of the contribution: mean |h| times the mean |outgoing
    weight|. `adaptable_contribution` takes |h - its running mean| and divides by the mean |incoming weight|. Every update adds to each
    layer's debt `rate` x (its units older than `maturity` updates, less the whole replacements already owed); a refresh makes the whole
    replacements and keeps the fraction. A replaced unit gets new incoming weights, zero bias and zero outgoing weights, after its mean
    output has moved into its readers' biases; optimizer state, age and utility start again. Defaults are from the official code (rate 1e-4,
    decay 0.99, this utility, fractions kept as by its `accumulate`) and its batch problems (maturity 100; its class says 20); the paper's
    PPO has a maturity of 1e4.

    The official code replaces in every update (every=1). Here the default is every 100, as each refresh initialises a network; a unit that
    is due may thus stay for 99 more updates, and with rate x every near 1 much of a layer is replaced at once: take a smaller `every`
    there. Two connected units replaced at once start without a connection; in the official code the upper one reads the lower. Features
    come from a second forward pass after the optimizer's step; the official code uses the one before it.

    The mean output is dropped, not moved, if the reader has a norm instead of a bias, or reads products of two layers (IQN). With padded
    images the mean is exact for inner positions only, and with divided weights (spectral norm) never. Channels of a residual stream are
    skipped, as in ReDo. Needs no task boundaries.
    """

    rate: Annotated[float, Interval("(0, 1]")] = 1e-4
    """share of the mature units replaced per update"""
    maturity: Annotated[int, Interval("[0, inf)")] = 100
    """updates during which a new unit is protected"""
    decay: Annotated[float, Interval("[0, 1)")] = 0.99
    """share of the running averages kept per update"""
    utility: Literal["contribution", "adaptable_contribution"] = "contribution"
    """usefulness of a unit; the second is also high for units that learn fast"""

    default_every: ClassVar[dict[str, int]] = {"update": 100, "task": 1}

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    def require(self, layers: Layers) -> None:
        check_recycled("ContinualBackprop", layers)

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        state = {}
        for layer in own_units(layers):
            weight = params[layer.weight]
            state[f"{layer.name}.age"] = weight.new_zeros(layer.units)
            state[f"{layer.name}.mean"] = weight.new_zeros(layer.copies, layer.units)
            state[f"{layer.name}.utility"] = weight.new_zeros(layer.units)
            state[f"{layer.name}.owed"] = weight.new_zeros(())
        return state

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        features, state = context.apply(net.params)[1], dict(state)
        for layer in own_units(layers):
            h, age = features[layer.name].reshape(-1, layer.copies, layer.units), state[f"{layer.name}.age"] + 1
            mean = self.decay * state[f"{layer.name}.mean"] + (1 - self.decay) * h.mean(0)
            outgoing = _outgoing(net.params, layer, layers)
            if self.utility == "contribution":
                new = h.abs().mean(0) * outgoing
            else:
                incoming = net.params[layer.weight].abs().flatten(1).mean(1).clamp(min=TINY)
                new = (h - mean / self._grown(age)).abs().mean(0) * outgoing / incoming
            state[f"{layer.name}.age"] = age
            state[f"{layer.name}.mean"] = mean
            state[f"{layer.name}.utility"] = self.decay * state[f"{layer.name}.utility"] + (1 - self.decay) * new.sum(0)
            owed = state[f"{layer.name}.owed"]
            state[f"{layer.name}.owed"] = owed + self.rate * ((age > self.maturity).sum() - owed.floor())
        return net, state

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        state, marked, moved = dict(state), {}, dict(net.params)
        for layer in own_units(layers):
            age, owed = state[f"{layer.name}.age"], state[f"{layer.name}.owed"]
            old, worth = age > self.maturity, state[f"{layer.name}.utility"] / self._grown(age)
            rank = torch.where(old, worth, torch.inf).argsort(stable=True).argsort(stable=True)
            replaced = old & (rank < owed.floor())
            mean = torch.where(replaced, state[f"{layer.name}.mean"] / self._grown(age), 0.0)
            moved |= _means_in_biases(net.params, moved, layer, layers, mean)
            for part in ("age", "mean", "utility"):
                state[f"{layer.name}.{part}"] = torch.where(replaced, 0.0, state[f"{layer.name}.{part}"])
            state[f"{layer.name}.owed"] = owed - owed.floor()
            marked[layer.name] = replaced
        return recycle(net._replace(params=moved), context.fresh, marked, layers), state

    def _grown(self, age: Tensor) -> Tensor:
        """Running average of ones at that age, 1 - decay^age; 1 at age 0."""
        return torch.where(age > 0, 1 - self.decay**age, 1.0)


def _readers(layer: Layer, layers: Layers) -> Layers:
    return tuple(reader for reader in layers if reader.name in layer.readers)


def _by_unit(weight: Tensor, layer: Layer) -> Tensor:
    """A reader's weight as (reader's units, copies, units of `layer`, weights for each)."""
    return weight.reshape(len(weight), layer.copies, layer.units, -1)


def _outgoing(params: Params, layer: Layer, layers: Layers) -> Tensor:
    """Mean |outgoing weight| of each output, (copies, units), over all readers."""
    weights = [_by_unit(params[reader.weight], layer).movedim(0, 2).flatten(2) for reader in _readers(layer, layers)]
    return torch.cat(weights, 2).abs().mean(2)


def _means_in_biases(params: Params, moved: Params, layer: Layer, layers: Layers, mean: Tensor) -> Params:
    """Readers' biases plus these units' mean outputs, for readers that have a bias and one input layer."""
    alone = [reader for reader in _readers(layer, layers) if sum(reader.name in other.readers for other in layers) == 1]
    return {
        reader.bias: moved[reader.bias] + _by_unit(params[reader.weight], layer).sum(3).flatten(1) @ mean.flatten()
        for reader in alone
        if reader.bias is not None
    }
