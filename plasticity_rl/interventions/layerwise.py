"""Layerwise re-initialisation, from the bottom up."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State
from plasticity_rl.interventions.recycling import overwrite
from plasticity_rl.networks.layers import Layer, Layers, Params, connected, select
from plasticity_rl.optim.optimizers import Net

TINY = 1e-12  # a zero weight cannot be rescaled and stays


@dataclass(frozen=True)
class Layerwise(Refresh):
    """Keep one more layer at every refresh, and re-initialise those above (Alabdulmohsin et al. 2021, arXiv 2109.00267).

    One of the methods in Zaidi et al. 2022 (arXiv 2206.10011). At refresh t, the first k = ceil(t / rounds) hidden layers, in the network's
    order and of each if there are several, are kept and rescaled to the initial length of their weights, their biases by the same factor
    (a noisy layer's weights and standard deviations together, as in NormalizeAndProject); all layers above, heads included, are
    re-initialised and their optimizer state reset. The last stage keeps all hidden layers; later refreshes do nothing. How the official
    experiments rescale biases was not read; their normalisation above the last kept layer is not built; their blocks of layers are single
    layers here. Zaidi et al.'s number of stages was not read either.
    """

    clock: Literal["update", "task"] = "task"
    rounds: Annotated[int, Interval("[1, inf)")] = 1
    """refreshes per stage, each of which re-initialises the same layers"""

    default_every: ClassVar[dict[str, int]] = {"task": 1}

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        lengths = {layer.weight: _length(params, layer) for layer in select(layers, "hidden")}
        return lengths | {"refreshes": torch.zeros((), dtype=torch.int64, device=next(iter(params.values())).device)}

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        hidden = select(layers, "hidden")
        depths = {layer.name: depth for part in connected(layers) for depth, layer in enumerate(select(part, "hidden"))}
        refreshes = state["refreshes"] + 1
        kept = (refreshes - 1) // self.rounds + 1
        going_on = kept <= max(depths.values()) + 1
        params, masks = dict(net.params), {}
        for layer in hidden:
            factor = torch.where(going_on, state[layer.weight] / _length(net.params, layer).clamp(min=TINY), 1.0)
            rescaled = (*layer.weights, layer.bias, layer.bias_noise)
            params |= {name: net.params[name] * factor for name in rescaled if name is not None}
            masks |= _all(net.params, layer, going_on & (depths[layer.name] >= kept))
        for layer in select(layers, "heads"):
            masks |= _all(net.params, layer, going_on)
        return overwrite(net._replace(params=params), masks, context.fresh), state | {"refreshes": refreshes}

    @property
    def syncs_target(self) -> bool:
        return True


def _length(params: Params, layer: Layer) -> Tensor:
    """Length of a layer's weights as one vector."""
    return torch.stack([params[name].square().sum() for name in layer.weights]).sum().sqrt()


def _all(params: Params, layer: Layer, chosen: Tensor) -> Params:
    """Masks of all elements of a layer, true if `chosen` is."""
    return {name: chosen.expand_as(params[name]) for name in layer.own}
