"""Initial feature regularisation."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State, UpdateContext, require_read_units
from plasticity_rl.networks.layers import Layers, Params, penultimate


@dataclass(frozen=True)
class InFeR(Intervention):
    """Pull random linear functions of the last hidden units to `beta` times their initial values on the same inputs (Lyle et al. 2022,
    arXiv 2204.09560).

    Adds alpha * the sum over functions of the mean over samples of (w . phi(theta) - beta * w . phi(theta_0))^2. Each last hidden layer has
    its own functions without biases, weights (functions, units) uniform in +-1/sqrt(units), as a head's; several outputs of a unit count as
    samples. theta_0 stays the initial network through all refreshes.

    The functions are fixed, as a method has no parameters that the optimizer trains. In two other codes, and so probably in the paper, they
    are trained with the network and can grow to `beta` times themselves; the paper's beta is remembered as 100, a port's is 175. Here the
    features alone can grow, and at 100 they do little else, so `beta` is 1: on `random-labels:tasks=3`, two members got 0.14 of the first
    task's labels right with 100, 0.32 with 1 and 0.31 without this method. 10 functions, alpha 0.1 and the sum over functions are
    remembered; a second code attributes the sum to the paper. Costs a second and a third forward pass per update.
    """

    repeatable: ClassVar[bool] = True

    functions: Annotated[int, Interval("[1, 10_000]")] = 10
    """functions of each last hidden layer"""
    beta: Annotated[float, Interval("[0, inf)")] = 1.0
    """target of the functions in multiples of their initial values; ours"""
    alpha: Annotated[float, Interval("(0, inf)")] = 0.1
    """factor of the squared distance"""

    def __post_init__(self) -> None:
        check(self)

    def require(self, layers: Layers) -> None:
        require_read_units(type(self).__name__, layers)

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        weights = {
            layer.name: (torch.rand(self.functions, layer.units, generator=generator) * 2 - 1).to(params[layer.weight]) * layer.units**-0.5
            for layer in penultimate(layers)
        }
        return {name: param.clone() for name, param in params.items()} | weights

    def penalty(self, params: Params, state: State, layers: Layers, context: UpdateContext) -> Tensor:
        now, birth = context.apply(params)[1], context.apply({name: state[name] for name in params})[1]
        distances = [
            ((now[layer.name] - self.beta * birth[layer.name]) @ state[layer.name].T).square().sum(-1).mean()
            for layer in penultimate(layers)
        ]
        return self.alpha * torch.stack(distances).sum()
