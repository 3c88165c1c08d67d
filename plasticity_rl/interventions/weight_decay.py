"""Decoupled weight decay."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class WeightDecay(Intervention):
    """Shrink weights by a share of rate * strength at every update, apart from the gradient (Loshchilov & Hutter 2019, arXiv 1711.05101).

    w <- w - rate * strength * w. The default 0.01 is torch.optim.AdamW's. "Disentangling the causes of plasticity loss" (arXiv 2402.18762)
    uses L2 of 1e-5 beside layer norm and does not say whether it is decoupled, nor whether scales and offsets decay: hence the field
    `decayed`, whose default leaves them and the biases out.
    """

    strength: Annotated[float, Interval("(0, inf)")] = 0.01
    """decay per update and unit of learning rate"""
    decayed: Literal["weights", "all"] = "weights"
    """decayed parameters: weight tensors alone, or all: biases, scales, offsets and a noisy layer's standard deviations too"""

    def __post_init__(self) -> None:
        check(self)

    def optimizer(self) -> dict[str, Any]:
        return {"weight_decay": self.strength, "decayed": self.decayed}
