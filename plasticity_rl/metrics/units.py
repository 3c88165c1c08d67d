"""How units respond: each function takes one layer's units on a batch, (samples, units), and says whether after or before the activation.

A sample is an example, or one position of one example's convolution. Where an activation makes several outputs of a unit, each is a sample
of `features`, but the pre-activations (`apply(..., raw=True)`) have one a unit. Means over the units of a layer are left to the caller
where a function returns (units,).
"""

from math import log
from typing import NamedTuple

import torch
from torch import Tensor


def dormant(features: Tensor, tau: float) -> Tensor:
    """Which units are dormant, (units,) bool: mean |output| over the samples, relative to the layer's mean, is at most `tau`.

    Sokar et al. 2023, arXiv 2302.12902. The means come first and the division last, so a sample without any output is harmless; a
    layer that is silent on all samples is dormant throughout.
    """
    response = features.abs().mean(0)
    return response <= tau * response.mean()


def dormant_fraction(features: Tensor, tau: float = 0.1) -> Tensor:
    """The share of dormant units, a scalar in [0, 1]. Means nothing without an untrained network's beside it: that one is dormant too.

    tau 0.1 is the larger of the paper's two thresholds and the one that monitoring uses.
    """
    return dormant(features, tau).float().mean()


def dead(raw: Tensor) -> Tensor:
    """Which units are never positive before the activation, (units,) bool: of a ReLU no gradient reaches them on this batch.

    Outputs serve as well where the activation keeps the sign (ReLU, leaky ReLU, GELU, tanh). What is dead on a batch may live on the
    next, and a smaller batch has more of them; leaky units that are never positive learn all the same.
    """
    return (raw <= 0).all(0)


def dead_fraction(raw: Tensor) -> Tensor:
    """The share of dead units, a scalar in [0, 1]."""
    return dead(raw).float().mean()


def linearised(raw: Tensor) -> Tensor:
    """Which units are positive on every sample, (units,) bool: of a ReLU they are linear there, and learn nothing that bends.

    Lyle et al. 2024, arXiv 2402.18762, who as far as could be told give no tolerance; here there is none. No unit is both dead and
    linearised. Smooth activations are linearised by small pre-activations too, which this does not see: `moments` does.
    """
    return (raw > 0).all(0)


def linearised_fraction(raw: Tensor) -> Tensor:
    """The share of linearised units, a scalar in [0, 1]."""
    return linearised(raw).float().mean()


def zero_fraction(features: Tensor) -> Tensor:
    """The share of outputs that are exactly zero, over samples and units: a scalar in [0, 1]. 1 - this is how dense the code is.

    It cannot tell a few units that never fire from all units firing seldom; and only ReLU makes exact zeros.
    """
    return (features == 0).float().mean()


def saturated_fraction(features: Tensor, threshold: float = 0.95, bound: float = 1.0) -> Tensor:
    """The share of outputs whose |output| is over `threshold` of the activation's `bound`, over samples and units: a scalar in [0, 1].

    For bounded activations: tanh, whose slope there is under 1 - 0.95^2 = 0.0975. The threshold is ours. A unit that is saturated on
    half the samples may be a good feature; one that is on all of them, with one sign, is dead, which `dead` and `linearised` tell apart.
    """
    return (features.abs() > threshold * bound).float().mean()


def sign_entropy(raw: Tensor) -> Tensor:
    """The entropy of each unit's sign over the samples, in bits, averaged over the units: a scalar in [0, 1].

    H = -p log2 p - (1 - p) log2(1 - p) with p the share of samples on which the unit is positive before the activation: 0 for units that
    are dead or linearised, 1 for those that split the batch in halves. Lewandowski et al. 2024, arXiv 2410.20634; from memory, with bits as
    in a second code. It does not show how far from zero units are, nor whether they all split the batch alike.
    """
    positive = (raw > 0).to(raw.dtype).mean(0)
    return (torch.special.entr(positive) + torch.special.entr(1 - positive)).mean() / log(2)


class Moments(NamedTuple):
    """Of each unit over the samples, (units,) each."""

    mean: Tensor
    variance: Tensor
    """divided by the number of samples: 0 for one sample"""


def moments(raw: Tensor) -> Moments:
    """Mean and variance of each unit before the activation, which Lyle et al. 2024 (arXiv 2402.18762) draw as histograms over units."""
    return Moments(raw.mean(0), raw.var(0, correction=0))


def shift(then: Moments, now: Moments) -> Tensor:
    """How far each unit's distribution has moved, (units,), in standard deviations:

        sqrt((m - m0)^2 + (s - s0)^2) / sqrt((s^2 + s0^2) / 2)

    with m, s a unit's mean and standard deviation now and m0, s0 those `then`, as a visit began: the 2-Wasserstein distance between the
    normal distributions that have them, over the pooled standard deviation. Ours; the paper defines no distance. 0 where the unit does not
    vary at either time, which leaves nothing to measure in. Weights may move it, and so may the inputs: take both from the same batch to
    see the weights alone. That a unit moved does not say that it hurts.
    """
    spread = now.variance.sqrt() - then.variance.sqrt()
    moved, pooled = ((now.mean - then.mean).square() + spread.square()).sqrt(), ((now.variance + then.variance) / 2).sqrt()
    return torch.where(pooled > 0, moved / pooled, 0.0)


def finite(name: str, tensor: Tensor) -> Tensor:
    """`tensor` itself. Raises FloatingPointError, which says `name`, where a number in it is infinite or none: some metrics would make a
    plausible number of it, so this comes first. It looks at values: call it outside of lifted and compiled functions."""
    if not torch.isfinite(tensor).all():
        wrong = int((~torch.isfinite(tensor)).sum())
        raise FloatingPointError(f"{name}: {wrong} of {tensor.numel()} numbers are infinite or not a number")
    return tensor
