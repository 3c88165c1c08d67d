"""Hare and tortoise: back to a moving average now and then."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State, UpdateContext
from plasticity_rl.networks.layers import Layers, Params
from plasticity_rl.optim.optimizers import Net


@dataclass(frozen=True)
class HareAndTortoise(Refresh):
    """The network (hare) is set to a moving average of its parameters (tortoise) every now and then (Lee et al. 2024, arXiv 2406.02596).

    tortoise <- decay * tortoise + (1 - decay) * hare after every update, from the newborn network on. 0.999 is of the official scripts,
    which reset the hare every 10 epochs; 1,000 updates are ours, and what its agents on Atari use was not read. The optimizer's memory is
    kept, as the official code keeps it within a task; chain Reset(part="optimizer") to forget it. The tortoise knows nothing of other
    methods' refreshes and pulls the network back to before them; it averages what the optimizer made, before any projection. One network
    acts and is scored: the hare.
    """

    decay: Annotated[float, Interval("[0, 1)")] = 0.999
    """how much of the tortoise an update keeps"""

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
