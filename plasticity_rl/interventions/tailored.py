"""Tailored activation transformation."""

from dataclasses import dataclass
from typing import Annotated, Any

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class Tailored(Intervention):
    """Use leaky ReLUs whose slope is solved for the network's depth (TAT; Zhang, Botev & Martens 2022, arXiv 2203.08120).

    The activation is scaled by sqrt(2 / (1 + slope^2)), which keeps the mean square of its inputs. Through wide layers of such units, two
    orthogonal inputs reach a cosine of `eta`: far enough from 1 that a deep network tells inputs apart. The default is the official code's;
    the paper is remembered, not read. All hidden layers of the torso count as one chain, a residual network's branches too, which the paper
    treats more finely. Its weights have standard deviation 1/sqrt(fan in) (chain FanIn, whose gain is then 1) or are orthogonal (chain
    Orthogonal); nothing else of it is built. In a shallow network even ReLU stays below the default (0.60 with 3 hidden layers), and the
    network is refused: take a smaller `eta`.
    """

    eta: Annotated[float, Interval("(0, 1)")] = 0.9
    """output cosine of two orthogonal inputs"""

    def __post_init__(self) -> None:
        check(self)

    def build(self) -> dict[str, Any]:
        return {"activation": "tailored", "eta": self.eta}
