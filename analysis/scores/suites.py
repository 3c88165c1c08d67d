"""Suites: settings that differ only in their tasks, such as one game each, and whose scores are averaged over tasks.

They have the same parts except for one field of the benchmark that names the tasks, visits of the same budgets in the same cycles, and no
task in common. Settings with any other difference are reported separately, with the difference named.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.data.comparable import OWN, Run, differing, part_fields
from analysis.format import count
from analysis.scores.matrix import Row, ScoreMatrix
from analysis.scores.ratios import own_control, plain_control
from analysis.scores.setting import ChainScores, Setting
from analysis.scores.verdict import first_and_last
from plasticity_rl.records.spec import Spec

NO_SCALE = "tasks share no scale: no reference scores"


@dataclass(frozen=True, eq=False)
class Suite:
    """Settings with one task each, combined into one score matrix."""

    settings: tuple[Setting, ...]
    field: str
    """the benchmark's field in which the settings differ"""
    matrix: ScoreMatrix
    missing: tuple[str, ...]
    """missing data of the suite, besides those of each setting"""


def group(runs: Sequence[Run]) -> list[tuple[str, tuple[str, ...]]]:
    """(field of the benchmark, keys of the settings) of each suite; a setting is in at most one."""
    specs = {run.spec.setting: run.spec for run in runs}
    found: dict[str, dict[str, list[str]]] = {}
    for key, spec in specs.items():
        for field in part_fields(spec.experiment.get("benchmark")):
            found.setdefault(field, {}).setdefault(_but(spec, field), []).append(key)
    groups = [(field, tuple(keys)) for field, same in found.items() for keys in same.values() if len(keys) > 1]
    groups = [(field, keys) for field, keys in groups if _disjoint([specs[key] for key in keys])]
    suites: list[tuple[str, tuple[str, ...]]] = []
    for field, keys in sorted(groups, key=lambda each: -len(each[1])):
        if not any(set(keys) & set(others) for _, others in suites):
            suites.append((field, keys))
    return suites


def _but(spec: Spec, field: str) -> str:
    """Everything that two settings of one suite share."""
    parts = {name: value for name, value in spec.experiment.items() if name not in (*OWN, "benchmark")}
    benchmark = {name: value for name, value in part_fields(spec.experiment.get("benchmark")).items() if name != field}
    return repr((spec.benchmark, spec.unit, [(visit["budget"], visit["cycle"]) for visit in spec.visits], parts, benchmark))


def _disjoint(specs: Sequence[Spec]) -> bool:
    tasks = [{visit["task"] for visit in spec.visits} for spec in specs]
    return len(set().union(*tasks)) == sum(map(len, tasks))


def apart(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """(key of a setting, why it is not part of the report's first setting or suite of its benchmark), for each separate setting."""
    specs = {run.spec.setting: run.spec for run in runs}
    suites = {key: keys for _, keys in group(runs) for key in keys}
    found: list[tuple[str, str]] = []
    first: dict[str, Spec] = {}
    for key, spec in specs.items():
        known = first.setdefault(spec.benchmark, spec)
        if spec is not known and suites.get(key, (key,)) != suites.get(known.setting, (known.setting,)):
            found.append((key, f"reported apart from {spec.benchmark} ({known.setting[:8]}): {differing(known, spec)}"))
    return found


def score_matrix(setting: Setting) -> ScoreMatrix:
    """The visits of one setting as a score matrix."""
    lines = [_row(setting, chain) for chain in setting.compared]
    budgets = sorted({visit["budget"] for visit in setting.spec.visits})
    return ScoreMatrix(
        tasks=tuple(f"visit {visit}" for visit in range(len(setting.tasks))),
        noun="visits",
        of=tuple(setting.tasks),
        floor=setting.floor if setting.normalised else np.zeros(len(setting.tasks)),
        human=setting.span if setting.normalised else np.ones(len(setting.tasks)),
        whole=True,
        scale=setting.scale,
        bounded=setting.kind != "return" or setting.normalised,
        no_scale="" if setting.comparable else NO_SCALE,
        rows=tuple(lines),
        no_performance=plain_control(setting).reasons,
        window=f"{setting.spec.unit} of a visit" if len(budgets) == 1 else "share of a visit's budget",
        span=budgets[0] if len(budgets) == 1 else 1,
    )


def _row(setting: Setting, chain: ChainScores) -> Row:
    own = own_control(setting, chain)
    shown, above = (setting.shown(chain.curve), setting.shown(chain.area)), chain.area - setting.floor
    return Row(chain.label, chain.fresh_control, *shown, above, above, own.area - setting.floor, own.reasons)


def suite(settings: Sequence[Setting], field: str) -> Suite:
    """Several settings as one score matrix: a chain's score on a task is its mean over all visits; its ratios to controls are over
    the last visits."""
    pairs = sorted({pair for setting in settings for pair in setting.pairs})
    position = {pair: at for at, pair in enumerate(pairs)}
    first = settings[0]
    visits, windows = len(first.tasks), first.chains[0].curve.shape[2]
    labels = {chain.label: chain.fresh_control for setting in settings for chain in setting.compared}
    shape = (len(pairs), len(settings))
    made = {label: (np.full((*shape, visits * windows), np.nan), *np.full((4, *shape), np.nan)) for label in labels}
    reasons: list[str] = []
    no_kept: dict[str, list[str]] = {label: ["no runs of it"] * len(settings) for label in labels}
    missing: list[str] = []
    names = [task_name(setting) for setting in settings]
    for task, (setting, name) in enumerate(zip(settings, names, strict=True)):
        rows = [position[pair] for pair in setting.pairs]
        last = first_and_last(setting)[1]
        plain = plain_control(setting).reasons
        defined = [visit for visit in last if not plain[visit]]
        reasons.append("" if defined else plain[last[-1]])
        if reasons[-1] and setting.control is not None:
            missing.append(f"no performance of {name}: {reasons[-1]}")
        there = {chain.label for chain in setting.compared}
        for chain in setting.compared:
            curve, score, above, mine, below = made[chain.label]
            whole = np.all(np.isfinite(chain.area), axis=1)
            shown = setting.shown(chain.curve).reshape(len(setting.pairs), -1)
            curve[rows, task] = np.where(whole[:, None], shown, np.nan)
            score[rows, task] = np.where(whole, setting.shown(chain.area).mean(axis=1), np.nan)
            own = own_control(setting, chain)
            by = [visit for visit in last if not own.reasons[visit]]
            no_kept[chain.label][task] = "" if by else own.reasons[last[-1]]
            if defined:
                above[rows, task] = (chain.area - setting.floor)[:, defined].mean(axis=1)
            if by:
                mine[rows, task] = (chain.area - setting.floor)[:, by].mean(axis=1)
                below[rows, task] = (own.area - setting.floor)[:, by].mean(axis=1)
        missing += [f"{label}: no run of {name}, which other chains have" for label in sorted(set(labels) - there)]
    order = sorted(labels, key=lambda label: (labels[label], label != "none", label))
    incomparable = not all(setting.normalised for setting in settings) and any(setting.kind == "return" for setting in settings)
    together = ScoreMatrix(
        tasks=tuple(names),
        noun="tasks",
        of=tuple(name if len(set(setting.tasks)) == 1 else "" for name, setting in zip(names, settings, strict=True)),
        floor=np.array([setting.floor[0] if setting.normalised else 0.0 for setting in settings]),
        human=np.array([setting.span[0] if setting.normalised else 1.0 for setting in settings]),
        whole=False,
        scale=first.scale,
        bounded=True,
        no_scale=NO_SCALE if incomparable or len({setting.scale for setting in settings}) > 1 else "",
        rows=tuple(Row(label, labels[label], *made[label], no_kept=tuple(no_kept[label])) for label in order),
        no_performance=tuple(reasons),
        window=f"{first.spec.unit} of a member",
        span=int(first.edges[-1]),
    )
    missing += _unequal(together)
    return Suite(tuple(settings), field, together, tuple(missing))


def _unequal(together: ScoreMatrix) -> list[str]:
    """Tasks for which chains have different numbers of runs."""
    lines: list[str] = []
    for row in together.rows:
        runs = np.isfinite(row.score).sum(axis=0)
        few = [f"{task} ({number})" for task, number in zip(together.tasks, runs.tolist(), strict=True) if 0 < number < runs.max()]
        if few:
            shown = ", ".join(few[:6]) + (f" and {len(few) - 6} more" if len(few) > 6 else "")
            lines.append(f"{row.label}: fewer runs than the {count(int(runs.max()), 'run')} of other tasks: {shown}")
    return lines


def task_name(setting: Setting) -> str:
    """A common name for one setting's tasks."""
    names = list(dict.fromkeys(setting.tasks))
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def alone(keys: Sequence[str], suites: Sequence[tuple[str, tuple[str, ...]]]) -> list[str]:
    """Settings that are in no suite."""
    return [key for key in keys if not any(key in others for _, others in suites)]
