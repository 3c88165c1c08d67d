"""Figures of a score matrix, as recommended by Agarwal et al. 2021 (arXiv 2108.13264). Each states the normalisation of its scores.

Each function returns a Figure, or None if there is nothing to draw. Bands and whiskers are 95% intervals, pointwise, as in the tables.
"""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from analysis.figures.style import CONTROL, Look, band, canvas, legend, whisker
from analysis.scores.matrix import ScoreMatrix
from analysis.statistics.intervals import Estimate

Looks = dict[str, Look]
TITLES = {"iqm": "IQM", "median": "median", "mean": "mean", "optimality_gap": "optimality gap\n(lower is better)"}


def aggregates(matrix: ScoreMatrix, looks: Looks) -> Figure | None:
    """(m) Aggregates over tasks: a row of scores, one of plasticity kept, one of performance."""
    rows = [(matrix.scale, {label: found for label, found in matrix.scores.items() if any(each.defined for each in found.values())})]
    for name, ratios in (("plasticity kept", matrix.kept), ("performance", matrix.performance)):
        rows.append((name, {label: found for label, found in ratios.items() if found["iqm"].defined}))
    rows = [(name, found) for name, found in rows if found]
    if not rows:
        return None
    columns = len(TITLES) if matrix.bounded or len(rows) > 1 else len(TITLES) - 1
    heights = [0.75 + _height(list(found)) for _, found in rows]
    figure, drawn = canvas(sum(heights), rows=len(rows), columns=columns, height_ratios=heights)
    for number, (name, found) in enumerate(rows):
        panels = drawn[number * columns : (number + 1) * columns]
        for axes, (metric, title) in zip(panels, TITLES.items(), strict=False):
            column = {label: each[metric] for label, each in found.items() if metric in each}
            if not column:
                axes.set_axis_off()
                continue
            _whiskers(axes, column, looks, labels=axes is panels[0])
            axes.set_title(title, fontsize=8.5)
            if name != matrix.scale:
                axes.axvline(0.0 if metric == "optimality_gap" else 1.0, color=CONTROL, linestyle=(0, (4, 2)), linewidth=1.2, zorder=1)
        panels[0].set_xlabel(name, loc="left")
    return figure


def profiles(matrix: ScoreMatrix, looks: Looks) -> Figure | None:
    """(p) The share of scores above each level."""
    if not matrix.profiles:
        return None
    figure, (axes,) = canvas(3.2)
    for label, found in matrix.profiles.items():
        band(axes, matrix.levels, found, looks[label])
    axes.set_xlabel(f"{matrix.scale} t")
    axes.set_ylabel(f"share of {'members and visits' if matrix.whole else 'runs and tasks'}\nthat score more than t")
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    legend(figure, {label: looks[label] for label in matrix.profiles})
    return figure


def efficiency(matrix: ScoreMatrix, looks: Looks) -> Figure | None:
    """(s) Interquartile mean over all tasks against the budget spent."""
    if not matrix.efficiency:
        return None
    figure, (axes,) = canvas(3.2)
    for label, found in matrix.efficiency.items():
        ends = np.linspace(0, matrix.span, len(found.value) + 1)[1:]
        band(axes, ends, found, looks[label])
    axes.set_xlim(0, matrix.span)
    axes.set_xlabel(matrix.window)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if matrix.span > 1 else f"{value:.0%}")
    axes.set_ylabel(f"IQM over {matrix.noun},\n{matrix.scale}")
    legend(figure, {label: looks[label] for label in matrix.efficiency})
    return figure


def improvement(matrix: ScoreMatrix, looks: Looks) -> Figure | None:
    """(i) Probability that a run of a chain scores above one without intervention, and above one of the fresh control."""
    sides = {reference: {label: each for label, each in found.items() if each.defined} for reference, found in matrix.improvement.items()}
    sides = {reference: found for reference, found in sides.items() if found}
    if not sides:
        return None
    longest = max(map(list, sides.values()), key=len)
    figure, drawn = canvas(0.8 + _height(longest), columns=len(sides))
    for axes, (reference, found) in zip(drawn, sides.items(), strict=True):
        _whiskers(axes, found, looks, labels=True)
        axes.axvline(0.5, color=CONTROL, linestyle=(0, (4, 2)), linewidth=1.2, zorder=1)
        axes.set_xlim(-0.04, 1.04)
        axes.set_xticks([0.0, 0.25, 0.5, 0.75, 1.0])
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_title(f"P(chain > {reference}), {matrix.scale}", fontsize=8.5)
    return figure


def _height(labels: list[str]) -> float:
    return sum(0.27 + 0.14 * textwrap.fill(label, 24).count("\n") for label in labels)


def _whiskers(axes: Axes, column: dict[str, Estimate], looks: Looks, labels: bool) -> None:
    """One interval per chain, the first on top."""
    for height, (label, found) in enumerate(column.items()):
        whisker(axes, height, found, looks[label])
    axes.set_yticks(range(len(column)), [textwrap.fill(label, 24) for label in column] if labels else [""] * len(column))
    axes.set_ylim(len(column) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(3))
