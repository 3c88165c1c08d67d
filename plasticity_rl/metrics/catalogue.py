"""Catalogue of all metrics that a run reports. A new metric is its function and one row here; docs/metrics.md defines each. Imports no
torch."""

from typing import Literal, NamedTuple


class Metric(NamedTuple):
    """A metric in metrics.csv, whose name there may be followed by `/layer` or another key."""

    name: str
    title: str
    group: str
    """group of charts in TensorBoard"""
    keyed: bool = True
    """False for one value per network, whose name has no key"""
    join: Literal["mean", "norm"] = "mean"
    """how layers are combined into one value of the network"""
    untrained: bool = False
    """True if the value of an untrained network is reported too, as `name_fresh`"""
    every: Literal["diagnose_every", "curvature_every", "probe_every", "evaluate"] = "diagnose_every"
    """the experiment's field that sets the interval between rows"""
    drawn: bool = False
    """whether the report has a panel of it"""


def _of_curvature(name: str, title: str, keyed: bool = True) -> Metric:
    return Metric(name, title, "curvature", keyed, untrained=True, every="curvature_every")


METRICS = {
    metric.name: metric
    for metric in (
        Metric("loss", "loss", "plasticity", keyed=False),
        Metric("preactivation_shift", "pre-activation shift within the visit", "plasticity"),
        Metric("cka_to_start", "linear CKA to the visit's start", "plasticity"),
        Metric("pwcca_to_start", "PWCCA to the visit's start", "plasticity", every="curvature_every"),
        Metric("churn", "churn of one update", "plasticity", keyed=False),
        Metric("policy_churn", "policy churn of one update", "plasticity", keyed=False),
        Metric("probe_final", "final loss of probes", "plasticity", untrained=True, every="probe_every"),
        Metric("probe_mean", "mean loss of probes", "plasticity", untrained=True, every="probe_every"),
        Metric("probe_policy", "final loss of the policy's outputs in probes", "plasticity", untrained=True, every="probe_every"),
        Metric("probe_value", "final loss of the value's outputs in probes", "plasticity", untrained=True, every="probe_every"),
        Metric("penalty_over_loss", "penalty over loss", "plasticity"),
        Metric("projection_factor", "length after over before a projection", "plasticity"),
        Metric("projection_change", "relative change by a projection", "plasticity"),
        Metric("step_change", "relative change by a method's step", "plasticity"),
        Metric("weights_refreshed", "weights refreshed", "plasticity"),
        Metric("units_recycled", "units recycled", "plasticity"),
        Metric("dormant_fraction", "dormant units", "units", untrained=True, drawn=True),
        Metric("dead_fraction", "dead units", "units", untrained=True, drawn=True),
        Metric("linearised_fraction", "linearised units", "units", untrained=True),
        Metric("zero_fraction", "outputs of zero", "units", untrained=True),
        Metric("saturated_fraction", "saturated outputs", "units", untrained=True),
        Metric("sign_entropy", "sign entropy", "units", untrained=True),
        Metric("preactivation_mean", "pre-activation mean", "units", untrained=True),
        Metric("preactivation_variance", "pre-activation variance", "units", untrained=True),
        Metric("stable_rank", "stable rank", "ranks", untrained=True),
        Metric("effective_rank", "effective rank", "ranks", untrained=True, drawn=True),
        Metric("srank", "srank", "ranks", untrained=True),
        Metric("feature_rank", "feature rank", "ranks", untrained=True),
        Metric("weight_norm", "weight norm", "norms", join="norm", untrained=True, drawn=True),
        Metric("distance_from_birth", "distance from initialisation", "norms", join="norm", drawn=True),
        Metric("update_norm", "update norm", "norms", join="norm"),
        Metric("effective_learning_rate", "effective learning rate", "norms", drawn=True),
        Metric("gradient_l0", "gradient, L0", "norms", untrained=True),
        Metric("gradient_l1", "gradient, L1", "norms", untrained=True),
        Metric("gradient_l2", "gradient, L2", "norms", join="norm", untrained=True),
        Metric("gradient_dormant_fraction", "units with hardly any gradient (GraMa)", "units", untrained=True),
        Metric("updates_per_second", "updates per second", "speed", keyed=False),
        Metric("processor_ms", "processor time of an update, ms", "speed", keyed=False),
        Metric("memory_mb", "memory, MB", "speed", keyed=False),
        Metric("learning_rate", "learning rate", "speed", keyed=False),
        Metric("policy_entropy", "policy entropy", "policy and values", keyed=False, untrained=True),
        Metric("smallest_probability", "smallest action probability", "policy and values", keyed=False, untrained=True),
        Metric("logit_scale", "scale of logits", "policy and values", keyed=False, untrained=True),
        Metric("policy_information", "Fisher information of the policy", "policy and values", keyed=False, untrained=True),
        Metric("policy_std", "standard deviation of the policy", "policy and values", keyed=False, untrained=True),
        Metric("temperature", "temperature of the entropy", "policy and values", keyed=False, untrained=True),
        Metric("policy_variance", "policy variance", "policy and values", keyed=False, untrained=True),
        Metric("value_scale", "scale of values", "policy and values", keyed=False, untrained=True),
        Metric("overestimation", "overestimation", "policy and values", keyed=False, every="evaluate"),
        _of_curvature("hessian_eigenvalue", "Hessian eigenvalues"),
        _of_curvature("ntk_rank", "rank of the tangent kernel", keyed=False),
        _of_curvature("ntk_condition_number", "condition number of the tangent kernel", keyed=False),
        _of_curvature("gradient_rank", "rank of the gradients' cosines", keyed=False),
        _of_curvature("gradient_interference", "interference of the gradients", keyed=False),
        _of_curvature("gradient_covariance_rank", "rank of the gradients' covariance", keyed=False),
        _of_curvature("gradient_strength", "squared gradient over loss", keyed=False),
        _of_curvature("gradient_reliability", "agreement of mini-batches' gradients", keyed=False),
        _of_curvature("readiness", "optimization readiness", keyed=False),
        _of_curvature("jacobian_norm", "Jacobian norm", keyed=False),
        _of_curvature("reliance_mean", "mean reliance on a unit"),
        _of_curvature("reliance_max", "largest reliance on a unit"),
        Metric("environment_restarts", "environments opened anew", "failures", keyed=False),
        Metric("actor_deaths", "actors that died", "Ray", keyed=False),
    )
}


def metric_of(name: str) -> Metric:
    """The catalogue's row for a name in metrics.csv, with or without key, also of an untrained network. Raises KeyError for an unknown
    name."""
    return METRICS[name.partition("/")[0].removesuffix("_fresh")]
