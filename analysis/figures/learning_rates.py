"""The sensitivity figure: score against learning rate, over the whole life and over its first tenth."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from analysis.figures.style import Look, band, canvas, legend
from analysis.scores.learning_rates import RateCurve
from analysis.statistics.aggregates import stacked

PANELS = {"lifetime": "whole life", "10%": "first tenth of it"}


def sensitivity(curves: Sequence[RateCurve], looks: Mapping[str, Look], scale: str) -> Figure:
    """A line for each chain with 95% intervals over members; a ring at the rate that each rule chooses."""
    figure, panels = canvas(3.2 + 0.17 * len(curves) / 3, columns=len(PANELS), sharey=True)
    ticks = sorted({rate for curve in curves for rate in curve.rates})
    for axes, (rule, title) in zip(panels, PANELS.items(), strict=True):
        for curve in curves:
            found = stacked([point.score(rule) for point in curve.points])
            band(axes, np.array(curve.rates), found, looks[curve.label], looks[curve.label].marker)
            if (best := curve.best(rule)) is not None:
                color = looks[curve.label].color
                axes.plot(best.rate, best.score(rule).value, "o", markersize=9, markerfacecolor="none", color=color)
        axes.set_xscale("log")
        axes.set_xticks(ticks, labels=[""] * len(ticks))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(title)
        axes.set_xlabel("learning rate")
    panels[0].set_ylabel(scale)
    legend(figure, {curve.label: looks[curve.label] for curve in curves})
    return figure
