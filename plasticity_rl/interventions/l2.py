"""L2 penalty in the loss."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State, UpdateContext
from plasticity_rl.networks.layers import Layers, Params


@dataclass(frozen=True)
class L2(Intervention):
    """Add strength * ||w||^2 to the loss (Krogh & Hertz 1991).

    The penalty passes through the optimizer with the gradient: Adam, which divides by the gradient's size, shrinks all weights at about the
    same pace whatever their size, whereas WeightDecay shrinks each by the same share (arXiv 1711.05101). `weight_decay` of torch.optim's
    SGD or Adam, which is coupled too, is twice this strength; so is the strength in Kumar et al.'s code (arXiv 2308.11958), which halves
    the sum, includes biases and sweeps 1e-5 to 1e-2. The default 1e-5 is the L2 of "Disentangling the causes of plasticity loss" (arXiv
    2402.18762), which does not say whether its own is coupled.
    """

    repeatable: ClassVar[bool] = True

    strength: Annotated[float, Interval("(0, inf)")] = 1e-5
    """factor of the squared length"""
    decayed: Literal["weights", "all"] = "weights"
    """penalised parameters: weight tensors alone, or all: biases, scales, offsets and a noisy layer's standard deviations too"""

    def __post_init__(self) -> None:
        check(self)

    @property
    def needs_layer_graph(self) -> bool:
        return False

    def penalty(self, params: Params, state: State, layers: Layers, context: UpdateContext) -> Tensor:
        names = params if self.decayed == "all" else [layer.weight for layer in layers]
        return self.strength * torch.stack([params[name].square().sum() for name in names]).sum()
