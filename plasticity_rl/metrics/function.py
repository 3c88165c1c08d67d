"""Metrics of the function that a network computes: changes of outputs, similarity of features, reliance on units, policies and values."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from plasticity_rl.networks.layers import Layer, Params, unit_masks
from plasticity_rl.optim.optimizers import Net


def churn(before: Tensor, after: Tensor) -> Tensor:
    """Churn: mean |f' - f| over samples and outputs of a reference batch, (samples, ...) each; a scalar, in units of the outputs.

    Includes intended changes; on states outside the update's batch, change is mostly unintended (Tang et al. 2025, arXiv 2506.00592).
    Compare only at equal numbers of updates.
    """
    return (after - before).abs().mean()


def policy_churn(before: Tensor, after: Tensor) -> Tensor:
    """Policy churn: the share of samples whose greedy action changed, from outputs (samples, actions); a scalar in [0, 1] (Schaul et al.
    2022, arXiv 2206.00730). Ties go to the first action. High without consequence where actions have equal values."""
    return (before.argmax(-1) != after.argmax(-1)).to(before.dtype).mean()


def linear_cka(one: Tensor, other: Tensor) -> Tensor:
    """||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F) of features (samples, units) on the same samples, centred: a scalar in [0, 1], double.

    Kornblith et al. 2019, arXiv 1905.00414. 1 for features equal up to rotation, scale and offset; 0 if one is constant. The directions of
    most variance dominate. With fewer samples than units even unrelated features are alike: take many.
    """
    x, y = _centred(one), _centred(other)
    lengths = (x.T @ x).norm() * (y.T @ y).norm()
    return torch.where(lengths > 0, (y.T @ x).square().sum() / lengths, 0.0)


def pwcca(one: Tensor, other: Tensor) -> Tensor:
    """sum_i a_i rho_i / sum_i a_i with rho_i the canonical correlations of features (samples, units) on the same samples, and a_i = sum_j
    |<h_i, x_j>|, with h_i the canonical variates and x_j the centred units of `one`: a scalar in [0, 1], double.

    Projection-weighted CCA, Morcos et al. 2018, arXiv 1806.05759. The variates are those of the features with the lower rank, `one` for
    equal ranks, as in the official code; so it is not symmetric. Directions below the rounding error of the features' precision are
    ignored. 1 for features equal up to any invertible linear map and offset; 0 if one is constant. Always 1 if there are no more samples
    than units: use ten times as many.
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
    """Increase of `loss` when one unit of `layer` is set to zero with all its outputs: (units,), in units of the loss.

    Report mean and maximum: a network that relies on few units has a large maximum. Computed by zeroing the weights that read the unit, so
    it does not apply to units of a residual stream, which several layers write, and is not exact under spectral norm, which depends on
    those weights. Costs a forward pass per unit, `chunk` of them at once. Redundant units each count as 0; the value is negative if the
    loss falls.
    """
    assert not layer.head and not layer.shared, layer.name
    net, base = Net(params, {}), loss(params)

    def rise(unit: Tensor) -> Tensor:
        _, columns = unit_masks(layer, layers, unit, net.params)
        return loss(params | {name: torch.where(mask, 0.0, params[name]) for name, mask in columns.items()}) - base

    return vmap(rise, chunk_size=chunk)(torch.eye(layer.units, dtype=torch.bool, device=params[layer.weight].device))


def policy_entropy(logits: Tensor) -> Tensor:
    """Policy entropy, of softmax(logits), (states, actions), averaged over states: a scalar in nats, at most log(actions).

    Low entropy means confidence, right or wrong; a network that cannot distinguish states may have low or high entropy.
    """
    return torch.special.entr(logits.softmax(-1)).sum(-1).mean()


def smallest_probability(logits: Tensor) -> Tensor:
    """The smallest action probability, of softmax(logits), (states, actions), averaged over states: a scalar in [0, 1 / actions].

    An action that is never drawn is never learned about. Other actions may still be drawn; see the entropy.
    """
    return logits.softmax(-1).min(-1).values.mean()


def logit_scale(logits: Tensor) -> Tensor:
    """Standard deviation of the logits (states, actions) around each state's mean logit: a scalar. With two actions, twice it is the root
    mean square of the log-odds."""
    return (logits - logits.mean(-1, keepdim=True)).square().mean().sqrt()


def policy_information(logits_of: Callable[[Tensor], Tensor], outputs: Tensor) -> Tensor:
    """Trace of the policy's Fisher information in the network's outputs (states, outputs): the expected squared length of the slope of an
    action's log-probability, averaged over states. `logits_of` makes logits (states, actions) of outputs. A scalar, which is
    1 - sum(probability^2) if the outputs are the logits.

    Its root times the advantages' root mean square bounds the policy gradient that reaches a state's outputs. At 0 the network learns
    nothing from any action, however often it is drawn: a softmax, or a bound of the logits, is saturated.
    """

    def log_probabilities(state: Tensor) -> Tensor:
        return logits_of(state[None])[0].log_softmax(-1)

    slopes = vmap(jacrev(log_probabilities))(outputs)  # (states, actions, outputs)
    return (logits_of(outputs).softmax(-1) * slopes.square().sum(-1)).sum(-1).mean()


def policy_variance(logits: Tensor) -> Tensor:
    """Variance over states of softmax(logits), (states, actions), summed over actions: a scalar in [0, 1).

    0 for a policy that is the same in every state, which entropy does not show. The appropriate variance depends on the states. The sum is
    ours.
    """
    return logits.softmax(-1).var(0, correction=0).sum()


def value_scale(values: Tensor) -> Tensor:
    """mean |value|: a scalar, in units of the (clipped, normalised) returns that are learned. Also grows with the returns of a better
    policy."""
    return values.abs().mean()


def overestimation(values: Tensor, returns: Tensor) -> Tensor:
    """mean(value - return), (samples,) each: a scalar, in units of the returns. The discounted returns must come from the policy that is
    evaluated, from the same states, complete, and with the same clipping; truncated returns look like bias."""
    return (values - returns).mean()


def _centred(features: Tensor) -> Tensor:
    features = features.double()
    return features - features.mean(0)


def _directions(features: Tensor, rounding: float) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of the columns, (samples, k), padded with zeros beyond their rank; and the rank, as in
    torch.linalg.matrix_rank."""
    basis, values, _ = torch.linalg.svd(features, full_matrices=False)
    real = values > rounding * max(features.shape) * values[0]
    return torch.where(real, basis, 0.0), real.sum()
