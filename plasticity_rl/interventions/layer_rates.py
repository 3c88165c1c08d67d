"""Learning-rate schedule per hidden layer, from a record."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import UsageError, check
from plasticity_rl.interventions.base import Intervention, State, UpdateContext
from plasticity_rl.networks.layers import Layers, Params, select
from plasticity_rl.optim.optimizers import Net, Optimizer
from plasticity_rl.optim.schedules import check_updates


@dataclass(frozen=True)
class LayerRates(Intervention):
    """Multiply the step of every hidden layer's weight by that layer's own factors.

    Factors are interpolated linearly between `updates`, constant before the first and after the last. Biases, scales, offsets and heads
    take full steps.

    After NormalizeAndProject, factors of initial over recorded length give each layer the effective learning rate that it had in the
    recorded run; one factor for all layers, schedules.Recorded, only comes close (Lyle et al. 2024, arXiv 2407.01800; by a secondary
    source, and that this is how they rescale is deduced). Steps start from the weights as projected by the methods before it, so it comes
    last in a chain.
    """

    updates: tuple[int, ...] = (0,)
    """updates at which the factors hold, counted from 0 over the whole run"""
    factors: tuple[float, ...] = (1.0,)
    """factors at these updates: those of each hidden layer in the network's order, one layer after the other; or one per update for all
    layers"""

    uniform_age: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)
        check_updates(self, self.updates)
        if min(self.factors, default=0.0) < 0:
            raise UsageError(f"LayerRates: factors must lie in [0, inf), not {min(self.factors)!r}")

    def is_noop(self, optimizer: Optimizer) -> bool:
        return set(self.factors) == {1.0}

    def require(self, layers: Layers) -> None:
        counts = len(self.updates), len(self.updates) * len(select(layers, "hidden"))
        if len(self.factors) not in counts:
            raise UsageError(
                f"LayerRates: factors must number {counts[0]}, or {counts[1]} to give each hidden layer its own, not {len(self.factors)}"
            )

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        held = {name: params[name].clone() for layer in select(layers, "hidden") for name in layer.weights}
        # state, not constants: a CUDA graph of an update may copy nothing from the host
        numbers = {"update": 0.0, "updates": self.updates, "factors": self.factors}
        device = next(iter(params.values())).device
        return held | {name: torch.tensor(value, dtype=torch.get_default_dtype(), device=device) for name, value in numbers.items()}

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        hidden, stepped = select(layers, "hidden"), {}
        own = state["factors"].view(-1, len(self.updates)).expand(len(hidden), -1)
        for layer, factors in zip(hidden, own, strict=True):
            factor = _at(state["update"], state["updates"], factors)
            stepped |= {name: state[name] + factor * (net.params[name] - state[name]) for name in layer.weights}
        return net._replace(params=net.params | stepped), state | {"update": state["update"] + 1}

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        return params, state | {name: params[name] for layer in select(layers, "hidden") for name in layer.weights}


def _at(update: Tensor, starts: Tensor, factors: Tensor) -> Tensor:
    """Factor at an update: the sum over intervals of slope times the elapsed part."""
    lengths = starts.diff()
    into = torch.minimum((update - starts[:-1]).clamp(min=0), lengths)
    return factors[0] + (factors.diff() / lengths * into).sum()
