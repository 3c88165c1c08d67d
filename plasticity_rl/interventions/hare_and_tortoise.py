"""Hare and tortoise: periodic return to a moving average."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State, UpdateContext
from plasticity_rl.networks.layers import Layers, Params
from plasticity_rl.optim.optimizers import Net


@dataclass(frozen=True)
class HareAndTortoise(Refresh):
    """Set the network (hare) to a moving average of its parameters (tortoise) at intervals (Lee et al. 2024, arXiv 2406.02596).

    tortoise <- decay * tortoise + (1 - decay) * hare after every update, from the initial network on. The decay 0.999 is from the official
    scripts, which reset the hare every 10 epochs; 1,000 updates are ours, and its Atari agents' value was not read. Optimizer state is
    kept, as the official code does within a task; chain Reset(part="optimizer") to reset it. The tortoise ignores other methods' refreshes
    and pulls the network back to before them; it averages parameters before any projection. The hare alone acts and is scored.
    """

    decay: Annotated[float, Interval("[0, 1)")] = 0.999
    """share of the tortoise kept per update"""

    default_every: ClassVar[dict[str, int]] = {"update": 1000, "task": 1}
    uniform_age: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    @property
    def needs_layer_graph(self) -> bool:
        return False

    @property
    def needs_fresh(self) -> bool:
        return False

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        return {name: param.clone() for name, param in params.items()}

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        return net, {name: self.decay * slow + (1 - self.decay) * net.params[name] for name, slow in state.items()}

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        return net._replace(params={name: state[name] for name in net.params}), state
