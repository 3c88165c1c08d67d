"""Leaky rectified linear units with learned slopes."""

from dataclasses import dataclass
from typing import Annotated, Any

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class PReLU(Intervention):
    """Learn each unit's slope below zero (He et al. 2015, arXiv 1502.01852).

    With one slope per unit, as here, it is the simple form that the authors of AdaLin (CoLLAs 2025, PMLR 330:418) report to be surprisingly
    effective against loss of plasticity; their own gate was not read and is not built. A convolution's unit is a channel, as in He et al.
    Slopes take the loss's gradient like any parameter, and a recycled or reset unit starts again at the first one; like biases they do not
    decay by default, as He et al. advise, and weight clipping leaves them out. The first slope, 0.25, is He et al.'s, and PyTorch's.
    Homogeneous, so that NormalizeAndProject may hold scale and offset jointly.
    """

    slope: Annotated[float, Interval("[0, 1]")] = 0.25
    """slope below zero at initialisation"""

    def __post_init__(self) -> None:
        check(self)

    def build(self) -> dict[str, Any]:
        return {"activation": "prelu", "slope": self.slope}
