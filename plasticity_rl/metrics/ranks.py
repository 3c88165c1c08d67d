"""Ranks of a layer's features: each function takes a matrix (samples, units), the layer's units on a batch.

The four definitions differ on purpose; name the one you mean. All use the singular values of the uncentred matrix in double precision, by a
singular value decomposition, because the eigenvalues of the Gram matrix, their squares, lose values below 1e-8 of the largest. All ranks
are 0 for a matrix of zeros, and 1 for a single sample. No rank exceeds the number of samples, so compare only equal numbers of samples; and
no rank says how useful the directions are.
"""

import torch
from torch import Tensor


def singular_values(features: Tensor) -> Tensor:
    """Singular values sigma_1 >= sigma_2 >= ... of (samples, units): (min(samples, units),), double."""
    return torch.linalg.svdvals(features.double())


def stable_rank(features: Tensor) -> Tensor:
    """||A||_F^2 / ||A||_2^2 = sum of sigma^2 / sigma_1^2, a scalar >= 1, by design insensitive to small singular values.

    A large mean over the samples alone brings it near 1. (Some codebases call `srank` this.)
    """
    return _stable_rank(singular_values(features))


def effective_rank(features: Tensor) -> Tensor:
    """exp(H(p)) with p = sigma / sum of sigma, a scalar between 1 and the rank (Roy & Vetterli 2007): k for k equal directions."""
    return _effective_rank(singular_values(features))


def srank(features: Tensor, delta: float = 0.01) -> Tensor:
    """The least k such that the k largest singular values make up 1 - delta of the sum of all: a whole number.

    Kumar et al. 2021, arXiv 2010.14498, with their delta. Many tiny directions count by their sum. Discontinuous.
    """
    return _srank(singular_values(features), delta)


def feature_rank(features: Tensor, eps: float = 0.01) -> Tensor:
    """The number of singular values of A / sqrt(samples) above `eps`: a whole number. The only rank here that depends on the features'
    scale.

    Lyle et al. 2022, arXiv 2204.09560; formula and eps from memory.
    """
    return _feature_rank(singular_values(features), len(features), eps)


def ranks(features: Tensor, delta: float = 0.01, eps: float = 0.01) -> dict[str, Tensor]:
    """All four ranks by name, from one decomposition."""
    values = singular_values(features)
    return {
        "stable_rank": _stable_rank(values),
        "effective_rank": _effective_rank(values),
        "srank": _srank(values, delta),
        "feature_rank": _feature_rank(values, len(features), eps),
    }


def _stable_rank(values: Tensor) -> Tensor:
    shares = torch.where(values[0] > 0, values / values[0], 0.0)  # before squaring, which might underflow
    return shares.square().sum()


def _effective_rank(values: Tensor) -> Tensor:
    total = values.sum()
    return torch.where(total > 0, torch.special.entr(values / total).sum().exp(), 0.0)


def _srank(values: Tensor, delta: float) -> Tensor:
    total = values.sum()
    return torch.where(total > 0, (values.cumsum(0) < (1 - delta) * total).sum() + 1, 0).to(values.dtype)


def _feature_rank(values: Tensor, samples: int, eps: float) -> Tensor:
    return (values / samples**0.5 > eps).sum().to(values.dtype)
