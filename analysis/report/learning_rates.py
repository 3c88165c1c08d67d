"""The part of a report on the learning rate: a figure and a table for each sweep over rates among its runs."""

from collections.abc import Sequence

from analysis.figures.learning_rates import sensitivity
from analysis.figures.style import FigureFiles, Look, render, style
from analysis.format import UNDEFINED, number, share
from analysis.report.methods import Lines
from analysis.report.tables import CHAIN, Cell, Heading, Line, Table, cell
from analysis.scores.learning_rates import NEAR, RateCurve, RateSweep, rate_sweeps
from analysis.scores.setting import Setting
from analysis.scores.tuning import TUNED_ON

METHODS: Lines = [
    ("Learning rates", "settings that differ in the schedule's rate alone, and chains that were trained at three rates or more"),
    ("Selection", "mean score over the whole life, its first tenth or its first hundredth; intervals are 95%, over members"),
    ("Caution", "the best of several rates is chosen by the scores that are shown: confirm it with other seeds"),
]


def rate_parts(settings: Sequence[Setting], looks: dict[str, Look]) -> list[tuple[str, str, Table, FigureFiles]]:
    """Name, reading, table and figure of each sweep over learning rates; none where there is none."""
    return [_part(sweep, number, looks) for number, sweep in enumerate(rate_sweeps(settings), start=1)]


def _part(sweep: RateSweep, place: int, looks: dict[str, Look]) -> tuple[str, str, Table, FigureFiles]:
    setting = sweep.settings[0]
    alt = "Score against learning rate for each chain, over the whole life and over its first tenth"
    with style():
        drawn = render(f"learning-rates-{place}", alt, sensitivity(sweep.curves, looks, setting.scale))
    return (
        f"{setting.spec.benchmark}: learning rates{f' ({place})' if place > 1 else ''}",
        _reading(sweep.curves),
        _table(sweep.curves, setting.scale),
        drawn,
    )


def _reading(curves: Sequence[RateCurve]) -> str:
    chosen = {curve.label: (_chosen(curve, "lifetime"), _chosen(curve, "10%")) for curve in curves}
    told = [f"{label} at {whole} (its first tenth would choose {early})" for label, (whole, early) in chosen.items() if whole != early]
    if told:
        return f"Over the whole life the best learning rate is another than early on: {'; '.join(told)}."
    return f"The first tenth of the life chooses the same learning rate as the whole for {'each' if len(curves) > 1 else 'this'} chain."


def _chosen(curve: RateCurve, rule: str) -> str:
    best = curve.best(rule)
    return UNDEFINED if best is None else f"{best.rate:g}"


def _table(curves: Sequence[RateCurve], scale: str) -> Table:
    lines = []
    for curve in curves:
        best = curve.best()
        cells = (
            Cell(_chosen(curve, "lifetime")),
            Cell(UNDEFINED) if best is None else cell(best.score()),
            Cell(number(curve.median), "", f"of {len(curve.points)} rates"),
            Cell(share(curve.near)),
            *(Cell(_chosen(curve, rule)) for rule in TUNED_ON if rule != "lifetime"),
        )
        lines.append(Line(curve.label, cells, control=curve.fresh_control))
    headings = (
        CHAIN,
        Heading("Best rate", "whole life"),
        Heading("Its score", scale),
        Heading("Median", "over rates"),
        Heading("Near the best", f"share of rates within {NEAR:.0%}"),
        *(Heading("Best rate", f"first {rule}", terminal=False) for rule in TUNED_ON if rule != "lifetime"),
    )
    return Table(
        "", headings, tuple(lines), "Scores are means over the whole life; the best of several is a little too high by the choice."
    )
