"""L2 toward the distribution of the initial parameters."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import check
from plasticity_rl.interventions.base import Evidence, Layers, Refresh, Seen, State
from plasticity_rl.networks import Params
from plasticity_rl.optimizers import Net


@dataclass(frozen=True)
class Wasserstein(Refresh):
    """Adds strength * the sum over tensors of ||sorted theta - sorted theta_0||^2, so that a parameter is pulled toward the initial one of
    its rank instead of its own (Lewandowski et al. 2023, arXiv 2312.00246; baseline of arXiv 2406.06811).

    For each tensor this is the squared 2-Wasserstein distance between the distributions of its elements now and at birth, times their
    number: a sum, as L2Init's, which it never exceeds at the same strength. All parameters take part. The papers' reduction and strengths
    are not confirmed; 1e-3 is L2Init's, and that of a second code (Chung et al. 2024, arXiv 2412.07224), which takes each tensor's mean.

    Ranks are looked up at refreshes, which change nothing else: by default after every update, the papers' penalty. Sorting takes several
    times as long as the rest of an update. With every=100 it costs little: in between, the penalty is that of pairs that were the best ones
    lately, and never smaller than the papers'; how far ranks move meanwhile was not measured.
    """

    strength: float = 1e-3
    """what the sum is multiplied with"""

    usual: ClassVar[dict[str, int]] = {"update": 1, "task": 1}
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, every="[1, inf)", strength="(0, inf)")
        self.settle()

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        sorted_ = {name: param.flatten().sort().values for name, param in params.items()}
        return sorted_ | {f"{name}.aim": param.clone() for name, param in params.items()}

    def penalty(self, params: Params, state: State, layers: Layers, seen: Seen) -> Tensor:
        distances = [(param - state[f"{name}.aim"]).square().sum() for name, param in params.items()]
        return self.strength * torch.stack(distances).sum()

    def refresh(self, net: Net, state: State, evidence: Evidence, layers: Layers) -> tuple[Net, State]:
        return net, state | {f"{name}.aim": _paired(param, state[name]) for name, param in net.params.items()}


def _paired(values: Tensor, others: Tensor) -> Tensor:
    """At each of `values`, that of the sorted `others` which has its rank."""
    order = values.flatten().argsort()
    return torch.zeros_like(others).scatter(0, order, others).view(values.shape)
