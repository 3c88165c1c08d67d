"""Sparse networks whose connections move."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, UsageError, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State, UpdateContext
from plasticity_rl.interventions.recycling import overwrite
from plasticity_rl.interventions.static_sparsity import drawn_mask
from plasticity_rl.networks.layers import Layers, Params, select
from plasticity_rl.optim.optimizers import Net


@dataclass(frozen=True)
class DynamicSparsity(Refresh):
    """Prune the smallest weights of a sparse network and grow as many elsewhere, at intervals.

    Each hidden weight tensor begins as with StaticSparsity. A refresh drops the share `moved` of its present weights, the smallest by
    magnitude, and grows as many among all that are then absent, where the score is largest:
    - `gradient`: |gradient| of the last update, with value 0, as RigL (Evci et al. 2020, arXiv 1911.11134);
    - `random`: a random number, with newly initialised values, as SET (Mocanu et al. 2018, arXiv 1707.04780).
    A weight that is dropped and grown at once stays as it was; optimizer state is reset where one came or went. The gradient is the loss's
    with penalties, and that of absent weights too.

    Both, the share 0.3 and 100 updates are read in RigL's official code, where SET's new values are 0 by default, the share may also fall
    over a given time, and the layers may differ in density: neither is built. SET's own paper, from memory, prunes positive and negative
    weights apart, once per epoch. `sparsity` is ours. It saves no time, as weights are masked and not left out.
    """

    sparsity: Annotated[float, Interval("(0, 1)")] = 0.5
    """share of absent weights"""
    moved: Annotated[float, Interval("(0, 1]")] = 0.3
    """share of the present weights that a refresh replaces"""
    grow: Literal["random", "gradient"] = "gradient"
    """choice of the connections that grow"""

    default_every: ClassVar[dict[str, int]] = {"update": 100, "task": 1}
    projects_birth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    @property
    def needs_fresh(self) -> bool:
        return self.grow == "random"

    def require(self, layers: Layers) -> None:
        for layer in select(layers, "hidden"):
            if layer.powered and self.grow == "gradient":
                raise UsageError(
                    f"DynamicSparsity grows weights from 0, where powerprop gives those of {layer.name} no gradient; take grow=random"
                )

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        weights = {f"mask/{layer.weight}": params[layer.weight] for layer in select(layers, "hidden")}
        masks = {name: drawn_mask(weight, self.sparsity, generator) for name, weight in weights.items()}
        if self.grow == "random":
            return masks
        return masks | {name.replace("mask/", "gradient/", 1): torch.zeros_like(weight) for name, weight in weights.items()}

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        return net, state | {name: grads[name.removeprefix("gradient/")] for name in state if name.startswith("gradient/")}

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        state, masks, values = dict(state), {}, {}
        for layer in select(layers, "hidden"):
            weight, present = net.params[layer.weight], state[f"mask/{layer.weight}"] > 0
            count = torch.floor(self.moved * present.sum())
            kept = present & ~_smallest(torch.where(present, weight.abs(), torch.inf), count)
            if self.grow == "random":  # ranks by the values of other positions: those of its own would favour large ones
                wanted = context.fresh[layer.weight].flatten().flip(0).view(weight.shape).abs()
            else:
                wanted = state[f"gradient/{layer.weight}"].abs()
            grown = _smallest(torch.where(kept, torch.inf, -wanted), count)
            after = kept | grown
            state[f"mask/{layer.weight}"] = after.to(weight)
            for name in layer.weights:
                masks[name] = present ^ after
                new = context.fresh[name] if self.grow == "random" else torch.zeros_like(net.params[name])
                values[name] = torch.where(after, new, 0.0)
        return overwrite(net, masks, values), state

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        held = {name: params[name] * state[f"mask/{layer.weight}"] for layer in select(layers, "hidden") for name in layer.weights}
        return params | held, state


def _smallest(scores: Tensor, count: Tensor) -> Tensor:
    """Mask of the `count` smallest scores."""
    return (scores.flatten().argsort(stable=True).argsort() < count).view(scores.shape)
