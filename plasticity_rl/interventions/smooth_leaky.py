"""A leaky rectified linear unit without a kink."""

from dataclasses import dataclass
from typing import Annotated, Any

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class SmoothLeaky(Intervention):
    """Output slope * x + (1 - slope) * x * sigmoid(c x / p): linear with that slope far below zero, and with slope 1 far above (Lillo &
    Cheney, ICLR 2026, arXiv 2509.22562).

    The formula (their equation 1) and slope 0.1, p = 3, c = 5 are read in a second implementation, which takes them from a figure of the
    paper; c / p is fixed at 5 / 3 here. Around 0 it curves as GELU does, whose own factor is about 1.702. Their randomised form, with a new
    slope in every pass, needs random numbers in the forward pass and is not built.
    """

    slope: Annotated[float, Interval("[0, 1]")] = 0.1
    """slope far below zero; 1 makes units linear"""

    def __post_init__(self) -> None:
        check(self)

    def build(self) -> dict[str, Any]:
        return {"activation": "smooth-leaky", "slope": self.slope}
