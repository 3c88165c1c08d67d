"""The figure of one claim: a column per panel of arms, a row per quantity, over visits."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from analysis.claims.results import Result
from analysis.figures.learning_rates import sensitivity
from analysis.figures.style import FigureFiles, Look, band, canvas, legend, looks, render, style
from analysis.scores.learning_rates import RateCurve
from analysis.statistics.aggregates import stacked
from analysis.statistics.intervals import column_means

FRESH = "fresh control"
FEW = 3
"""maximum visits that are drawn as ten points each, not one"""
LABELS = {
    "score": "score",
    "dead_fraction": "dead units",
    "weight_norm": "length of\nhidden weights",
    "effective_learning_rate": "||dW|| / ||W||",
    "rate_over_norm": "rate / ||W||",
}


def figure(
    number: int, arms: Mapping[str, tuple[str, str]], results: Mapping[str, Result], shows: Sequence[str], score: str
) -> FigureFiles:
    """`arms`: key -> panel and name. `score`: the label of the score axis. Bands are 95% intervals over members."""
    panels = list(dict.fromkeys(panel for panel, _ in arms.values()))
    names = list(dict.fromkeys(name for _, name in arms.values()))
    look = looks(names, FRESH if FRESH in names else None)
    look = {name: look[name] for name in names}
    most = max(result.curve.shape[1] for result in results.values())
    with style():
        height = 0.75 + 2.3 * len(shows) + 0.17 * len(names)
        drawn, axes = canvas(height, rows=len(shows), columns=len(panels), sharex=True, sharey="row")
        for row, shown in enumerate(shows):
            for column, panel in enumerate(panels):
                here = axes[row * len(panels) + column]
                for key, (of, name) in arms.items():
                    if of == panel:
                        _line(here, *_series(results[key], shown, most), look[name])
                here.grid(False, axis="x")
                here.yaxis.set_major_locator(MaxNLocator(5))
                if row == 0 and panel:
                    here.set_title(panel, fontsize=9)
                if column == 0:
                    here.set_ylabel(score if shown == "score" else LABELS[shown])
                if row == len(shows) - 1:
                    _axis(here, most, max(result.updates for result in results.values()))
        legend(drawn, look)
        return render(f"claim{number}", f"Claim {number}: {', '.join(shows)} by visit for {', '.join(names)}", drawn)


def sensitivity_figures(number: int, curves: Mapping[str, Sequence[RateCurve]], score: str) -> list[FigureFiles]:
    """Score against learning rate in the selection runs, a figure for each panel: key -> arms."""
    names = list(dict.fromkeys(curve.label for some in curves.values() for curve in some))
    look, made = looks(names, FRESH if FRESH in names else None), []
    with style():
        for place, (panel, some) in enumerate(curves.items()):
            alt = f"Claim {number}: {score} against learning rate{f', {panel}' if panel else ''}, selection members"
            made.append(render(f"claim{number}-rates{place or ''}", alt, sensitivity(some, look, score)))
    return made


def _series(result: Result, shown: str, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions on the axis, and values (members, points): one per visit or, if no arm has more than a few visits, over updates.

    `most`: visits of the longest arm. One with fewer, as a fresh control whose tasks are alike, is drawn at its mean.
    """
    members, visits, windows = result.curve.shape
    if most > FEW:
        values = result.area if shown == "score" else result.measures[shown]
        return np.arange(most), values if visits == most else np.repeat(values.mean(axis=1, keepdims=True), most, axis=1)
    if shown == "score":
        return np.arange(1, visits * windows + 1) * result.updates / (visits * windows), result.curve.reshape(members, -1)
    return result.series[shown]


def _axis(axes: Axes, most: int, updates: int) -> None:
    if most > FEW:
        axes.xaxis.set_major_locator(MaxNLocator(11, integer=True))
        axes.set_xlabel("visit")
    else:
        axes.set_xlim(0, updates)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_xlabel("updates")


def _line(axes: Axes, x: np.ndarray, values: np.ndarray, look: Look) -> None:
    band(axes, x, stacked(column_means(values)), look)
