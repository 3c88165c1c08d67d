"""The page of mechanisms: per setting, a sentence and a table per chain, and every quantity over visits. Self-contained."""

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.data.comparable import told_apart
from analysis.data.load import Loaded, load
from analysis.figures.style import FigureFiles, Look, band, canvas, legend, looks, render, style
from analysis.format import chance, number, with_interval
from analysis.mechanisms.findings import (
    MECHANISMS,
    Course,
    Findings,
    Mechanism,
    advice,
    findings,
    first_visit,
    levels,
    mechanisms,
    over_members,
    reading,
)
from analysis.mechanisms.prediction import Predictor, prediction, predictors
from analysis.mechanisms.sensitivity import amount, dose, drawn_by_dose
from analysis.scores.setting import Setting, score, settings
from analysis.statistics.aggregates import stacked
from analysis.statistics.intervals import column_means
from plasticity_rl.checks import UsageError
from plasticity_rl.records.folder import refuse_file

METHOD = (
    "The quantity of a visit is the mean of its rows in metrics.csv in the visit, with layers averaged (weight norms: the norm of "
    "all). With d(v) = [q(v) - q(0)] - [c(v) - c(0)], q a member's quantity in visit v and c that of the fresh "
    "control's member with the same data, a quantity moved in the first visit v where the 95% t interval of the mean "
    "of d over members is on one side of 0 in two visits in a row. The score fell in the first visit in which it moved downwards, "
    "if it also ends lower: over the last visits its mean is below that over the first, and the mean of d below 0. "
    "Without a fresh control c is left out, and differences between tasks count as movement.",
    "Limits: the first quantity to move need not be a cause. Low-noise quantities are seen to move earlier than noisy ones. "
    "Changes within the first visit do not count, since both sides have them. A "
    "quantity may move without effect, such as a weight norm under normalisation; to test a mechanism, hold it fixed by an "
    "intervention and see whether the score still falls (docs/mechanisms.md). Intervals are not corrected for the number of "
    "quantities.",
)


class Row(NamedTuple):
    cells: tuple[str, ...]
    before: bool
    """True if it moved before the score fell"""


class Table(NamedTuple):
    label: str
    headings: tuple[str, ...]
    rows: tuple[Row, ...]


class Part(NamedTuple):
    """One setting."""

    name: str
    readings: tuple[str, ...]
    tables: tuple[Table, ...]
    figure: FigureFiles
    missing: tuple[str, ...]


def write_page(folders: Sequence[Path], out: Path, predict: bool = False) -> tuple[Path, list[Part]]:
    """Read all runs at or below `folders`; write mechanisms.html and its figures into `out`, and return their content. `predict` adds to
    each setting which quantities predict the next visit's score.

    Raises UsageError for runs that cannot be loaded together (load.py), if no run has diagnostics, and if `out` is not writable.
    """
    loaded = load([Path(folder) for folder in folders])
    refuse_file(out, "page")
    keys = [key for key in settings(loaded) if (loaded.metrics.setting == key).any()]
    if not keys:
        where = ", ".join(map(str, folders))
        hint = advice(loaded.runs[0].spec, first_visit(loaded.of(loaded.runs[0])), MECHANISMS[:1])
        raise UsageError(f"no run in {where} has diagnostics: metrics.csv is empty{hint}")
    specs = [next(run.spec for run in loaded.runs if run.spec.setting == key) for key in keys]
    if field := dose(specs):
        specs.sort(key=lambda spec: amount(spec, field))
    control = next((run.spec.label for run in loaded.runs if run.spec.control_of == "none"), None)
    drawn = looks((run.spec.label for run in loaded.runs if run.spec.control_of in ("", "none")), control)
    scored = [score(loaded, spec.setting) for spec in specs]
    named = enumerate(zip(scored, told_apart(specs), strict=True), start=1)
    parts = [_part(loaded, setting, drawn, index, name, predict) for index, (setting, name) in named]
    across = [_across(loaded, scored, field, drawn)] if field else []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for made in (*across, *(part.figure for part in parts)):
            for name, content in made.files.items():
                (out / name).write_bytes(content)
        page = out / "mechanisms.html"
        page.write_text(_page(parts, across), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror}") from error
    return page, parts


def _across(loaded: Loaded, settings: Sequence[Setting], field: str, drawn: dict[str, Look]) -> FigureFiles:
    """Compare settings that differ in one number of the benchmark."""
    with style():
        made = drawn_by_dose(loaded, settings, field, drawn)
        return render(f"by-{field}", f"Final loss and score of the visits after the first by {field}, for each chain", made)


def _part(loaded: Loaded, setting: Setting, drawn: dict[str, Look], index: int, name: str, predict: bool) -> Part:
    found = findings(loaded, setting)
    missing = loaded.lacking(setting.spec.setting) + list(setting.missing)
    lacking: dict[tuple[Mechanism, ...], list[str]] = {}
    for each in found:
        lacking.setdefault(each.missing, []).append(each.chain.label)
    updates = first_visit(loaded.scores.loc[(loaded.scores.setting == setting.spec.setting).to_numpy()])
    for unseen, labels in lacking.items():
        titles, hint = ", ".join(mechanism.title for mechanism in unseen), advice(setting.spec, updates, unseen)
        missing += [f"not reported in the first visit by {', '.join(labels)}: {titles}{hint}"] if unseen else []
    if not found:
        missing.append("no chain but the fresh control")
    with style():
        alt = "Score and mechanisms at each visit, for each chain"
        made = render(f"{index}-mechanisms", alt, _figure(loaded, setting, found, drawn))
    readings = [reading(each, setting) for each in found]
    tables = [_table(each) for each in found]
    if predict:
        race = predictors(loaded, setting)
        readings.append(prediction(race))
        tables += [_race(race)] if race else []
    return Part(name, tuple(readings), tuple(tables), made, tuple(missing))


def _race(race: Sequence[Predictor]) -> Table:
    """A row for each quantity, the best predictor within chains first; marked are those that no trivial predictor is."""
    headings = ("quantity at the end of a visit", "within chains", "p, corrected", "pooled", "p, corrected", "points")
    rows = [
        Row(
            (
                each.title,
                with_interval(each.within),
                chance(each.within_p),
                with_interval(each.pooled),
                chance(each.pooled_p),
                f"{each.points:,}",
            ),
            not each.trivial and each.within_p <= 0.05,
        )
        for each in race
    ]
    return Table("What predicts the next visit's score (Spearman's rho, 95% t intervals over members)", headings, tuple(rows))


def _table(found: Findings) -> Table:
    """Means over members in the first visit, the visit before the score fell, and the last; untrained networks' values; the visit of
    movement."""
    at = {"visit 0": 0}
    if found.fell is not None and found.fell > 1:
        at[f"visit {found.fell - 1}"] = found.fell - 1
    visits = found.chain.area.shape[1]
    at[f"visit {visits - 1}"] = visits - 1
    headings = ("quantity", *at, "untrained", "fresh control", "moved")
    before = set(map(id, found.before))
    rows = [Row((f"score{_fell(found)}", *(_mean(found.chain.area[:, visit]) for visit in at.values()), "", "", ""), False)]
    for course in found.courses:
        control = "" if course.control is None else _mean(course.control[:, -1])
        cells = [_mean(course.values[:, visit]) for visit in at.values()]
        untrained = _mean(course.untrained[:, -1]) if np.isfinite(course.untrained).any() else ""
        rows.append(Row((course.mechanism.title, *cells, untrained, control, _when(course)), id(course) in before))
    return Table(found.chain.label, headings, tuple(rows))


def _fell(found: Findings) -> str:
    return "" if found.fell is None else f" (fell in visit {found.fell})"


def _when(course: Course) -> str:
    return "no" if course.moved is None else f"visit {course.moved}, {'up' if course.rose else 'down'}"


def _mean(column: np.ndarray) -> str:
    return number(float(over_members(column[:, None])[0]))


def _figure(loaded: Loaded, setting: Setting, found: list[Findings], drawn: dict[str, Look]) -> Figure:
    """A panel for the score and for each quantity that any chain reports; vertical lines mark where a chain's score fell."""
    metrics = loaded.metrics.loc[(loaded.metrics.setting == setting.spec.setting).to_numpy()]
    reported = {course.mechanism for each in found for course in each.courses}
    shown = [mechanism for mechanism in mechanisms(metrics) if mechanism in reported]
    rows = math.ceil((1 + len(shown)) / 3)
    figure, panels = canvas(0.9 + 1.7 * rows, rows=rows, columns=3, sharex=True)
    for axes in panels[1 + len(shown) :]:
        axes.set_axis_off()
    for chain in setting.compared:
        _course(panels[0], setting.shown(chain.area), drawn[chain.label])
        for axes, mechanism in zip(panels[1:], shown, strict=False):
            values, untrained = (
                levels(metrics, setting, chain.label, name, mechanism.over) for name in (mechanism.name, mechanism.untrained)
            )
            _course(axes, values, drawn[chain.label])
            axes.plot(over_members(untrained), color=drawn[chain.label].color, linestyle=(0, (1, 1.4)), linewidth=1.0)
    for axes, title in zip(panels, [setting.scale, *(mechanism.title for mechanism in shown)], strict=False):
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        for each in found:
            if each.fell is not None:
                axes.axvline(each.fell, color=drawn[each.chain.label].color, linewidth=0.9, alpha=0.6)
    for axes in panels[max(len(shown) - 2, 0) : 1 + len(shown)]:
        axes.set_xlabel("visit", fontsize=8)
        axes.tick_params(labelbottom=True)
    legend(figure, {chain.label: drawn[chain.label] for chain in setting.compared})
    return figure


def _course(axes: Axes, values: np.ndarray, look: Look) -> None:
    """The mean over members with its interval."""
    visits = np.arange(values.shape[1])
    band(axes, visits, stacked(column_means(values)), look, look.marker if len(visits) < 3 else "")


def _page(parts: Sequence[Part], across: Sequence[FigureFiles]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["inline"] = lambda svg: "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    return environment.get_template("mechanisms.html").render(parts=parts, across=across, method=METHOD)
