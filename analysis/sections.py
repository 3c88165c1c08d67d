"""One section of a report: everything that is said of one setting."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis import figures
from analysis.consistency import count, numbers
from analysis.drawing import Look, Picture, picture, style
from analysis.load import Loaded
from analysis.scores import WINDOWS, Setting, score
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
    banner, says = _banner(setting), reading(setting, list(rows))
    missing = [line.what for line in loaded.missing if line.setting == key] + list(setting.missing)
    if setting.control is not None:
        for reason in sorted(set(setting.no_ratio) - {""}):
            visits = [visit for visit, found in enumerate(setting.no_ratio) if found == reason]
            missing.append(f"no plasticity ratio at {numbers('visit', visits)}: {reason}")
    for row in rows:
        if row.last.note.startswith("no interval"):
            missing.append(f"{row.label}: {row.last.note}")
    return Section(
        name=setting.spec.benchmark if alone else f"{setting.spec.benchmark} ({key[:8]})",
        setting=setting,
        rows=rows,
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
    unit = {"online": "Online accuracy", "return": "Human-normalised returns" if section.setting.normalised else "Returns"}
    return f"{unit[section.setting.kind]}, means over visits and members with {LEVEL:.0%} intervals."


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
    if setting.kind == "online":
        return (
            "Area under the visit's curve: the mean of the online accuracy over all updates of the visit. "
            "Accuracy is measured on each batch before it is learned from."
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
