"""Churn reduction."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State, UpdateContext
from plasticity_rl.networks.layers import Layers, Params
from plasticity_rl.optim.optimizers import Net


@dataclass(frozen=True)
class Churn(Intervention):
    """Penalise the change of outputs since `lag` updates ago, C-CHAIN (Tang et al. 2025, arXiv 2506.00592).

    Adds strength * mean squared difference between the outputs of the current network and of the one `lag` updates ago. The batch is the
    current one, which those updates have not seen; the paper draws another. The old network is as the optimizer left it, before any
    projection or refresh; at the start both are equal, and nothing is added. All outputs have equal weight, a policy's and a value's too.

    The official code adapts the strength so that the penalty is a fixed share (0.01 in MinAtar) of the loss, over running means. A penalty
    here cannot see the loss, so the strength is fixed and should be swept; the default 50 is that code's value during its first 10,000
    updates. The state holds lag + 1 networks. Costs a second and a third forward pass per update.
    """

    repeatable: ClassVar[bool] = True

    strength: Annotated[float, Interval("(0, inf)")] = 50.0
    """factor of the mean squared difference"""
    lag: Annotated[int, Interval("[1, 100]")] = 1
    """updates between the two networks; 1 is index 2 in the official code, which counts the current network too"""

    uniform_age: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)

    @property
    def needs_layer_graph(self) -> bool:
        return False

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        return {name: torch.stack([param] * (self.lag + 1)) for name, param in params.items()}

    def penalty(self, params: Params, state: State, layers: Layers, context: UpdateContext) -> Tensor:
        now, then = context.apply(params)[0], context.apply({name: past[-1] for name, past in state.items()})[0]
        return self.strength * (now - then).square().mean()

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        return net, {name: torch.cat([param.unsqueeze(0), state[name][:-1]]) for name, param in net.params.items()}
