"""Powerpropagation."""

from dataclasses import dataclass
from typing import Annotated, Any

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention
from plasticity_rl.optim.optimizers import Optimizer


@dataclass(frozen=True)
class Powerprop(Intervention):
    """Multiply inputs of hidden layers by w |w|^(alpha - 1), so that large weights learn faster (Schwarz et al. 2021, arXiv 2110.00296).

    Initial parameters are such that these products have the usual distribution. 1 is the plain network; the default of 2 is ours, the
    smallest of the powers 2, 3, 4 and 5 in the official notebook, whose last layer has them too. A parameter of exactly 0 has no gradient
    and stays, so methods that recycle units, whose outgoing weights they set to 0, are refused beside it (unless heads alone, which have no
    powers, read the units). Lengths are measured, decayed or constrained on the parameters.
    """

    alpha: Annotated[float, Interval("[1, 100]")] = 2.0
    """power"""

    def __post_init__(self) -> None:
        check(self)

    def is_noop(self, optimizer: Optimizer) -> bool:
        return self.alpha == 1.0

    def build(self) -> dict[str, Any]:
        return {"weights": "powerprop", "alpha": self.alpha}
