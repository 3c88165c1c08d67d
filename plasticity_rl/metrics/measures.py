"""Metrics that a run reports, as functions of ONE network that return name -> scalar, to be lifted. docs/metrics.md defines each."""

from torch import Tensor

from plasticity_rl.metrics import function, norms, ranks, units
from plasticity_rl.networks.layers import Layer, Params

Layers = tuple[Layer, ...]
Found = dict[str, Tensor]
Moments = dict[str, units.Moments]


def of_features(features: Params, raw: Params, bounded: tuple[str, ...], penultimate: tuple[str, ...]) -> Found:
    """Metrics of units in every hidden layer, from `features` and `raw` preactivations (samples, units), and ranks of `penultimate` layers.

    Decomposing every layer would take longer than the updates. `bounded` names the layers that can saturate.
    """
    found: Found = {}
    for layer, outputs in features.items():
        moments = units.moments(raw[layer])
        found[f"dormant_fraction/{layer}"] = units.dormant_fraction(outputs)
        found[f"dead_fraction/{layer}"] = units.dead_fraction(raw[layer])
        found[f"linearised_fraction/{layer}"] = units.linearised_fraction(raw[layer])
        found[f"zero_fraction/{layer}"] = units.zero_fraction(outputs)
        found[f"sign_entropy/{layer}"] = units.sign_entropy(raw[layer])
        found[f"preactivation_mean/{layer}"] = moments.mean.mean()
        found[f"preactivation_variance/{layer}"] = moments.variance.mean()
        if layer in bounded:
            found[f"saturated_fraction/{layer}"] = units.saturated_fraction(outputs)
    for top in penultimate:
        found |= {f"{name}/{top}": rank for name, rank in ranks.ranks(features[top]).items()}
    return found


def of_lengths(params: Params, layers: Layers) -> Found:
    """Weight norms per layer."""
    return {f"weight_norm/{layer}": length for layer, length in norms.weight_norm(params, layers).items()}


def of_way(birth: Params, params: Params, layers: Layers) -> Found:
    """Distance of the weights from initialisation, per layer."""
    return {f"distance_from_birth/{layer}": way for layer, way in norms.distance(birth, params, layers).items()}


def since_start(then: tuple[Params, Moments], now: tuple[Params, Moments]) -> Found:
    """Changes on the reference batch since the visit began: penultimate features by CKA, and moments of all units."""
    found = {f"preactivation_shift/{layer}": units.shift(then[1][layer], moments).mean() for layer, moments in now[1].items()}
    return found | {f"cka_to_start/{top}": function.linear_cka(then[0][top], features) for top, features in now[0].items()}


def of_outputs(said: dict[str, Tensor], sampled: bool | None) -> Found:
    """Value scale, and of the policy entropy, variance, smallest probability and scale of logits, from the decoded outputs for a batch; of
    a continuous policy its variance and standard deviation.

    `sampled` is True if actions are sampled, False if the largest is taken, None if the agent does not act.
    """
    found: Found = {}
    if "means" in said:
        found["policy_variance"] = said["means"].var(0, correction=0).sum()
        found["value_scale"] = function.value_scale(said["values"])
        return found | ({"policy_std": said["log_stds"].exp().mean()} if "log_stds" in said else {})
    if sampled is not None:
        logits = said["logits"]
        best = logits == logits.max(-1, keepdim=True).values
        found["policy_variance"] = function.policy_variance(logits if sampled else best.float().log())
        found["value_scale"] = function.value_scale(said["values"])
    if sampled:
        found["policy_entropy"] = function.policy_entropy(said["logits"])
        found["smallest_probability"] = function.smallest_probability(said["logits"])
        found["logit_scale"] = function.logit_scale(said["logits"])
    return found


def of_update(before: Tensor, after: Tensor, choices: bool = True) -> Found:
    """Churn: change of the outputs (samples, outputs) by one update, on a reference batch that it did not learn from; and of the greedy
    action, where outputs stand for `choices`."""
    found = {"churn": function.churn(before, after)}
    return found | {"policy_churn": function.policy_churn(before, after)} if choices else found
