"""How TensorBoard groups a run's curves under Custom Scalars, and what its text panel says of the run."""

import re
from collections.abc import Iterable
from typing import Any

from analysis.format import count
from launch.tracking.curves import EVALUATION, SCORE
from plasticity_rl.records.spec import Spec

Layout = dict[str, dict[str, list[Any]]]

BOTH = r"(_fresh)?/"  # an untrained network's curve lies beside
CHARTS: dict[str, dict[str, list[str]]] = {
    "score": {"in training": [rf"{SCORE}/"], "of evaluations": [rf"{EVALUATION}/"]},
    "plasticity": {
        "loss": [r"training/loss$"],
        "moved since the visit began": [r"preactivation_shift/"],
        "likeness to the visit's start": [r"(cka|pwcca)_to_start/"],
        "churn of one update": [r"training/(policy_)?churn$"],
        "probes": [r"probe_"],
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
    "ranks": {name.replace("_", " "): [rf"{name}{BOTH}"] for name in ("stable_rank", "effective_rank", "srank", "feature_rank")},
    "norms": {
        "weights": [rf"weight_norm{BOTH}"],
        "distance from birth": [r"distance_from_birth/"],
        "updates": [r"update_norm/"],
        "effective learning rates": [r"effective_learning_rate/"],
        "gradients, L0": [rf"gradient_l0{BOTH}"],
        "gradients, L1": [rf"gradient_l1{BOTH}"],
        "gradients, L2": [rf"gradient_l2{BOTH}"],
    },
    "speed": {
        "updates a second": [r"training/updates_per_second"],
        "memory, MB": [r"training/memory_mb"],
        "learning rate": [r"training/learning_rate"],
    },
    "policy and values": {
        "entropy": [r"training/policy_entropy"],
        "variance": [r"training/policy_variance"],
        "values": [r"training/value_scale"],
        "values above returns": [r"training/overestimation"],
    },
    "curvature": {
        "Hessian": [rf"hessian_eigenvalue{BOTH}"],
        "tangent kernel's rank": [r"training/ntk_rank"],
        "tangent kernel's condition": [r"training/ntk_condition"],
        "gradients": [r"training/gradient_"],
        "Jacobian": [r"training/jacobian_norm"],
        "reliance on units": [rf"reliance_(mean|max){BOTH}"],
    },
    "Ray": {"actors that died": [r"training/actor_deaths"]},
}


def layout(tags: Iterable[str]) -> Layout:
    """Categories of charts that have curves, each chart the curves whose tags begin as one of its patterns says."""
    tags, categories = list(tags), Layout()
    for category, charts in CHARTS.items():
        shown = {chart: patterns for chart, patterns in charts.items() if any(re.match("|".join(patterns), tag) for tag in tags)}
        if shown:
            categories[category] = {chart: ["Multiline", patterns] for chart, patterns in shown.items()}
    return categories


def description(spec: Spec) -> str:
    """The run in Markdown: what is learned, how, for how long, and where the numbers are."""
    budget = sum(visit["budget"] for visit in spec.visits)
    tasks = list(dict.fromkeys(visit["task"] for visit in spec.visits))
    named = ", ".join(tasks[:10]) + (f" and {len(tasks) - 10} more" if len(tasks) > 10 else "")
    lines = [
        f"**{spec.label}** on {spec.benchmark}: {count(spec.members, 'member')}, seed {spec.seed}, key `{spec.key}`",
        "",
        f"{count(len(spec.visits), 'visit')}, {budget:,} {spec.unit} for each member: {named}",
        "",
        "| part | name | settings |",
        "|---|---|---|",
    ]
    parts = [
        (kind, spec.experiment[kind]) for kind in ("benchmark", "agent", "network", "optimizer", "schedule") if kind in spec.experiment
    ]
    parts += [("method", each) for each in spec.experiment.get("chain", [])]
    lines += [f"| {kind} | {name} | {', '.join(f'{field} {value}' for field, value in fields.items())} |" for kind, (name, fields) in parts]
    lines += [
        "",
        "Curves are means over members but for scores, and `_fresh` is an untrained network of the same kind; docs/metrics.md defines",
    ]
    return "\n".join(
        [*lines, "each. The record of truth are scores.csv and metrics.csv: this view is made of them, and pictures are in it alone."]
    )
