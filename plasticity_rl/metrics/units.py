"""How units respond: each function takes one layer's outputs on a batch, (samples, units)."""

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
