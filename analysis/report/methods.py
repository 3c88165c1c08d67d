"""Methods: the experiment and the definition of each number, as (heading, text)."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.data.comparable import Run
from analysis.data.provenance import boundaries, choices, contexts, told
from analysis.format import count
from analysis.report.columns import SEQUENCE, SUITE, VERDICT
from analysis.report.sections import Section, SuiteSection
from analysis.scores.matrix import ENOUGH_MEMBERS, RESAMPLES
from analysis.scores.sequential import MEASURES
from analysis.scores.setting import WINDOWS, Setting
from analysis.statistics.aggregates import METHOD as BOOTSTRAP
from analysis.statistics.intervals import LEVEL, METHOD

SOURCES = {
    "atari": "published with DQN Zoo (Quan & Ostrovski 2020), after Wang et al. 2016, arXiv 1511.06581: agents that act at random, and "
    "professional testers of games",
}
"""benchmark -> where its random and human scores come from"""
Lines = list[tuple[str, str]]


def methods(section: Section) -> Lines:
    """Methods of one setting."""
    setting, spec = section.setting, section.setting.spec
    seeds = sorted({run.spec.seed for run in setting.runs})
    lines = [
        ("Visits", f"{len(spec.visits)}, each of {_budgets(setting)} per member; numbered from 0"),
        ("Members", f"{len(setting.pairs)} independent networks of each chain, from {count(len(seeds), 'seed')} ({_some(seeds)})"),
        ("Score", _score_method(setting)),
        *_references([setting]),
        *((column.title, column.method(section)) for column in VERDICT if column.method),
        *_sequence_methods(section),
        (
            "Intervals",
            f"{LEVEL:.0%} {METHOD}: a member is one network with all its visits, and one observation. The standard error of any number is "
            "that of the members' pseudo-values (the jackknife), of a mean simply theirs; where a denominator's interval includes 0 no "
            "interval is given. They hold for scores that are near normal, and less often where single members collapse; one member has "
            "none (docs/statistics.md).",
        ),
        (
            "Best",
            "Marked where a chain's mean over the last visits beats that of every other chain but the fresh control: each paired "
            f"difference, on at least {ENOUGH_MEMBERS} members, has p < 0.05 in the paired t test after Holm's correction for the "
            "number of rivals.",
        ),
    ]
    return [*lines, *_published(section), *_runs(setting.runs, dict(spec.experiment))]


def suite_methods(section: SuiteSection) -> Lines:
    """Methods of a suite."""
    settings, matrix = section.suite.settings, section.matrix
    first = settings[0]
    experiment = dict(first.spec.experiment)
    name, fields = experiment.get("benchmark", ["", {}])
    experiment["benchmark"] = [name, {field: value for field, value in fields.items() if field != section.suite.field}]
    lines = [
        ("Tasks", f"{len(matrix.tasks)}, each in runs of its own: {', '.join(matrix.tasks)}"),
        ("Visits", f"{len(first.tasks)} to each, each of {_budgets(first)} per member; numbered from 0"),
        ("Members", f"{len(matrix.rows[0].score)} of each chain and task, each an independent network"),
        ("Score", _score_method(first)),
        *_references(settings),
        *((column.title, column.method(section)) for column in SUITE if column.method),
        (
            "Intervals",
            f"Aggregates: {LEVEL:.0%} {BOOTSTRAP} with {RESAMPLES:,} resamples: members are drawn anew for every task (Agarwal et al. "
            "2021, arXiv 2108.13264). IQM, median, mean and optimality gap are rliable's; where tasks have unequal numbers of members, "
            "every task weighs the same. Differences: t intervals, whose variances are summed over tasks. The tasks are fixed: "
            "intervals are about these, not about others like them.",
        ),
        (
            "Best",
            "Marked where a chain's interquartile mean is above that of every other chain but the fresh control: each paired difference, "
            f"on at least {ENOUGH_MEMBERS} members of every task, has p < 0.05 after Holm's correction for the number of rivals.",
        ),
    ]
    return [*lines, *_published(section), *_runs(section.runs, experiment)]


def _published(section: Section | SuiteSection) -> Lines:
    return [
        (f"published: {each.label}", f"{each.source}; {each.measure}. Not compared, and never marked as best.")
        for each, _ in section.published
    ]


def _budgets(setting: Setting) -> str:
    budgets = sorted({visit["budget"] for visit in setting.spec.visits})
    return f"{' or '.join(f'{budget:,}' for budget in budgets)} {setting.spec.unit}"


def _references(settings: Sequence[Setting]) -> Lines:
    """Reference scores and their sources."""
    known: Mapping[str, Mapping[str, float]] = {}
    for setting in settings:
        known = {**known, **{task: setting.spec.references[task] for task in setting.tasks if setting.spec.references.get(task)}}
    if not known:
        return []
    source = SOURCES.get(settings[0].spec.benchmark, "those in the runs' spec.json")
    listed = "; ".join(f"{task} " + ", ".join(f"{name} {value:,.10g}" for name, value in scores.items()) for task, scores in known.items())
    return [("Reference scores", f"{source[0].upper()}{source[1:]}. {listed}")]


def _runs(runs: Sequence[Run], experiment: dict[str, Any]) -> Lines:
    """Settings, chains and machines."""
    lines = [("Hyper-parameters", f"How they were chosen: {choices(runs)}")]
    chains = {run.spec.label: run for run in runs}
    knowing = [
        f"{label} ({', '.join(part.rpartition('.')[2] for part in parts)})" for label, run in chains.items() if (parts := boundaries(run))
    ]
    others = "".join(f"; in all chains, {what} at a change of task" for what in told(runs[0]))
    lines.append(("Task boundaries", f"told to {', '.join(knowing) or 'no chain'}{others}"))
    lines += [(name, _part(value)) for name, value in experiment.items() if name not in ("chain", "seed", "members", "metrics")]
    lines += [
        (f"chain: {label}", "; ".join(map(_part, run.spec.experiment.get("chain", []))) or "no intervention")
        for label, run in sorted(chains.items())
    ]
    return lines + contexts(runs)


def _score_method(setting: Setting) -> str:
    told = "" if setting.quantity == "accuracy" else " Explained variance is 1 - squared error / variance, or 0 where that is negative."
    if setting.kind == "test":
        return f"The {setting.quantity} on examples that were held out, after the last update of the visit.{told}"
    if setting.kind == "online":
        return (
            f"Area under the visit's curve: the mean of the online {setting.quantity} over all updates of the visit. "
            f"Each batch is scored before it is learned from.{told}"
        )
    scale = ", shown as the fraction of the way from the random to the human score" if setting.normalised else ""
    return (
        f"Area under the visit's curve{scale}: a visit's frames are cut into {WINDOWS} equal windows, a window's score is the mean "
        "undiscounted return of the episodes that ended in it, and the area is the mean of the windows. A window in which no episode ended "
        "takes the score before it; windows before the first finished episode are missing. Episodes cut by the end of a visit or by a "
        "checkpoint are not scored. Percentages of the first visits are measured from the random score, where it is known."
    )


def _sequence_methods(section: Section) -> Lines:
    """Definitions of the columns of the sequence table."""
    evaluation = "Undiscounted return of whole episodes that are played without exploration and without learning; no part of any curve."
    measures = section.sequence[0].measures if section.sequence else {}
    return [("Evaluation", evaluation)] * bool(section.evaluations) + [(MEASURES[name], SEQUENCE[name].method) for name in measures]


def _some(values: list[Any]) -> str:
    return ", ".join(map(str, values[:8])) + (f" and {len(values) - 8} more" if len(values) > 8 else "")


def _part(value: Any) -> str:
    """A part of an experiment, `["redo", {"tau": 0.1}]`, as `redo(tau=0.1)`; anything else as it is."""
    match value:
        case [str(name), dict(fields)]:
            return f"{name}({', '.join(f'{key}={field}' for key, field in fields.items())})"
        case _:
            return str(value)
