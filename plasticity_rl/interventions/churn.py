"""Reducing churn."""

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
    """Holds the outputs near those of the network of a moment ago, C-CHAIN (Tang et al. 2025, arXiv 2506.00592): adds strength * the mean
    squared difference between the outputs of the network now and `lag` updates ago, on the batch.

    The batch is the one now learned from, which the past updates have not seen; the paper draws another one. The network of `lag` updates
    ago is as the optimizer left it, before any projection or refresh; at birth all are the same, and nothing is added. The official
    code adapts its strength so that the penalty is a fixed share (0.01 in MinAtar) of the loss, over running means; a penalty does not see
    the loss, so the strength is fixed here, and should be swept. 50 is that code's, until it has seen 10,000 updates. All outputs count
    alike, a policy's and a value's too. The state holds lag + 1 networks. A second and a third forward pass in every update.
    """

    repeatable: ClassVar[bool] = True

    strength: Annotated[float, Interval("(0, inf)")] = 50.0
    """what the mean squared difference is multiplied with"""
    lag: Annotated[int, Interval("[1, 100]")] = 1
    """updates between the two; 1 is the official code's index 2, which counts the present network too"""

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
