"""L2 on features."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State, UpdateContext
from plasticity_rl.networks.layers import Layers, Params, penultimate


@dataclass(frozen=True)
class FeatureNorm(Intervention):
    """Adds strength * the mean over samples and units of the squared features: the feature-norm regularisation that "Disentangling the
    causes of plasticity loss" (Lyle et al. 2024, arXiv 2402.18762) compares with.

    Features are the last hidden layers' units, or all hidden layers'; the means of several layers are added. Which layers, the reduction
    and the strength of the paper are not confirmed: the last layer and the mean are a second code's, and the strength is ours. A second
    forward pass in every update.
    """

    repeatable: ClassVar[bool] = True

    strength: Annotated[float, Interval("(0, inf)")] = 1e-3
    """what the mean square is multiplied with; ours"""
    where: Literal["last", "all"] = "last"
    """the hidden layers that heads read, or all that have an activation"""

    def __post_init__(self) -> None:
        check(self)

    def penalty(self, params: Params, state: State, layers: Layers, context: UpdateContext) -> Tensor:
        features = context.apply(params)[1]
        names = features if self.where == "all" else [layer.name for layer in penultimate(layers)]
        return self.strength * torch.stack([features[name].square().mean() for name in names]).sum()
