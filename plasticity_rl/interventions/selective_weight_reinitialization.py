"""Re-initialisation of single weights."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State, UpdateContext
from plasticity_rl.interventions.recycling import overwrite
from plasticity_rl.networks.layers import Layers, Params, Part, select
from plasticity_rl.optim.optimizers import Net


@dataclass(frozen=True)
class SelectiveWeightReinitialization(Refresh):
    """Re-initialise the least useful weights, one by one, SWR (Hernandez-Garcia et al., CoLLAs 2025, arXiv 2508.00212).

    A weight's utility is |weight * gradient|, to first order the change of the loss if it were zero, or |weight|. In each tensor, biases
    and norms too, elements whose utility is at most `factor` times the tensor's mean take new values, and their optimizer state is reset.

    Both utilities and this threshold are read in two other implementations (one by the same laboratory); of the paper only the abstract was
    read. Theirs can also take a fixed share of the weights, with a coin for the remainder, and average the utility over updates: neither is
    built. `factor` 1e-5 and about 1,000 updates between refreshes lie in that laboratory's sweep for DQN (1e-5 to 1e-7; 1,024 to 4,096); at
    such values, elements without any gradient go, and few others. Whether optimizer state is reset differs between the two. The gradient is
    the last update's, with penalties; the weight is the one after that update, theirs the one before. Where no element of a tensor has a
    gradient, all take new values.
    """

    utility: Literal["gradient", "magnitude"] = "gradient"
    """usefulness of a weight: |weight * gradient| or |weight|"""
    factor: Annotated[float, Interval("[0, 1)")] = 1e-5
    """largest utility of a re-initialised weight, relative to its tensor's mean"""
    part: Part = "all"
    """layers to change; the two implementations take all"""

    default_every: ClassVar[dict[str, int]] = {"update": 1000, "task": 1}

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    @property
    def needs_layer_graph(self) -> bool:
        return self.part != "all"

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        # equal utilities until there is a gradient, so that a refresh before the first update changes nothing
        return {name: torch.ones_like(params[name]) for name in self._names(layers)} if self.utility == "gradient" else {}

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        return net, {name: (net.params[name] * grads[name]).abs() for name in state}

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        utilities = state if self.utility == "gradient" else {name: net.params[name].abs() for name in self._names(layers)}
        masks = {name: utility <= self.factor * utility.mean() for name, utility in utilities.items()}
        return overwrite(net, masks, context.fresh), state

    def _names(self, layers: Layers) -> list[str]:
        return [name for layer in select(layers, self.part) for name in layer.parameters]
