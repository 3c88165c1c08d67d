"""L2 toward the distribution of the initial parameters."""

from dataclasses import dataclass

import torch
from torch import Tensor

from plasticity_rl.checks import check
from plasticity_rl.interventions.base import Intervention, Layers, Seen, State
from plasticity_rl.networks import Params


@dataclass(frozen=True)
class Wasserstein(Intervention):
    """Adds strength * the sum over tensors of ||sorted theta - sorted theta_0||^2, so that a parameter is pulled toward the initial one of
    its rank instead of its own (Lewandowski et al. 2023, arXiv 2312.00246; baseline of arXiv 2406.06811).

    For each tensor this is the squared 2-Wasserstein distance between the distributions of its elements now and at birth, times their
    number: a sum, as L2Init's, which it never exceeds at the same strength. All parameters take part. The papers' reduction and strengths
    are not confirmed; 1e-3 is L2Init's. Each update sorts every tensor.
    """

    strength: float = 1e-3

    def __post_init__(self) -> None:
        check(self, strength="(0, inf)")

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        return {name: param.flatten().sort().values for name, param in params.items()}

    def penalty(self, params: Params, state: State, layers: Layers, seen: Seen) -> Tensor:
        distances = [(param.flatten().sort().values - state[name]).square().sum() for name, param in params.items()]
        return self.strength * torch.stack(distances).sum()
