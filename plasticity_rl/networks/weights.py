"""Initialisation of weights, and reparametrisations that networks use in their place."""

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

GOLDEN = 0.6180339887498949  # the fractional parts of its multiples are spread evenly and never repeat
BIRTH = 15  # power iterations on a new weight, as torch.nn.utils.parametrizations.spectral_norm makes
TINY = 1e-30


def drawn(shape: tuple[int, ...], initial: str, gain: float, rank: float, generator: torch.Generator) -> Tensor:
    """A new weight of shape (units, fan in) or (units, channels, height, width); see NetworkSpec.initial."""
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
    """The parameter that represents a new weight, so that a hidden layer at first multiplies with `weight` (with spectral norm, with its
    direction)."""
    return powered(weight, 1 / alpha) if weights == "powerprop" else weight


def powered(weight: Tensor, alpha: float) -> Tensor:
    """w |w|^(alpha - 1), with gradient 0 at 0."""
    return weight.sign() * weight.abs().pow(alpha)


def singular_vectors(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Approximate leading left and right singular vectors of a new weight as a matrix (units, all else), from a fixed start."""
    right = torch.arange(1, weight[0].numel() + 1, device=weight.device) * GOLDEN % 1 - 0.5
    right = F.normalize(right.to(weight.dtype), dim=0)
    left = F.normalize(weight.flatten(1) @ right, dim=0)
    return iterated(weight, left, right, BIRTH)


def iterated(weight: Tensor, left: Tensor, right: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Singular vectors after `times` steps of power iteration; unchanged for a weight of zeros."""
    matrix = weight.flatten(1)
    for _ in range(times):
        right = _direction(left @ matrix, right)
        left = _direction(matrix @ right, left)
    return left, right


def _direction(vector: Tensor, otherwise: Tensor) -> Tensor:
    length = vector.norm()
    return torch.where(length > TINY, vector / length.clamp(min=TINY), otherwise)


def over_singular_value(x: Tensor, weight: Tensor, left: Tensor, right: Tensor, convolution: tuple[int, int] | None) -> Tensor:
    """The product of a weight with `x`, or its convolution with that stride and padding, divided by left . W right, the largest singular
    value.

    Gradients treat the vectors as constants, which is exact for the true vectors. A weight of zeros is divided by 1.
    """
    left, right = left.detach(), right.detach().to(weight.dtype)
    if convolution is None:
        # The vector is an additional example: a separate product would read the weight, and add to its gradient, a second time.
        rows = F.linear(torch.cat([x.flatten(1), right.unsqueeze(0)]), weight)
        y, image = rows[:-1], rows[-1]
    else:
        y, image = F.conv2d(x, weight, None, *convolution), weight.flatten(1) @ right
    largest = left @ image.to(left.dtype)
    return y / torch.where(largest > 0, largest, 1.0).to(y.dtype)
