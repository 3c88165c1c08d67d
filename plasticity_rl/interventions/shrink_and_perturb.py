"""Shrink and perturb."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State
from plasticity_rl.networks.layers import Layers, Part, select
from plasticity_rl.optim.optimizers import Net, Optimizer


@dataclass(frozen=True)
class ShrinkAndPerturb(Refresh):
    """Shrink the parameters and add those of a newly initialised network as noise (Ash & Adams 2020, arXiv 1910.08475).

    theta <- shrink * theta + perturb * fresh. Noise from the initialiser is Zaidi et al.'s and BBF's form. 0.5 and 0.5 are from the
    on-policy study of Juliani & Ash 2024 (by its code); the original paper's values are not confirmed. At every update (clock="update",
    every=1) with shrink = 1 - 1e-6 and perturb = 1e-6 it is that study's soft variant. Optimizer state is kept; chain
    Reset(part="optimizer") to reset it. A target network changes only at its next copy; what the papers do is not confirmed.
    """

    clock: Literal["update", "task"] = "task"
    shrink: Annotated[float, Interval("[0, 1]")] = 0.5
    """factor of the network"""
    perturb: Annotated[float, Interval("[0, inf)")] = 0.5
    """factor of the newly initialised network"""
    part: Part = "all"
    """layers to change"""

    default_every: ClassVar[dict[str, int]] = {"task": 1}
    uniform_age: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    @property
    def needs_layer_graph(self) -> bool:
        return self.part != "all"

    def is_noop(self, optimizer: Optimizer) -> bool:
        return (self.shrink, self.perturb) == (1.0, 0.0)

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        names = [name for layer in select(layers, self.part) for name in layer.parameters]
        return net._replace(params=net.params | {n: self.shrink * net.params[n] + self.perturb * context.fresh[n] for n in names}), state
