"""TRAC: a learned scale of the distance from the initial weights, around any optimizer."""

from dataclasses import dataclass
from math import pi, sqrt
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, UsageError, check
from plasticity_rl.interventions.base import Intervention, State, UpdateContext
from plasticity_rl.networks.layers import Layers, Params
from plasticity_rl.optim.optimizers import Net

START = 1e-8  # of every running sum of products, as in the code read
SPACING, TERMS = 0.3, 25  # of the series for erfi: exact to 1e-11 up to arguments of 9, beyond which float32 overflows


@dataclass(frozen=True)
class TRAC(Intervention):
    """Scale the way from the initial weights by a number that is learned online (Muppidi, Zhang & Yang, NeurIPS 2024, arXiv 2405.16642).

    Weights are reference + S * delta: delta is the sum of the optimizer's steps, the reference the initial weights, and S the sum of one
    scale per `betas`, at least 0. With h = <gradient, delta>,

        v <- beta^2 v + h^2,  sigma <- beta sigma - h,  s = initial / erfi(1 / sqrt 2) * erfi(sigma / (sqrt(2 v) + epsilon))

    S begins near 0, grows while the way pays, and falls back toward 0 when it no longer does. Formulas and defaults are read in the
    authors' package; the learning rate and any other setting are the optimizer's own.

    Here delta is kept, where the package computes it as (weights - reference) / (S + epsilon); both are equal but for rounding, which in
    single precision can swallow the first steps there. Changes by a refresh, a projection or another method move the reference, where they
    would count as part of delta there. Gradients are taken before any clipping, there after it. Steps start from the weights as the methods
    before it left them, so it comes last in a chain. The state holds two further networks.
    """

    betas: tuple[float, ...] = (0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)
    """discounts of the running sums, one scale each"""
    initial: Annotated[float, Interval("(0, inf)")] = 1e-8
    """factor of all scales"""
    epsilon: Annotated[float, Interval("(0, inf)")] = 1e-8
    """added to the divisors"""

    uniform_age: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)
        if not self.betas or not all(0 <= beta <= 1 for beta in self.betas):
            raise UsageError(f"TRAC: betas must be one or more numbers in [0, 1], not {self.betas!r}")

    @property
    def needs_layer_graph(self) -> bool:
        return False

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        names = [name for layer in layers for name in layer.parameters]
        # betas are state, not constants: a CUDA graph of an update may copy nothing from the host
        betas = torch.tensor(self.betas, dtype=torch.get_default_dtype(), device=next(iter(params.values())).device)
        sums = {"betas": betas, "variance": torch.zeros_like(betas), "sigma": torch.full_like(betas, START), "scale": betas.new_zeros(())}
        delta = {f"delta/{name}": torch.zeros_like(params[name]) for name in names}
        return sums | delta | {f"before/{name}": params[name].clone() for name in names}

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        names = [name.removeprefix("delta/") for name in state if name.startswith("delta/")]
        betas, scale = state["betas"], state["scale"]
        old = scale.clamp(min=0.0)
        kept = torch.where(scale > 0, scale / (scale + self.epsilon), 0.0)
        delta = {name: kept * state[f"delta/{name}"] for name in names}
        h = torch.stack([(delta[name] * grads[name]).sum() for name in names if name in grads]).sum()
        variance, sigma = betas.square() * state["variance"] + h.square(), betas * state["sigma"] - h
        scales = self.initial / ERFI_HALF * erfi(sigma / (sqrt(2) * variance.sqrt() + self.epsilon))
        sums = {"betas": betas, "variance": variance, "sigma": sigma, "scale": scales.sum()}
        new = sums["scale"].clamp(min=0.0)
        params, deltas = {}, {}
        for name in names:
            before = state[f"before/{name}"]
            moved = delta[name] + (net.params[name] - before)
            params[name] = before + (new * moved - old * state[f"delta/{name}"])
            deltas[f"delta/{name}"] = moved
        return net._replace(params=net.params | params), state | sums | deltas

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        return params, state | {name: params[name.removeprefix("before/")] for name in state if name.startswith("before/")}


def erfi(x: Tensor) -> Tensor:
    """The imaginary error function, 2 / sqrt(pi) * the integral of exp(t^2) from 0 to x, which torch lacks.

    Rybicki's series for Dawson's integral (1989), with exp(x^2) drawn into the sum so that no term overflows before the result does.
    """
    n = torch.arange(1, 2 * TERMS, 2, dtype=x.dtype, device=x.device)
    twice = 4 * SPACING * n * x.abs().unsqueeze(-1)
    terms = torch.exp(twice / 2 - (SPACING * n).square()) * -torch.expm1(-twice) / n
    return x.sign() * (2 / pi) * terms.sum(-1)


ERFI_HALF = erfi(torch.tensor(sqrt(0.5), dtype=torch.float64)).item()  # at 1 / sqrt 2
