"""Frobenius-isometry re-initialisation."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State
from plasticity_rl.networks.layers import Layers, Part, select
from plasticity_rl.optim.optimizers import Net

TINY = 1e-12  # a zero weight has no nearest orthogonal matrix and stays


@dataclass(frozen=True)
class FIRE(Refresh):
    """Move every weight toward the nearest matrix with equal singular values (Han et al., ICLR 2026, arXiv 2602.08040).

    W (W^T W)^(-1/2), by `iterations` of Newton-Schulz, X <- 1.5 X - 0.5 X X^T X from W / ||W||: large singular values become equal soon,
    small ones grow by half in each iteration. As in the official code, a convolution is one matrix (units, channels) for each kernel
    position, and 10 iterations are the default, for Atari too. They do not always converge: for new weights of the Nature torso the
    relative distance to the polar factor (by singular value decomposition) is 0.19 in the third convolution, 0.015 in the dense layer, and
    at most about 1e-4 elsewhere; 0.2 in a square layer of 100 units. 30 iterations are exact to rounding there. The result is scaled:
    - `code`: by sqrt(units / inputs) / positions, as in the official code. The paper's W^T W = I has no such factor; the two were not
      compared.
    - `kept`: to the weight's previous Frobenius norm. Ours.

    Biases, scales, offsets and a noisy layer's standard deviations stay, and so does optimizer state; chain Reset(part="optimizer") to
    reset it. The official code orthogonalises heads too; on Atari it treats convolutions alone, re-initialises dense layers and heads, and
    does so once, in target networks too. The default clock is the task; when else to apply it is open.
    """

    clock: Literal["update", "task"] = "task"
    part: Part = "all"
    """layers to change"""
    iterations: Annotated[int, Interval("[1, 1000]")] = 10
    """Newton-Schulz iterations"""
    scale: Literal["code", "kept"] = "code"
    """scale of the result"""

    default_every: ClassVar[dict[str, int]] = {"task": 1}
    uniform_age: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    @property
    def needs_layer_graph(self) -> bool:
        return self.part != "all"

    @property
    def needs_fresh(self) -> bool:
        return False

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        names = [layer.weight for layer in select(layers, self.part)]
        return net._replace(params=net.params | {name: self._isometric(net.params[name]) for name in names}), state

    @property
    def syncs_target(self) -> bool:
        return True

    def _isometric(self, weight: Tensor) -> Tensor:
        matrices = weight.reshape(*weight.shape[:2], -1).movedim(2, 0)
        made = newton_schulz(matrices, self.iterations)
        positions, units, inputs = matrices.shape
        if self.scale == "code":
            made = made * ((units / inputs) ** 0.5 / positions)
        else:
            made = made * (_length(matrices, (0, 1, 2)) / _length(made, (0, 1, 2)).clamp(min=TINY))
        return made.movedim(0, 2).reshape(weight.shape)


def newton_schulz(matrices: Tensor, iterations: int) -> Tensor:
    """Polar factor of each matrix (..., rows, columns), by iterations of matrix products."""
    wide = matrices.shape[-1] > matrices.shape[-2]
    x = matrices.mT if wide else matrices
    x = x / _length(x, (-2, -1)).clamp(min=TINY)
    for _ in range(iterations):
        x = 1.5 * x - 0.5 * x @ (x.mT @ x)
    return x.mT if wide else x


def _length(matrices: Tensor, dims: tuple[int, ...]) -> Tensor:
    return matrices.square().sum(dims, keepdim=True).sqrt()
