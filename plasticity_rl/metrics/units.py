"""Metrics of units: each function takes one layer's units on a batch, (samples, units), after the activation, or before it (`raw`).

A sample is an example, or one position of one example's convolution. Where an activation has several outputs per unit, each is a sample of
`features`, but there is one pre-activation per unit (`apply(..., raw=True)`). Functions that return (units,) leave the mean over units to
the caller.
"""

from math import log
from typing import NamedTuple

import torch
from torch import Tensor


def dormant(features: Tensor, tau: float) -> Tensor:
    """Mask of dormant units, (units,) bool: their mean |output| over the samples, relative to the layer's mean, is at most `tau`.

    Sokar et al. 2023, arXiv 2302.12902. Means are taken before the division, so a sample with zero outputs is harmless; a layer whose
    outputs are all zero is entirely dormant.
    """
    response = features.abs().mean(0)
    return response <= tau * response.mean()


def dormant_fraction(features: Tensor, tau: float = 0.1) -> Tensor:
    """The share of dormant units, a scalar in [0, 1]. Compare with an untrained network, which has dormant units too.

    tau 0.1 is the larger of the paper's two thresholds and the one that monitoring uses.
    """
    return dormant(features, tau).float().mean()


def dead(raw: Tensor) -> Tensor:
    """Mask of dead units, never positive before the activation, (units,) bool: with ReLU no gradient reaches them on this batch.

    Outputs may be passed instead where the activation preserves the sign (ReLU, leaky ReLU, GELU, tanh). A unit that is dead on a batch may
    be active on the next, and a smaller batch shows more dead units; with leaky ReLU such units still learn.
    """
    return (raw <= 0).all(0)


def dead_fraction(raw: Tensor) -> Tensor:
    """The share of dead units, a scalar in [0, 1]."""
    return dead(raw).float().mean()


def linearised(raw: Tensor) -> Tensor:
    """Mask of linearised units, positive on every sample, (units,) bool: with ReLU they are linear on this batch.

    Lyle et al. 2024, arXiv 2402.18762, who apparently give no tolerance; there is none here. No unit is both dead and linearised. Small
    pre-activations linearise smooth activations too, which `moments` shows and this does not.
    """
    return (raw > 0).all(0)


def linearised_fraction(raw: Tensor) -> Tensor:
    """The share of linearised units, a scalar in [0, 1]."""
    return linearised(raw).float().mean()


def zero_fraction(features: Tensor) -> Tensor:
    """The share of outputs that are exactly zero, over samples and units: a scalar in [0, 1]. 1 minus it is the density of the code.

    Does not distinguish few units that never fire from many that fire rarely; only ReLU makes exact zeros.
    """
    return (features == 0).float().mean()


def saturated_fraction(features: Tensor, threshold: float = 0.95, bound: float = 1.0) -> Tensor:
    """The share of outputs whose |output| exceeds `threshold` times the activation's `bound`, over samples and units: a scalar in [0, 1].

    For bounded activations: tanh, whose slope there is below 1 - 0.95^2 = 0.0975. The threshold is ours. A unit that is saturated on half
    the samples may be a good feature; one that is saturated on all, with one sign, is dead, which `dead` and `linearised` distinguish.
    """
    return (features.abs() > threshold * bound).float().mean()


def sign_entropy(raw: Tensor) -> Tensor:
    """The entropy of each unit's sign over the samples, in bits, averaged over the units: a scalar in [0, 1].

    H = -p log2 p - (1 - p) log2(1 - p) with p the share of samples on which the unit is positive before the activation: 0 for units that
    are dead or linearised, 1 for those that split the batch in half. Lewandowski et al. 2024, arXiv 2410.20634; from memory, with bits as
    in a second implementation. It shows neither how far units are from zero nor whether they all split the batch alike.
    """
    positive = (raw > 0).to(raw.dtype).mean(0)
    return (torch.special.entr(positive) + torch.special.entr(1 - positive)).mean() / log(2)


class Moments(NamedTuple):
    """Mean and variance of each unit over the samples, (units,) each."""

    mean: Tensor
    variance: Tensor
    """divided by the number of samples: 0 for one sample"""


def moments(raw: Tensor) -> Moments:
    """Mean and variance of each unit before the activation, which Lyle et al. 2024 (arXiv 2402.18762) plot as histograms over units."""
    return Moments(raw.mean(0), raw.var(0, correction=0))


def shift(then: Moments, now: Moments) -> Tensor:
    """Shift of each unit's distribution, (units,), in standard deviations:

        sqrt((m - m0)^2 + (s - s0)^2) / sqrt((s^2 + s0^2) / 2)

    with m, s a unit's mean and standard deviation now and m0, s0 those `then`, at the start of a visit: the 2-Wasserstein distance between
    normal distributions of these moments, over the pooled standard deviation. The definition is ours; the paper has none. 0 where the unit
    is constant both times. Both weights and inputs may cause a shift: use the same batch to see the weights alone. A shift is not
    necessarily harmful.
    """
    spread = now.variance.sqrt() - then.variance.sqrt()
    moved, pooled = ((now.mean - then.mean).square() + spread.square()).sqrt(), ((now.variance + then.variance) / 2).sqrt()
    return torch.where(pooled > 0, moved / pooled, 0.0)


def finite(name: str, tensor: Tensor) -> Tensor:
    """`tensor` itself. Raises FloatingPointError, naming `name`, if a value is not finite: some metrics would turn it into a plausible
    number. Reads values, so call it outside lifted and compiled functions."""
    if not torch.isfinite(tensor).all():
        wrong = int((~torch.isfinite(tensor)).sum())
        raise FloatingPointError(f"{name}: {wrong} of {tensor.numel()} numbers are infinite or not a number")
    return tensor
