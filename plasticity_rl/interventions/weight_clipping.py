"""Weight clipping."""

from dataclasses import dataclass
from typing import Annotated

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State
from plasticity_rl.networks.layers import Layers, Params, select


@dataclass(frozen=True)
class WeightClipping(Intervention):
    """Clamp every weight to +-kappa / sqrt(fan in) after every update (Elsayed et al. 2024, arXiv 2407.01704).

    A bias has the fan in of its layer's weight. With kappa 1, the official minimal code's default, the bound is that of the initialiser
    itself; the paper sweeps 1 to 5. Heads are clipped too by default, as in that code. A noisy layer's standard deviations have the bounds
    of the parameters beside them. A norm's scale and offset are left out: that code, which goes by a tensor's rank, would clamp a scale of
    1 to the bound of the layer before, which cannot be meant. Optimizer state stays unchanged.
    """

    kappa: Annotated[float, Interval("(0, inf)")] = 1.0
    """bound in units of 1 / sqrt(fan in)"""
    heads: bool = True
    """clip heads too"""

    def __post_init__(self) -> None:
        check(self)

    @property
    def needs_layer_graph(self) -> bool:
        return not self.heads

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        held: Params = {}
        for layer in select(layers, "all" if self.heads else "hidden"):
            bound = self.kappa * params[layer.weight][0].numel() ** -0.5
            held |= {name: params[name].clamp(-bound, bound) for name in layer.own if name not in (layer.scale, layer.offset, layer.slope)}
        return params | held, state
