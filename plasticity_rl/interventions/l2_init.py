"""Regenerative regularisation: L2 toward the initial parameters."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State, UpdateContext
from plasticity_rl.networks.layers import Layers, Params


@dataclass(frozen=True)
class L2Init(Intervention):
    """Add strength * ||theta - theta_0||^2 over all parameters (Kumar, Marklund & Van Roy 2023, arXiv 2308.11958).

    The formula is the paper's. Its code halves the sum, so that a strength there is half as much here, and leaves a norm's scales and
    offsets out. The paper sweeps strengths from 1e-5 to 1e-2 and has no default; 1e-3 is the middle. theta_0 stays the initial network
    through all refreshes but a reset of everything; a noisy layer's standard deviations are pulled toward sigma0 / sqrt(fan in).
    """

    repeatable: ClassVar[bool] = True

    strength: Annotated[float, Interval("(0, inf)")] = 1e-3
    """factor of the squared distance"""

    def __post_init__(self) -> None:
        check(self)

    @property
    def needs_layer_graph(self) -> bool:
        return False

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        return {name: param.clone() for name, param in params.items()}

    def penalty(self, params: Params, state: State, layers: Layers, context: UpdateContext) -> Tensor:
        return self.strength * torch.stack([(param - state[name]).square().sum() for name, param in params.items()]).sum()
