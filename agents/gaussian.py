"""Gaussian policies over actions of several numbers: densities, and the squashing of their samples to [-1, 1]."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_STDS = (-20.0, 2.0)  # bounds of a network's log standard deviations, those of SAC's code
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def bounded(log_stds: Tensor) -> Tensor:
    """Log standard deviations within LOG_STDS."""
    return log_stds.clamp(*LOG_STDS)


def log_density(actions: Tensor, means: Tensor, log_stds: Tensor) -> Tensor:
    """Log-density (...) of independent Gaussians at actions (..., numbers)."""
    return -(0.5 * ((actions - means) * (-log_stds).exp()).square() + log_stds + HALF_LOG_TAU).sum(-1)


def entropy(log_stds: Tensor) -> Tensor:
    """Differential entropy (...) of independent Gaussians with log standard deviations (..., numbers), in nats."""
    return (log_stds + 0.5 + HALF_LOG_TAU).sum(-1)


def squashed(means: Tensor, log_stds: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
    """Actions tanh(u) in [-1, 1], with u Gaussian by `normal` numbers, and their log-densities; (..., numbers) and (...).

    The density of tanh(u) is that of u divided by 1 - tanh(u)^2 (Haarnoja et al. 2018, arXiv 1812.05905, appendix C), whose logarithm is
    computed as 2 (log 2 - u - softplus(-2u)), which does not round to minus infinity. The density of u is computed from `normal`, as
    u - mean rounds where the deviation is small.
    """
    raw = means + log_stds.exp() * normal
    stretch = 2 * (math.log(2) - raw - F.softplus(-2 * raw))
    return raw.tanh(), -(0.5 * normal.square() + log_stds + HALF_LOG_TAU + stretch).sum(-1)


def explored(actions: Tensor, uniform: Tensor, epsilon: Tensor) -> Tensor:
    """The `actions` (B, numbers), or with probability `epsilon` random ones in [-1, 1], by `uniform` (B, 1 + numbers) in [0, 1)."""
    return torch.where(uniform[:, :1] < epsilon, 2 * uniform[:, 1:] - 1, actions)
