"""One section of a report: everything that is said of one setting."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis import figures
from analysis.consistency import count, numbers
from analysis.drawing import Look, Picture, picture, style
from analysis.evaluations import Evaluations, evaluations
from analysis.load import Loaded
from analysis.scores import WINDOWS, Setting, score
from analysis.sequential import MEASURES, SequenceRow, sequence_rows, undefined
from analysis.statistics import LEVEL, REPETITIONS
from analysis.verdict import ENOUGH_MEMBERS, Verdict, first_and_last, reading, verdicts

ENOUGH_FRAMES = 1_000_000
"""of a visit to a game, below which nothing should be concluded"""


@dataclass(frozen=True)
class Section:
    """What the page, the CSV files and the terminal show of one setting."""

    name: str
    setting: Setting
    rows: tuple[Verdict, ...]
    sequence: tuple[SequenceRow, ...]
    """what became of tasks that were left or met again; empty where the setting is no such sequence of games"""
    evaluations: Evaluations | None
    """of such a sequence"""
    reading: str
    banner: str
    """a warning above everything else; empty where there is none"""
    missing: tuple[str, ...]

    @property
    def spans(self) -> tuple[str, str]:
        """The first and the last visits that are compared: `0-2`, `17-19`."""
        first, last = (f"{visits[0]}-{visits[-1]}" if len(visits) > 1 else str(visits[0]) for visits in first_and_last(self.setting))
        return first, last


def section(loaded: Loaded, key: str, alone: bool) -> Section:
    """Score one setting and say what came out. `alone`: no other setting of the report has its benchmark."""
    setting = score(loaded, key)
    rows = tuple(verdicts(setting))
    evaluated = evaluations(loaded, setting)
    sequence = sequence_rows(setting, evaluated)
    banner, says = _banner(setting), reading(setting, list(rows))
    missing = [line.what for line in loaded.missing if line.setting == key] + list(setting.missing)
    if setting.control is not None:
        for reason in sorted(set(setting.no_ratio) - {""}):
            visits = [visit for visit, found in enumerate(setting.no_ratio) if found == reason]
            missing.append(f"no plasticity ratio at {numbers('visit', visits)}: {reason}")
    for row in rows:
        if row.last.note.startswith("no interval"):
            missing.append(f"{row.label}: {row.last.note}")
    missing += [*(evaluated.missing if evaluated and sequence else ()), *undefined(sequence)]
    return Section(
        name=setting.spec.benchmark if alone else f"{setting.spec.benchmark} ({key[:8]})",
        setting=setting,
        rows=rows,
        sequence=sequence,
        evaluations=evaluated if sequence else None,
        reading=f"As far as so small a budget tells, {says[0].lower()}{says[1:]}" if banner else says,
        banner=banner,
        missing=tuple(missing),
    )


def _banner(setting: Setting) -> str:
    budget = min(visit["budget"] for visit in setting.spec.visits)
    if setting.spec.unit != "frames" or not np.isfinite(setting.span).any() or budget >= ENOUGH_FRAMES:
        return ""
    return (
        f"Budget too small for conclusions: {budget:,} frames a visit, where agents need many millions to learn these games. "
        "This report shows that the path works; its numbers say nothing about plasticity."
    )


def scale(section: Section) -> str:
    """What the numbers of the table are."""
    setting = section.setting
    if setting.kind != "return":
        unit = f"{setting.kind.capitalize()} {setting.quantity}"
    else:
        unit = "Human-normalised returns" if setting.normalised else "Returns"
    return f"{unit}, means over visits and members with {LEVEL:.0%} intervals."


def sequence_scale(section: Section) -> str:
    """How the numbers of the sequence's table are read."""
    told = {
        "retention": "Retention: 1 keeps a task that was left, 0 is back at the random score.",
        "relearning_time": "Re-learning time: below 1 is faster than in the visit before.",
        "later_over_first": "Later over first visits: below 1 is worse than when the task was met first.",
    }
    return " ".join(told[name] for name in section.sequence[0].measures)


def draw(section: Section, loaded: Loaded, looks: dict[str, Look], number: int) -> list[Picture]:
    """The section's figures; those without data are left out."""
    setting = section.setting
    slug = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in setting.spec.benchmark)[:40]
    with style():
        made = {
            ("scores", "Score at each visit, for each chain"): figures.scores_by_visit(setting, looks),
            ("ratio", "Plasticity ratio at each visit, for each chain"): figures.plasticity_by_visit(setting, looks),
            ("aggregates", "Aggregates of each chain with 95% intervals"): figures.aggregates(setting, list(section.rows), looks),
            ("curves", "Learning curves of each chain beside the fresh control"): figures.learning_curves(setting, looks),
            ("retention", "Retention of each task after it was left, for each chain"): figures.retention_maps(setting, section.sequence),
            ("evaluations", "Evaluation of each task over the run, for each chain"): figures.evaluation_curves(
                setting, section.evaluations, looks
            ),
            ("diagnostics", "Dormant units, weight norm and effective learning rate"): figures.diagnostics(setting, loaded.metrics, looks),
        }
        return [picture(f"{number}-{slug}-{name}.png", alt, figure) for (name, alt), figure in made.items() if figure is not None]


def methods(section: Section) -> list[tuple[str, str]]:
    """What was run and how the numbers came about, as (heading, text)."""
    setting, spec = section.setting, section.setting.spec
    budgets = sorted({visit["budget"] for visit in spec.visits})
    seeds = sorted({run.spec.seed for run in setting.runs})
    lines = [
        (
            "Visits",
            f"{len(spec.visits)}, each of {' or '.join(f'{budget:,}' for budget in budgets)} {spec.unit} of a member; counted from 0",
        ),
        ("Members", f"{len(setting.pairs)} independent networks of each chain, from {count(len(seeds), 'seed')} ({_some(seeds)})"),
        ("Score", _score_method(setting)),
        ("Plasticity ratio", _ratio_method(setting)),
        *_sequence_methods(section),
        (
            "Intervals",
            f"{LEVEL:.0%} percentile bootstrap with {REPETITIONS:,} resamples of whole members: a member is one network, so its visits are "
            "resampled together, and chains that are compared are resampled with the same members. With few members such intervals are too "
            "narrow: 95% by name is about 84% with five members and 89% with ten. One member has no interval.",
        ),
        (
            "Best",
            "Marked where a chain's mean over the last visits beats that of every other chain but the fresh control, each by a paired "
            f"interval above 0, on at least {ENOUGH_MEMBERS} members. The intervals are not corrected for the number of comparisons.",
        ),
    ]
    lines += [(name, _part(value)) for name, value in spec.experiment.items() if name not in ("chain", "seed", "members")]
    chains = {run.spec.label: run.spec.experiment.get("chain", []) for run in setting.runs}
    lines += [(f"chain: {label}", "; ".join(map(_part, chain)) or "no intervention") for label, chain in sorted(chains.items())]
    return lines + _contexts(setting)


def _score_method(setting: Setting) -> str:
    told = "" if setting.quantity == "accuracy" else " Explained variance is 1 - squared error / variance, or 0 where that is negative."
    if setting.kind == "test":
        return f"The {setting.quantity} on examples that were held out, after the last update of the visit.{told}"
    if setting.kind == "online":
        return (
            f"Area under the visit's curve: the mean of the online {setting.quantity} over all updates of the visit. "
            f"It is measured on each batch before it is learned from.{told}"
        )
    scale = ", shown as the fraction of the way from the random to the human score" if setting.normalised else ""
    return (
        f"Area under the visit's curve{scale}: a visit's frames are cut into {WINDOWS} equal windows, a window's score is the mean "
        "undiscounted return of the episodes that ended in it, and the area is the mean of the windows. A window in which no episode ended "
        "carries the one before it forward; windows before the first finished episode are missing. Episodes that the end of a visit or a "
        "checkpoint cut are not scored. Percentages of the first visits are measured from the random score, where it is known."
    )


def _ratio_method(setting: Setting) -> str:
    floor = " Both are measured from the random score, where it is known." if setting.kind == "return" else ""
    return (
        "Area of a chain divided by the area of the fresh control (network, optimizer and replay start over at every visit) at the same "
        f"visit and budget, on the same seeds and members; over several visits, the mean of their ratios.{floor} The control carries no "
        "other intervention, so a chain that makes every task easier to learn can stand above 1 and still lose plasticity: read the ratio "
        "beside the last visits over the first. It is defined only where "
        "the interval of the fresh control's own area excludes the floor, that is, where it learned something in this budget."
    )


def _sequence_methods(section: Section) -> list[tuple[str, str]]:
    """What stands behind each column of the sequence's table."""
    told = {
        "retention": "A task's evaluation at the end of a later visit over that at the end of its own latest visit, as means over members "
        "measured from the random score, where it is known: 1 keeps everything, 0 plays as if nothing had been learned. The mean is over "
        "all pairs of a task and a later visit before the task is met again. A pair is left out unless the interval of the task's own "
        "evaluation lies above the random score.",
        "relearning_time": "Frames until a member's training curve first reaches the level that the same member had in the last window of "
        "its visit before to the task, over the frames that it took to first reach it there, as means over members, in whole windows; the "
        "mean over all visits to tasks met before. Below 1 is faster. A member that never reaches it is counted and enters with the whole "
        "budget: the means are restricted ones, and where many do not reach it the ratio is a lower bound, at most the budget over the "
        "earlier time. A level is high partly by chance, so read it beside the fresh control's, which starts over and neither gains nor "
        "loses. A visit is left out unless its level's interval lies above the random score.",
        "later_over_first": "Area of a visit to a task met before over that of the task's first visit, as means over members measured from "
        "the random score, where it is known; the mean over all such visits. A visit is left out unless the interval of the first visit's "
        "area lies above the random score.",
    }
    evaluation = "Undiscounted return of whole episodes that are played without exploration and without learning; no part of any curve."
    measures = section.sequence[0].measures if section.sequence else {}
    return [("Evaluation", evaluation)] * bool(section.evaluations) + [(MEASURES[name], told[name]) for name in measures]


def _some(values: list[Any]) -> str:
    return ", ".join(map(str, values[:8])) + (f" and {len(values) - 8} more" if len(values) > 8 else "")


def _part(value: Any) -> str:
    """A part of an experiment, `["redo.ReDo", {"tau": 0.1}]`, as `redo.ReDo(tau=0.1)`; anything else as it is."""
    match value:
        case [str(name), dict(fields)]:
            return f"{name}({', '.join(f'{key}={field}' for key, field in fields.items())})"
        case _:
            return str(value)


def _contexts(setting: Setting) -> list[tuple[str, str]]:
    """What the runs ran on, from context.json; where they differ, all that was found."""
    found: dict[str, list[str]] = {}
    for run in setting.runs:
        for name, value in _flat(run.context):
            if value not in found.setdefault(name, []):
                found[name].append(value)
    return [(name, " | ".join(values[:4]) + (" | ..." if len(values) > 4 else "")) for name, values in found.items()]


def _flat(value: dict[str, Any], above: str = "") -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for name, inner in value.items():
        lines += _flat(inner, f"{above}{name}.") if isinstance(inner, dict) else [(above + name, str(inner))]
    return lines
