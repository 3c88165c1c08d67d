"""TensorBoard's groups of a run's curves under Custom Scalars, and the run's description in its text panel."""

import re
from collections.abc import Iterable
from typing import Any

from analysis.format import count
from launch.tracking.curves import EVALUATION, SCORE
from plasticity_rl.experiment import LISTS
from plasticity_rl.metrics.catalogue import METRICS, Metric
from plasticity_rl.records.spec import Spec

Layout = dict[str, dict[str, list[Any]]]

SCORES: dict[str, list[str]] = {"in training": [rf"{SCORE}/"], "of evaluations": [rf"{EVALUATION}/"]}


def _pattern(metric: Metric) -> str:
    """Return the pattern of a metric's tags, including those of an untrained network."""
    name = metric.name + ("(_fresh)?" if metric.untrained else "")
    return f"{name}/" if metric.keyed else f"training/{name}$"


CHARTS: dict[str, dict[str, list[str]]] = {"score": SCORES} | {
    group: {metric.title: [_pattern(metric)] for metric in METRICS.values() if metric.group == group}
    for group in dict.fromkeys(metric.group for metric in METRICS.values())
}


def layout(tags: Iterable[str]) -> Layout:
    """Make the layout: categories of non-empty charts, each with the curves whose tags start with one of its patterns."""
    tags, categories = list(tags), Layout()
    for category, charts in CHARTS.items():
        shown = {chart: patterns for chart, patterns in charts.items() if any(re.match("|".join(patterns), tag) for tag in tags)}
        if shown:
            categories[category] = {chart: ["Multiline", patterns] for chart, patterns in shown.items()}
    return categories


def description(spec: Spec) -> str:
    """Describe the run in Markdown: benchmark, methods, length, and the files with its numbers."""
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
    parts += [(kind, each) for field, kind in LISTS.items() for each in spec.experiment.get(field, [])]
    lines += [f"| {kind} | {name} | {', '.join(f'{field} {value}' for field, value in fields.items())} |" for kind, (name, fields) in parts]
    lines += [
        "",
        "Curves are means over members but for scores, and `_fresh` is an untrained network of the same kind; docs/metrics.md defines",
    ]
    return "\n".join(
        [*lines, "each. The record of truth are scores.csv and metrics.csv: this view is made of them, and pictures are in it alone."]
    )
