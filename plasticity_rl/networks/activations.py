"""Activations by name, and their properties."""

from collections.abc import Callable
from math import acos, pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from plasticity_rl.checks import UsageError

Activation = Callable[[Tensor], Tensor]

HOMOGENEOUS = ("relu", "leaky-relu", "prelu", "crelu", "tailored", "aid")  # f(cx) = c f(x) for c > 0
LEARNED = ("prelu",)  # with a parameter for each unit, Layer.slope
RANDOM = ("aid",)  # which takes random numbers in losses
SHARPNESS = 5 / 3  # of smooth-leaky: c = 5 and p = 3 in the paper, which enter as c / p
PAIRED = ("crelu", "fourier")  # two outputs per unit, concatenated in dimension 1

FIXED: dict[str, Activation] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "crelu": lambda x: torch.cat([F.relu(x), F.relu(-x)], 1),
    "fourier": lambda x: torch.cat([torch.sin(x), torch.cos(x)], 1),
}


def activation(name: str, slope: float, eta: float, depth: int) -> Activation:
    """The activation of that name, except those in LEARNED; the mean of those in RANDOM. `slope` is for `leaky-relu`, `smooth-leaky` and
    `aid`; `eta` and `depth`, the number of hidden layers, for `tailored`. Raises UsageError if no slope achieves `eta` at this depth."""
    if name == "leaky-relu":
        return lambda x: F.leaky_relu(x, slope)
    if name == "aid":
        return lambda x: torch.where(x > 0, 1 - slope, slope) * x
    if name == "smooth-leaky":
        return lambda x: slope * x + (1 - slope) * x * torch.sigmoid(SHARPNESS * x)
    if name != "tailored":
        return FIXED[name]
    solved = tailored_slope(eta, depth)
    scale = sqrt(2 / (1 + solved**2))
    return lambda x: scale * F.leaky_relu(x, solved)


def gain(name: str, slope: float) -> float:
    """The factor for standard normal pre-activations that preserves the signal's size: torch.nn.init.calculate_gain's where defined. GELU
    takes ReLU's, which it resembles, and so do paired activations, whose mean square per output is ReLU's, 1/2. smooth-leaky takes
    leaky-relu's."""
    if name in ("leaky-relu", "prelu", "smooth-leaky"):
        return sqrt(2 / (1 + slope**2))
    return {"tanh": 5 / 3, "tailored": 1.0}.get(name, sqrt(2))


def tailored_slope(eta: float, depth: int) -> float:
    """The slope in [0, 1] of a leaky ReLU for which `depth` layers map orthogonal inputs to cosine `eta` (Zhang et al. 2022, arXiv
    2203.08120). Raises UsageError if even ReLU, slope 0, stays below it."""
    if (most := _similarity(0.0, depth)) < eta:
        raise UsageError(f"eta={eta} is out of reach with {depth} hidden layers: ReLU itself reaches {most:.2f}; use a smaller eta")
    low, high = 0.0, 1.0
    for _ in range(60):  # bisection to double precision: the cosine falls as the slope grows, to 0 for the identity
        middle = (low + high) / 2
        low, high = (middle, high) if _similarity(middle, depth) > eta else (low, middle)
    return (low + high) / 2


def _similarity(slope: float, depth: int) -> float:
    """The cosine that infinitely wide layers produce from 0: the paper's local C map, iterated."""
    cosine, bend = 0.0, (1 - slope) ** 2 / (pi * (1 + slope**2))
    for _ in range(depth):
        cosine = min(1.0, cosine + bend * (sqrt(1 - cosine**2) - cosine * acos(cosine)))
    return cosine
