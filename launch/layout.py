"""How TensorBoard groups a run's curves under Custom Scalars, and what its text panel says of the run."""

from typing import Any

from plasticity_rl.runs import Spec

Layout = dict[str, dict[str, list[Any]]]

BOTH = r"(_fresh)?/"  # an untrained network's curve lies beside
CHARTS: dict[str, dict[str, list[str]]] = {
    "score": {"in training": [r"score/"], "of evaluations": [r"evaluation/"]},
    "plasticity": {
        "loss": [r"training/loss$"],
        "moved since the visit began": [r"preactivation_shift/"],
        "likeness to the visit's start": [r"(cka|pwcca)_to_start/"],
        "churn of one update": [r"training/(policy_)?churn$"],
        "probes": [r"probe"],
        "what penalties weigh": [r"penalty_over_loss/"],
        "what projections do": [r"projection_(factor|change)/"],
        "what steps of methods do": [r"step_change/"],
        "weights refreshed": [r"weights_refreshed/"],
        "units recycled": [r"units_recycled/"],
    },
    "units": {
        "dormant": [rf"dormant_fraction{BOTH}"],
        "dead": [rf"dead_fraction{BOTH}"],
        "linearised": [rf"linearised_fraction{BOTH}"],
        "outputs of zero": [rf"zero_fraction{BOTH}"],
        "saturated": [rf"saturated_fraction{BOTH}"],
        "entropy of signs": [rf"sign_entropy{BOTH}"],
        "mean before the activation": [rf"preactivation_mean{BOTH}"],
        "variance before the activation": [rf"preactivation_variance{BOTH}"],
    },
    "ranks": {name.replace("_", " "): [rf"^{name}{BOTH}"] for name in ("stable_rank", "effective_rank", "srank", "feature_rank")},
    "norms": {
        "weights": [rf"weight_norm{BOTH}"],
        "distance from birth": [r"distance_from_birth/"],
        "updates": [r"update_norm/"],
        "effective learning rates": [r"effective_learning_rate/"],
        "gradients, L0": [r"gradient_l0/"],
        "gradients, L1": [r"gradient_l1/"],
        "gradients, L2": [r"gradient_l2/"],
    },
    "speed": {"updates a second": [r"training/updates_per_second"], "learning rate": [r"training/learning_rate"]},
}
GAMES = {
    "policy and values": {
        "entropy": [r"training/policy_entropy"],
        "variance": [r"training/policy_variance"],
        "values": [r"training/value_scale"],
    }
}
CURVATURE = {
    "curvature": {
        "Hessian": [rf"hessian_eigenvalue{BOTH}"],
        "tangent kernel's rank": [r"training/ntk_rank"],
        "tangent kernel's condition": [r"training/ntk_condition"],
        "gradients": [r"training/gradient_"],
        "Jacobian": [r"training/jacobian_norm"],
        "reliance on units": [rf"reliance_(mean|max){BOTH}"],
    }
}
RAY = {"Ray": {"actors that died": [r"training/actor_deaths"]}}


def layout(spec: Spec) -> Layout:
    """Categories of charts, each chart the curves whose tags match."""
    chosen = CHARTS | (GAMES if spec.unit == "frames" else {})
    chosen |= CURVATURE if spec.experiment.get("curvature_every") else {}
    chosen |= RAY if spec.experiment.get("actors") else {}
    return {category: {chart: ["Multiline", tags] for chart, tags in charts.items()} for category, charts in chosen.items()}


def description(spec: Spec) -> str:
    """The run in Markdown: what is learned, how, for how long, and where the numbers are."""
    budget = sum(visit["budget"] for visit in spec.visits)
    tasks = list(dict.fromkeys(visit["task"] for visit in spec.visits))
    named = ", ".join(tasks[:10]) + (f" and {len(tasks) - 10} more" if len(tasks) > 10 else "")
    lines = [
        f"**{spec.label}** on {spec.benchmark}: {spec.members} members, seed {spec.seed}, key `{spec.key}`",
        "",
        f"{len(spec.visits)} visits, {budget:,} {spec.unit} for each member: {named}",
        "",
        "| part | settings |",
        "|---|---|",
    ]
    parts = [
        (kind, spec.experiment[kind]) for kind in ("benchmark", "agent", "network", "optimizer", "schedule") if kind in spec.experiment
    ]
    parts += [("method", each) for each in spec.experiment.get("chain", [])]
    lines += [f"| {kind} {name} | {', '.join(f'{field} {value}' for field, value in fields.items())} |" for kind, (name, fields) in parts]
    lines += [
        "",
        "Curves are means over members but for scores, and `_fresh` is an untrained network of the same kind; docs/metrics.md defines",
    ]
    return "\n".join(
        [*lines, "each. The record of truth are scores.csv and metrics.csv: this view is made of them, and pictures are in it alone."]
    )
