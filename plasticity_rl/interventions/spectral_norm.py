"""Spectral normalisation of hidden weights."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.checks import check
from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class SpectralNorm(Intervention):
    """Hidden layers multiply with W / sigma, its largest singular value (Miyato et al. 2018, arXiv 1802.05957).

    In reinforcement learning it is of Gogianu et al. 2021 (arXiv 2105.05246). sigma comes of power iterations in every forward pass, always
    from the same vector and with nothing remembered between updates; the paper makes one iteration an update and remembers the vector.
    Fewer iterations find a smaller sigma and so a longer weight. Convolutions are matrices (units, all else), as in PyTorch; biases, heads
    and a noisy layer's standard deviations are left alone. Gogianu et al.'s settings for Atari normalise a single layer, the dense one or
    the last convolution; here it is all hidden ones, as remembered of the plasticity literature.
    """

    iterations: int = 10
    """of every forward pass; ours"""

    def __post_init__(self) -> None:
        check(self, iterations="[1, 1000]")

    def build(self) -> dict[str, Any]:
        return {"weights": "spectral-norm", "iterations": self.iterations}
