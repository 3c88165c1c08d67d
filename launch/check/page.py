"""The page of `check --html`: verdicts, learning curves beside twins, numbers by layer, and curves over checkpoints. Self-contained."""

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from analysis.figures.style import COLOURS, CONTROL, NONE, FigureFiles, Look, canvas, looks, render, style
from plasticity_rl.checkup.measures import MEASURES, Compared
from plasticity_rl.checkup.ratio import LEVEL, t_quantile
from plasticity_rl.checkup.text import number
from plasticity_rl.margins import EXPLORES, FITS

if TYPE_CHECKING:
    from launch.check.command import Row
    from plasticity_rl.checkup.examine import Checkup

TWINS = "twins"
SHARES = ("dormant_fraction", "dead_fraction", "saturated_fraction", "gradient_dormant_fraction", "preactivation_bias")
"""measures drawn as they are; others are drawn over the twins' mean"""
METHOD = (
    "Copies of each network, and newly initialised twins of its architecture, learned random functions: outputs of another new network, "
    "at the scale of the learner's own and up to a constant, by Adam in batches of 32. The ratio is the share of variance that copies have "
    "learned in the last tenth of the updates over the twins', paired, with a 95% t interval over pairs. Where all of it lies above "
    f"{FITS:g} a network fits as well as fresh, below it cannot fit. A policy does not explore if its entropy is below {EXPLORES:g} of its "
    "twins'.",
    "Limits: a network that learns random functions may fail for other reasons, and the twins' initial scale is that which the notes name. "
    "Numbers by layer are descriptions: they name what is unlike a new network, not what is to blame.",
)


class Line(NamedTuple):
    """A row of the numbers."""

    layer: str
    measure: str
    cells: tuple[tuple[str, bool], ...]
    """each checkpoint's number, and whether it stands out"""
    twins: tuple[str, str]
    """their mean and range"""


class Part(NamedTuple):
    """One network in all checkpoints."""

    name: str
    checkups: tuple[tuple[str, "Checkup"], ...]
    figures: tuple[FigureFiles, ...]
    headings: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def page(rows: Sequence["Row"]) -> str:
    """The page of some networks."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["inline"] = lambda svg: "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    return environment.get_template("check.html").render(parts=[_part(row) for row in rows], method=METHOD)


def _part(row: "Row") -> Part:
    drawn = looks(row.labels, None)
    drawn[TWINS] = Look(CONTROL, (0, (4, 2)), "o")
    with style():
        figures = [render(f"{row.name}-ratio", f"Trainability ratio of {row.name}, with its 95% interval", _ratios(row, drawn))]
        if len(row.labels) <= 2:
            alt = f"Share that copies of {row.name} and twins have learned over the updates, and numbers by layer over the twins'"
            figures.append(render(f"{row.name}-learning", alt, _learning(row, drawn)))
    first = row.checkups[0]
    lines = [
        Line(
            measure.layer or "whole network",
            MEASURES[measure.name].title,
            _cells(row, measure),
            (number(measure.fresh), _range(measure)),
        )
        for measure in first.measures
    ]
    headings = ("layer", "", *row.labels, "twins", "twins' range")
    notes = dict.fromkeys(note for each in row.checkups for note in each.notes)
    return Part(row.name, tuple(zip(row.labels, row.checkups, strict=True)), tuple(figures), headings, tuple(lines), tuple(notes))


def _cells(row: "Row", measure: Compared) -> tuple[tuple[str, bool], ...]:
    found = [next((each for each in of.measures if (each.name, each.layer) == (measure.name, measure.layer)), None) for of in row.checkups]
    return tuple(("", False) if each is None else (number(each.own), each.stands_out) for each in found)


def _range(measure: Compared) -> str:
    return f"{number(min(measure.twins))} to {number(max(measure.twins))}"


def _ratios(row: "Row", drawn: dict[str, Look]) -> Figure:
    """The ratio in each checkpoint: points from top to bottom for two, a curve for more."""
    values = [each.trainability.final for each in row.checkups]
    if len(values) <= 2:
        figure, panels = canvas(0.9 + 0.35 * len(values))
        axes = panels[0]
        for height, (label, ratio) in enumerate(zip(row.labels, values, strict=True)):
            axes.errorbar(
                ratio.value, height, xerr=_reach(ratio.value, ratio.low, ratio.high), fmt="o", color=drawn[label].color, linewidth=2.2
            )
        axes.set_yticks(range(len(values)), row.labels)
        axes.set_ylim(len(values) - 0.5, -0.5)
        axes.axvline(FITS, color=NONE, linewidth=1)
        axes.axvline(1, color=CONTROL, linestyle=(0, (4, 2)), linewidth=1)
        axes.set_xlabel("share learned of random functions, over the twins'")
        axes.set_xlim(left=0)
        return figure
    figure, panels = canvas(2.6, columns=2)
    places = np.arange(len(values))
    panels[0].fill_between(places, [each.low for each in values], [each.high for each in values], color=COLOURS[0], alpha=0.16, linewidth=0)
    panels[0].plot(places, [each.value for each in values], color=COLOURS[0], marker="o", label="last tenth of the updates")
    panels[0].plot(places, [each.trainability.area.value for each in row.checkups], color=COLOURS[2], linestyle=":", label="all updates")
    panels[0].axhline(FITS, color=NONE, linewidth=1)
    panels[0].set_ylim(bottom=0)
    panels[0].set_title("trainability ratio")
    panels[0].legend(fontsize=8)
    for name, colour in zip(SHARES[:-1], COLOURS, strict=False):
        worst = [max((each.own for each in of.measures if each.name == name), default=math.nan) for of in row.checkups]
        if np.isfinite(worst).any():
            panels[1].plot(places, worst, color=colour, marker="o", label=MEASURES[name].title)
    panels[1].set_title("worst layer")
    panels[1].set_ylim(bottom=0)
    panels[1].legend(fontsize=8)
    for axes in panels:
        axes.set_xticks(places, row.labels, rotation=45, ha="right")
    return figure


def _reach(value: float, low: float, high: float) -> list[list[float]] | None:
    return [[value - low], [high - value]] if math.isfinite(low) else None


def _learning(row: "Row", drawn: dict[str, Look]) -> Figure:
    """Shares learned over the updates, and each number by layer beside the twins' range."""
    figure, (left, right) = canvas(0.9 + 0.17 * max(12, len(row.checkups[0].measures)), columns=2, width_ratios=(2, 3))
    for label, of in zip(row.labels, row.checkups, strict=True):
        _curve(left, of.trainability.own, of.trainability.updates, drawn[label], label)
        _curve(left, of.trainability.fresh, of.trainability.updates, drawn[TWINS], TWINS if label == row.labels[0] else "")
    left.set_title("share learned of random functions")
    left.set_xlabel("updates")
    left.set_ylim(0, 1.02)
    left.legend(fontsize=8)
    measures = [each for each in row.checkups[0].measures if each.fresh > 0 or each.name in SHARES]
    for height, measure in enumerate(measures):
        unit = 1.0 if measure.name in SHARES else measure.fresh
        right.plot([each / unit for each in measure.twins], [height] * len(measure.twins), "|", markersize=8, color=CONTROL)
        for label, of in zip(row.labels, row.checkups, strict=True):
            mine = next((each for each in of.measures if (each.name, each.layer) == (measure.name, measure.layer)), None)
            if mine is not None:
                look, full = drawn[label], mine.stands_out
                right.plot(mine.own / unit, height, "o", markersize=5, color=look.color, markerfacecolor=look.color if full else "none")
    right.set_yticks(range(len(measures)), [f"{MEASURES[each.name].title}, {each.layer}".rstrip(", ") for each in measures], fontsize=7)
    right.set_ylim(len(measures) - 0.5, -0.5)
    right.set_xscale("symlog", linthresh=1)
    right.set_xlim(-0.05, 1.3 * right.get_xlim()[1])
    right.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    right.xaxis.set_minor_locator(NullLocator())
    right.set_title("shares as they are, others over the twins'; filled: stands out")
    return figure


def _curve(axes: Axes, shares: Sequence[Sequence[float]], updates: int, look: Look, label: str) -> None:
    """Mean over pairs with its 95% t interval."""
    found = np.array(shares)
    middle = found.mean(0)
    reach = t_quantile(len(found) - 1, (1 + LEVEL) / 2) * found.std(0, ddof=1) / len(found) ** 0.5
    at = (np.arange(found.shape[1]) + 0.5) * updates / found.shape[1]
    axes.fill_between(at, middle - reach, middle + reach, color=look.color, alpha=0.16, linewidth=0)
    axes.plot(at, middle, color=look.color, linestyle=look.linestyle, label=label or None)
