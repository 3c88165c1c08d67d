"""Random numbers by counting: number i of an environment is a hash of its seed and i, so no environment depends on another."""

import numpy as np
import torch
from torch import Tensor

BITS = 24  # of a float32's fraction
WEYL, FIRST, SECOND = (value - (1 << 64) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
"""constants of SplitMix64 (Steele, Lea & Flood 2014, OOPSLA), as signed numbers: products wrap around alike"""


class Streams:
    """Numbers of N environments, one for each of `seeds`, on one device: each call returns the next `count` of each."""

    def __init__(self, seeds: np.ndarray, count: int, device: str | torch.device = "cpu") -> None:
        self._keys = mixed(torch.as_tensor(seeds, dtype=torch.int64, device=device) * WEYL)
        self._places = torch.arange(1, count + 1, device=device)
        self._used = torch.zeros((), dtype=torch.int64, device=device)

    def __call__(self) -> Tensor:
        """(N, count) float32 in [0, 1)."""
        numbers = mixed(self._keys[:, None] + (self._used + self._places) * WEYL)
        self._used = self._used + len(self._places)
        return _shifted(numbers, 64 - BITS) * 2.0**-BITS


def mixed(values: Tensor) -> Tensor:
    """SplitMix64's hash of 64-bit numbers."""
    values = (values ^ _shifted(values, 30)) * FIRST
    values = (values ^ _shifted(values, 27)) * SECOND
    return values ^ _shifted(values, 31)


def _shifted(values: Tensor, bits: int) -> Tensor:
    """Unsigned shift to the right; torch's own keeps the sign."""
    return (values >> bits) & ((1 << 64 - bits) - 1)
