"""L2 penalty on features."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State, UpdateContext, require_read_units
from plasticity_rl.networks.layers import Layers, Params, penultimate


@dataclass(frozen=True)
class FeatureNorm(Intervention):
    """Add strength * mean squared feature, over samples and units (Lyle et al. 2024, arXiv 2402.18762).

    "Disentangling the causes of plasticity loss" compares with this feature-norm regularisation. Features are the last hidden layers'
    units, or those of all hidden layers; the means of several layers are added. The paper's layers, reduction and strength are not
    confirmed: the last layer and the mean are from a second code, the strength is ours. Costs a second forward pass per update.
    """

    repeatable: ClassVar[bool] = True

    strength: Annotated[float, Interval("(0, inf)")] = 1e-3
    """factor of the mean square; ours"""
    where: Literal["last", "all"] = "last"
    """hidden layers that heads read, or all with an activation"""

    def __post_init__(self) -> None:
        check(self)

    def require(self, layers: Layers) -> None:
        if self.where == "last":
            require_read_units(type(self).__name__, layers)

    def penalty(self, params: Params, state: State, layers: Layers, context: UpdateContext) -> Tensor:
        features = context.apply(params)[1]
        names = features if self.where == "all" else [layer.name for layer in penultimate(layers)]
        return self.strength * torch.stack([features[name].square().mean() for name in names]).sum()
