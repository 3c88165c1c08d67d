"""What a network computes, whatever its weights: changes of outputs, likeness of features, reliance on units, policies and values."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import vmap

from plasticity_rl.networks.layers import Layer, Params, unit_masks
from plasticity_rl.optim.optimizers import Net


def churn(before: Tensor, after: Tensor) -> Tensor:
    """mean |f' - f| over a reference batch and outputs, (samples, ...) each: a scalar, in units of the outputs.

    Wanted and unwanted change look alike; on states that the update did not see, change is mostly unwanted (Tang et al. 2025, arXiv
    2506.00592). Compare at equal numbers of updates between the two.
    """
    return (after - before).abs().mean()


def policy_churn(before: Tensor, after: Tensor) -> Tensor:
    """The share of samples whose greatest output is another one, of (samples, actions): a scalar in [0, 1] (Schaul et al. 2022, arXiv
    2206.00730). Of equal outputs the first counts. Where actions are worth the same, it is high for nothing."""
    return (before.argmax(-1) != after.argmax(-1)).to(before.dtype).mean()


def linear_cka(one: Tensor, other: Tensor) -> Tensor:
    """||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F) of features (samples, units) on the same samples, centred: a scalar in [0, 1], double.

    Kornblith et al. 2019, arXiv 1905.00414. 1 for features equal up to rotation, scale and offset; 0 where one does not vary. The
    directions of most variance dominate. With fewer samples than units even unrelated features are alike: take many.
    """
    x, y = _centred(one), _centred(other)
    lengths = (x.T @ x).norm() * (y.T @ y).norm()
    return torch.where(lengths > 0, (y.T @ x).square().sum() / lengths, 0.0)


def pwcca(one: Tensor, other: Tensor) -> Tensor:
    """sum_i a_i rho_i / sum_i a_i with rho_i the canonical correlations of features (samples, units) on the same samples, and
    a_i = sum_j |<h_i, x_j>|, h_i being the canonical variates and x_j the units of `one`, centred: a scalar in [0, 1], double.

    Projection-weighted CCA, Morcos et al. 2018, arXiv 1806.05759. The variates are those of whichever spans fewer directions, `one` where
    equal, as in the official code; so it is not symmetric. Directions that are rounding in the features' precision do not count. 1 for
    features equal up to any invertible linear map and offset; 0 where one does not vary. It is 1 too of anything when there are not more
    samples than units: take ten times as many.
    """
    x, y = _centred(one), _centred(other)
    (u, x_rank), (v, y_rank) = _directions(x, torch.finfo(one.dtype).eps), _directions(y, torch.finfo(other.dtype).eps)
    left, correlations, right = torch.linalg.svd(u.T @ v, full_matrices=False)
    correlations = correlations.clamp(max=1.0)

    def weighted(variates: Tensor, features: Tensor) -> Tensor:
        weights = (variates.T @ features).abs().sum(1)
        total = weights.sum()
        return torch.where(total > 0, (weights * correlations).sum() / total, 0.0)

    return torch.where(x_rank <= y_rank, weighted(u @ left, x), weighted(v @ right.T, y))


def reliance(loss: Callable[[Params], Tensor], params: Params, layer: Layer, layers: tuple[Layer, ...], chunk: int = 16) -> Tensor:
    """How much `loss` rises when each unit of `layer` is set to zero, all its outputs at once: (units,), in units of the loss.

    Report mean and maximum: a network that leans on few units has a large maximum. Done by zeros in what reads the unit, so it is not for
    units of a residual stream, which others write too, nor exact under spectral norms, which look at those weights. A forward pass a unit,
    `chunk` of them at once. Units that stand in for each other each count for nothing; a loss that falls is negative.
    """
    assert not layer.head and not layer.shared, layer.name
    net, base = Net(params, {}), loss(params)

    def rise(unit: Tensor) -> Tensor:
        _, columns = unit_masks(layer, layers, unit, net.params)
        return loss(params | {name: torch.where(mask, 0.0, params[name]) for name, mask in columns.items()}) - base

    return vmap(rise, chunk_size=chunk)(torch.eye(layer.units, dtype=torch.bool, device=params[layer.weight].device))


def policy_entropy(logits: Tensor) -> Tensor:
    """The entropy of softmax(logits), (states, actions), averaged over states: a scalar in nats, at most log(actions).

    Low is confident, right or wrong; a network that cannot tell states apart may be either.
    """
    return torch.special.entr(logits.softmax(-1)).sum(-1).mean()


def policy_variance(logits: Tensor) -> Tensor:
    """The variance of softmax(logits), (states, actions), over the states, summed over actions: a scalar in [0, 1).

    0 for a policy that does the same everywhere, which an entropy does not show. How much it should vary depends on the states. The sum is
    ours.
    """
    return logits.softmax(-1).var(0, correction=0).sum()


def value_scale(values: Tensor) -> Tensor:
    """mean |value|: a scalar, in units of the (clipped, normalised) returns that are learned. Grows with the returns of a better policy
    too."""
    return values.abs().mean()


def overestimation(values: Tensor, returns: Tensor) -> Tensor:
    """mean(value - return), (samples,) each: a scalar, in units of the returns. The discounted returns must be those of the policy that the
    values are of, from the same states, whole, with the same clipping; bias and a return that was cut look alike."""
    return (values - returns).mean()


def _centred(features: Tensor) -> Tensor:
    features = features.double()
    return features - features.mean(0)


def _directions(features: Tensor, rounding: float) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of the columns, (samples, k), with zeros beyond their rank; and the rank, as torch.linalg.matrix_rank has it."""
    basis, values, _ = torch.linalg.svd(features, full_matrices=False)
    real = values > rounding * max(features.shape) * values[0]
    return torch.where(real, basis, 0.0), real.sum()
