"""What weights start as, and what a network multiplies with in their stead."""

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

GOLDEN = 0.6180339887498949  # its multiples, less whole numbers, are spread evenly and repeat nowhere


def drawn(shape: tuple[int, ...], initial: str, gain: float, rank: float, generator: torch.Generator) -> Tensor:
    """A new weight of that shape, (units, fan in) or (units, channels, height, width): see NetworkSpec.initial."""
    fan_in = prod(shape[1:])
    if initial == "fan-in":
        return torch.randn(shape, generator=generator) * (gain * fan_in**-0.5)
    if initial == "orthogonal":
        return torch.nn.init.orthogonal_(torch.empty(shape), gain, generator=generator)
    if initial == "low-rank":
        inner = max(1, round(rank * min(shape[0], fan_in)))
        left, right = (torch.randn(size, generator=generator) for size in ((shape[0], inner), (inner, fan_in)))
        return (left @ right * (3 * inner * fan_in) ** -0.5).view(shape)
    return (torch.rand(shape, generator=generator) * 2 - 1) * fan_in**-0.5


def stored(weight: Tensor, weights: str, alpha: float) -> Tensor:
    """The parameter that stands for a new weight: its `effective` weight is `weight`, but for spectral norm, where it is its direction."""
    return _power(weight, 1 / alpha) if weights == "powerprop" else weight


def effective(weight: Tensor, weights: str, iterations: int, alpha: float) -> Tensor:
    """What a hidden layer multiplies with: see NetworkSpec.weights."""
    if weights == "powerprop":
        return _power(weight, alpha)
    sigma = largest_singular_value(weight, iterations)
    return weight / torch.where(sigma > 0, sigma, 1.0)


def largest_singular_value(weight: Tensor, iterations: int) -> Tensor:
    """Of a weight as a matrix (units, all else), by power iterations from a vector that is always the same; never more than the true one.

    Gradients see the singular vectors as constants, which at the true ones is exact.
    """
    matrix = weight.flatten(1)
    still = matrix.detach()
    right = torch.arange(1, matrix.shape[1] + 1, device=weight.device) * GOLDEN % 1 - 0.5
    right = F.normalize(right.to(weight.dtype), dim=0)
    left = F.normalize(still @ right, dim=0)
    for _ in range(iterations):
        right = F.normalize(left @ still, dim=0)
        left = F.normalize(still @ right, dim=0)
    return left @ (matrix @ right)


def _power(weight: Tensor, alpha: float) -> Tensor:
    """w |w|^(alpha - 1), with a gradient of 0 at 0."""
    return weight.sign() * weight.abs().pow(alpha)
