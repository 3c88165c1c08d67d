"""Figures of one setting. Each function returns a Figure, or None if there is nothing to draw.

Lines are means over members, bands and whiskers 95% t intervals over members, pointwise. The fresh control is always dark grey and dashed.
"""

import math
import textwrap
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from analysis.figures.style import CONTROL, FAINT, INK, NARROW, Look, band, canvas, legend, whisker
from analysis.scores.evaluations import Evaluations
from analysis.scores.own_metrics import as_metric, own_names
from analysis.scores.ratios import Control, own_control, plain_control, ratio
from analysis.scores.sequential import SequenceRow
from analysis.scores.setting import ChainScores, Setting
from analysis.scores.verdict import FIRST_AND_LAST, Verdict
from analysis.statistics.aggregates import stacked
from analysis.statistics.intervals import Estimate, column_means
from plasticity_rl.metrics.catalogue import METRICS

Looks = dict[str, Look]
MOST_VISITS = 40
"""maximum visits that are distinguishable on one axis"""
MOST_NUMBERS = 12
"""maximum numbers that fit side by side into half of the width"""
MOST_TASKS = 12
"""maximum tasks with a panel each"""


def scores_by_visit(setting: Setting, looks: Looks, narrow: bool = False) -> Figure | None:
    """(a) The area of each visit, for all chains; beside it (`narrow`: below it) the plasticity that each has kept, where it is defined."""
    if not any(np.isfinite(chain.area).any() for chain in setting.chains):
        return None
    ratios = _ratios(setting, lambda chain: own_control(setting, chain))
    panels = 1 + bool(ratios)
    figure, (axes, *beside) = canvas(3.0 * panels + 0.6, rows=panels, width=NARROW) if narrow else canvas(3.4, columns=panels)
    for chain in setting.compared:
        shown = setting.shown(chain.area)
        _line(axes, np.arange(shown.shape[1]), column_means(shown), looks[chain.label], markers=shown.shape[1] <= MOST_VISITS)
    _visit_axis(axes, setting)
    axes.set_ylabel(f"{setting.scale},\nmean over the visit")
    for panel in beside:
        _draw_ratios(panel, setting, ratios, looks)
        panel.set_ylabel("plasticity kept\n(its own control = 1)")
    legend(figure, _named(setting, looks))
    return figure


def learning_curves(setting: Setting, looks: Looks) -> Figure | None:
    """(b) The score within visits: a panel for each chain, with the fresh control behind it.

    The axis is the whole run. With too many visits to distinguish, the first and the last ones are shown side by side.
    """
    control = setting.control
    chains = setting.rivals or list(setting.chains)
    if not any(np.isfinite(chain.curve).any() for chain in setting.chains):
        return None
    visits, windows = list(range(len(setting.tasks))), chains[0].curve.shape[2]
    edges = setting.edges
    if many := len(visits) > MOST_VISITS:
        visits = visits[:FIRST_AND_LAST] + visits[-FIRST_AND_LAST:]
        edges = np.arange(len(visits) + 1)
    ends = np.concatenate([np.linspace(*pair, windows + 1)[1:] for pair in pairwise(edges)])
    figure, panels = canvas(0.9 + 1.35 * len(chains), rows=len(chains), sharex=True, sharey=True)
    for axes, chain in zip(panels, chains, strict=True):
        axes.grid(False, axis="x")
        for edge in edges.tolist():
            axes.axvline(edge, color=FAINT, linewidth=0.8, zorder=0)
        for drawn in (control, chain) if control not in (None, chain) else (chain,):
            assert drawn is not None
            curve = setting.shown(drawn.curve)[:, visits]
            _visits(axes, ends, column_means(curve.reshape(len(curve), -1)), looks[drawn.label], windows)
        axes.set_title(chain.label, fontsize=8.5)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlim(edges[0], edges[-1])
    if many:
        panels[-1].set_xticks(edges[:-1] + 0.5, [str(visit) for visit in visits])
        panels[-1].set_xlabel("visit: the first and the last ones")
    else:
        panels[-1].xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        panels[-1].set_xlabel(f"{setting.spec.unit} of a member; a line at each change of task")
    figure.supylabel(setting.scale, fontsize=9)
    return figure


def performance_by_visit(setting: Setting, looks: Looks) -> Figure | None:
    """(c) Performance at each visit, the ratio to the fresh control, and the line at 1."""
    control = plain_control(setting)
    ratios = _ratios(setting, lambda _: control)
    if not ratios:
        return None
    figure, (axes,) = canvas(3.2)
    _draw_ratios(axes, setting, ratios, looks)
    axes.set_ylabel("performance\n(fresh control = 1)")
    legend(figure, _named(setting, looks))
    return figure


def _ratios(setting: Setting, control: Callable[[ChainScores], Control]) -> dict[str, list[Estimate]]:
    """The ratio of each chain to a control at each visit; empty if none is defined."""
    visits = range(len(setting.tasks))
    found = {chain.label: [ratio(setting, chain, control(chain), [visit]) for visit in visits] for chain in setting.rivals}
    return found if any(each.defined for row in found.values() for each in row) else {}


def _draw_ratios(axes: Axes, setting: Setting, ratios: dict[str, list[Estimate]], looks: Looks) -> None:
    axes.axhline(1.0, color=CONTROL, linestyle=(0, (4, 2)), linewidth=1.4)
    for label, row in ratios.items():
        _line(axes, np.arange(len(row)), row, looks[label], markers=len(row) <= MOST_VISITS)
    _visit_axis(axes, setting)


def verdict(setting: Setting, rows: list[Verdict], looks: Looks) -> Figure | None:
    """(d) First against last visits, the interquartile mean over all visits, and both ratios at the end."""
    panels = [
        (f"{setting.scale}:\nfirst visits (hollow), last visits", [(row.first, row.last) for row in rows]),
        ("plasticity kept,\nlast visits", [(row.kept,) for row in rows]),
        ("performance,\nlast visits", [(row.performance,) for row in rows]),
    ]
    panels = [(title, column) for title, column in panels if any(found.defined for cell in column for found in cell)]
    if not panels:
        return None
    names = [textwrap.fill(row.label, 28) for row in rows]
    figure, drawn = canvas(1.1 + sum(0.34 + 0.14 * name.count("\n") for name in names), columns=len(panels), sharey=True)
    for axes, (title, column) in zip(drawn, panels, strict=True):
        for height, (row, cell) in enumerate(zip(rows, column, strict=True)):
            for number, found in enumerate(cell):
                offset = 0.14 * (1 - 2 * number) if len(cell) > 1 else 0.0
                whisker(axes, height - offset, found, looks[row.label], hollow=len(cell) > 1 and number == 0)
        if title.startswith(("plasticity", "performance")):
            axes.axvline(1.0, color=CONTROL, linestyle=(0, (4, 2)), linewidth=1.2, zorder=1)
        axes.set_title(title, fontsize=8.5)
        axes.grid(False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(5))
    drawn[0].set_yticks(range(len(rows)), names)
    drawn[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def retention_maps(setting: Setting, rows: Sequence[SequenceRow]) -> Figure | None:
    """(e) Retention of each task at the end of each later visit: a map per chain, blank where undefined."""
    maps = {row.label: row.retention for row in rows if row.retention is not None}
    if not any(found.defined for compared in maps.values() for found in compared.each):
        return None
    tasks, visits = list(dict.fromkeys(setting.tasks)), len(setting.tasks)
    columns = 2 if len(maps) > 1 and visits <= MOST_NUMBERS else 1
    height = 0.8 + math.ceil(len(maps) / columns) * (0.4 + 0.2 * len(tasks))
    figure, panels = canvas(height, rows=math.ceil(len(maps) / columns), columns=columns, sharex=True, sharey=True)
    for axes in panels[len(maps) :]:
        axes.set_axis_off()
    scale = ScalarMappable(Normalize(0, 1), "viridis")
    for number, (axes, (label, compared)) in enumerate(zip(panels, maps.items(), strict=False)):
        shares = np.full((len(tasks), visits), np.nan)
        for (task, visit), found in zip(compared.at, compared.each, strict=True):
            shares[tasks.index(task), visit] = found.value
            if found.defined and visits <= MOST_NUMBERS * 2 // columns:
                ink = "#000000" if found.value > 0.6 else "#ffffff"  # on the cell's colour, which is the same on dark pages
                axes.text(visit, tasks.index(task), f"{found.value:z.2f}", color=ink, fontsize=6.5, ha="center", va="center")
        axes.pcolormesh(np.arange(visits + 1) - 0.5, np.arange(len(tasks) + 1) - 0.5, shares, cmap="viridis", vmin=0, vmax=1)
        axes.plot(range(visits), [tasks.index(task) for task in setting.tasks], linestyle="", marker="o", markersize=3, color=INK)
        axes.set_title(label, fontsize=8.5)
        axes.grid(False)
        axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
        axes.tick_params(labelbottom=number + columns >= len(maps))
    panels[0].set_yticks(range(len(tasks)), tasks)
    panels[0].set_ylim(len(tasks) - 0.5, -0.5)
    figure.supxlabel("visit; a dot where the task itself is visited", fontsize=9)
    bar = figure.colorbar(scale, ax=panels, label="retention", extend="both", aspect=5 * height, pad=0.02)
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def evaluation_curves(setting: Setting, found: Evaluations | None, looks: Looks) -> Figure | None:
    """(f) The evaluation of each task over the run, a panel for each; shaded where the task itself is visited."""
    if found is None or not any(np.isfinite(score).any() for score in found.score.values()):
        return None
    tasks, columns = found.tasks[:MOST_TASKS], min(2, len(found.tasks))
    rows = math.ceil(len(tasks) / columns)
    figure, panels = canvas(1.0 + 1.35 * rows, rows=rows, columns=columns, sharex=True)
    frames = np.array([frames for _, frames in found.moments])
    for axes in panels[len(tasks) :]:
        axes.set_axis_off()
    for number, (axes, task) in enumerate(zip(panels, tasks, strict=False)):
        first = setting.tasks.index(task)
        for visit, (start, stop) in enumerate(pairwise(setting.edges.tolist())):
            if setting.tasks[visit] == task:
                axes.axvspan(start, stop, color=FAINT, alpha=0.5, linewidth=0, zorder=0)
        there = np.any([np.isfinite(score[:, :, number]).any(axis=0) for score in found.score.values()], axis=0)
        for label, score in found.score.items():
            shown = score[:, there, number]
            if setting.normalised:
                shown = (shown - setting.floor[first]) / setting.span[first]
            _line(axes, frames[there], column_means(shown), looks[label], markers=len(found.moments) <= MOST_VISITS)
        axes.set_title(task, fontsize=8.5)
        axes.grid(False, axis="x")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        if number + columns >= len(tasks):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(f"{setting.spec.unit} of a member; shaded: visits to the task")
    panels[0].set_xlim(0, 1.02 * setting.edges[-1])  # so that the last marker is whole
    if len(tasks) < len(found.tasks):
        figure.suptitle(f"The first {len(tasks)} of {len(found.tasks)} tasks", fontsize=9)
    figure.supylabel(f"{setting.scale}, evaluated", fontsize=9)
    legend(figure, _named(setting, looks))
    return figure


DOTTED = (0, (1, 1.4))
DIAGNOSTICS = tuple(metric for metric in METRICS.values() if metric.drawn)
JOINED = {"mean": "mean over layers", "norm": "all layers together"}


def diagnostics(setting: Setting, metrics: pd.DataFrame, looks: Looks) -> Figure | None:
    """(g) The suspected mechanisms over updates; dotted, an untrained network of the same chain on the same inputs."""
    metrics = metrics.loc[(metrics.setting == setting.spec.setting).to_numpy()]
    family = metrics.name.str.partition("/")[0].to_numpy() if len(metrics) else np.array([])
    panels = [metric for metric in DIAGNOSTICS if (family == metric.name).any()]
    panels += map(as_metric, own_names(np.unique(family).tolist()))
    if not panels:
        return None
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, drawn = canvas(0.8 + 1.9 * rows, rows=rows, columns=columns)
    for axes in drawn[len(panels) :]:
        axes.set_axis_off()
    for axes, metric in zip(drawn, panels, strict=False):
        name = metric.name
        for label, look in _named(setting, looks).items():
            here = (metrics.label == label).to_numpy()
            dotted = look._replace(linestyle=DOTTED)
            for suffix, drawing, width in (("", look, 1.5), ("_fresh", dotted, 1.0)):
                series = _over_layers(metrics.loc[here & (family == name + suffix)], metric.join)
                marker = "o" if len(series) == 1 else None  # a line of one point is invisible
                axes.plot(
                    series.index, series, marker=marker, color=drawing.color, linestyle=drawing.linestyle, linewidth=width, markersize=4
                )
        axes.set_title(f"{metric.title}, {JOINED[metric.join]}", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.tick_params(labelsize=7)
        if name == "effective_learning_rate" and (metrics.value[family == name] > 0).all():
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
        elif name != "effective_learning_rate" and (metrics.value[family == name] >= 0).all():
            axes.set_ylim(bottom=0)
    for axes in drawn[max(len(panels) - columns, 0) : len(panels)]:
        axes.set_xlabel("updates", fontsize=8)
    legend(figure, _named(setting, looks) | {"an untrained network": Look(INK, DOTTED, "")})
    return figure


def _over_layers(rows: pd.DataFrame, over: str) -> pd.Series:
    """Combine a metric of layers into one of the network, by mean or norm, then average over members at each update."""
    if over == "norm":
        rows = rows.assign(value=rows.value**2)
    network = rows.groupby(["run", "member", "updates"]).value
    joined = network.sum() ** 0.5 if over == "norm" else network.mean()
    return joined.groupby("updates").mean()


def _named(setting: Setting, looks: Looks) -> Looks:
    return {chain.label: looks[chain.label] for chain in setting.compared}


def _line(axes: Axes, x: np.ndarray, row: list[Estimate], look: Look, markers: bool) -> None:
    """A line with its band; for a single point, a marker with a whisker."""
    found = stacked(row)
    band(axes, x, found, look, look.marker if markers else "")
    value, low, high = found
    there = np.concatenate([[False], np.isfinite(value), [False]])
    alone = there[1:-1] & ~there[:-2] & ~there[2:]
    axes.vlines(x[alone], low[alone], high[alone], color=look.color)
    axes.plot(x[alone], value[alone], color=look.color, linestyle="", marker=look.marker)


def _visits(axes: Axes, x: np.ndarray, row: list[Estimate], look: Look, windows: int) -> None:
    """One line per visit, so that the jump between two tasks does not look like learning."""
    for start in range(0, len(x), windows):
        _line(axes, x[start : start + windows], row[start : start + windows], look, markers=windows == 1)


def _visit_axis(axes: Axes, setting: Setting) -> None:
    """Label the axis with task names if they fit, else with visit numbers."""
    tasks = setting.tasks
    axes.grid(False, axis="x")
    figure, place = axes.get_figure(), axes.get_subplotspec()
    inches = figure.get_figwidth() / (place.get_gridspec().ncols if place else 1)  # type: ignore[union-attr]
    if len(tasks) <= 12 and max(map(len, tasks)) * len(tasks) <= 13 * inches - 12:
        axes.set_xticks(range(len(tasks)), [f"{visit}\n{task}" for visit, task in enumerate(tasks)], color=INK)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.set_xlabel("visit")
    axes.set_xlim(-0.5, len(tasks) - 0.5)
