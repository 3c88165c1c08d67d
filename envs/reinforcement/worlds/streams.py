"""Random numbers by counting: number i of an environment is a hash of its seed and i, so no environment depends on another."""

import math

import numpy as np
import torch
from torch import Tensor

BITS = 24  # of a float32's fraction
WEYL, FIRST, SECOND = (value - (1 << 64) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
"""constants of SplitMix64 (Steele, Lea & Flood 2014, OOPSLA), as signed numbers: products wrap around alike"""


def keys(seeds: np.ndarray, device: str) -> Tensor:
    """(N,) int64: the key of each environment's numbers."""
    return mixed(torch.as_tensor(seeds, dtype=torch.int64, device=device) * WEYL)


def uniform(keys: Tensor, used: Tensor, count: int) -> Tensor:
    """The next numbers of each environment after `used` (), (N, count) float32 in [0, 1)."""
    places = torch.arange(1, count + 1, device=keys.device)
    return _shifted(mixed(keys[:, None] + (used + places) * WEYL), 64 - BITS) * 2.0**-BITS


def normal(numbers: Tensor) -> Tensor:
    """Standard normal numbers, (N, n), from twice as many uniform ones, (N, 2 n), by Box and Muller's transform."""
    radius, turn = numbers.chunk(2, 1)
    return (-2 * torch.log1p(-radius)).sqrt() * (2 * math.pi * turn).cos()


def mixed(values: Tensor) -> Tensor:
    """SplitMix64's hash of 64-bit numbers."""
    values = (values ^ _shifted(values, 30)) * FIRST
    values = (values ^ _shifted(values, 27)) * SECOND
    return values ^ _shifted(values, 31)


def _shifted(values: Tensor, bits: int) -> Tensor:
    """Unsigned shift to the right; torch's own keeps the sign."""
    return (values >> bits) & ((1 << 64 - bits) - 1)
