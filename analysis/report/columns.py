"""The columns of the report's tables of chains, as data: each row here is one number, wherever the report shows it.

A verdict's column stands on the page, in report.md and in verdict.csv; with `terminal`, also in the terminal; with `method`, also under
Methods. docs/report.md has a line for each.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from analysis.report.sections import Section, SuiteSection
from analysis.scores.matrix import Row
from analysis.scores.ratios import FIRST_VISIT, trend
from analysis.scores.setting import Setting
from analysis.scores.verdict import Verdict
from analysis.statistics.intervals import Estimate

PartT = TypeVar("PartT", Section, SuiteSection)
RowT = TypeVar("RowT", Verdict, Row)


@dataclass(frozen=True)
class Column(Generic[PartT, RowT]):
    """One number of every chain."""

    name: str
    """in verdict.csv; of a suite, the aggregate's name"""
    title: str
    small: Callable[[PartT], str]
    """small print of the heading"""
    value: Callable[[PartT, RowT], Estimate]
    method: Callable[[PartT], str] | None = None
    """its definition under Methods; None if Methods defines it elsewhere"""
    terminal: bool = True
    """whether the terminal shows it; a terminal of 80 columns has room for four numbers"""


def _from(setting: Setting) -> str:
    return " Both are measured from the random score, where it is known." if setting.kind == "return" else ""


def _kept_method(part: Section) -> str:
    free = any(row.own.name == FIRST_VISIT for row in part.rows) * (
        " Where tasks are draws of one distribution, the chain's first visit, which its networks meet untrained, is that control."
    )
    return (
        "Area of a chain divided by the area of its own control, at the same visit and budget, on the same seeds and members; over "
        "several visits, the mean of their ratios. The own control is the same agent with the same chain, and a reset of network, "
        "optimizer, replay and the chain's own memory at every visit, so that 1 is an agent that learns as when it was new."
        f"{free}{_from(part.setting)} It is defined only where the interval of the control's own area excludes the floor, that is, where "
        "it learned something in this budget."
    )


def _performance_method(setting: Setting) -> str:
    return (
        "The same over the area of the fresh control, which starts over at every visit and carries no other intervention."
        f"{_from(setting)} A chain that makes every task easier to learn, as a norm does, can stand above 1 and still lose plasticity."
    )


def _mean_of(span: str) -> str:
    return f"mean of {span}" if "-" in span else f"visit {span}"


VERDICT: tuple[Column[Section, Verdict], ...] = (
    Column(
        "plasticity_kept",
        "Plasticity kept",
        lambda _: "over its own control",
        lambda _, row: row.kept,
        _kept_method,
    ),
    Column(
        "performance",
        "Performance",
        lambda _: "over the fresh control",
        lambda _, row: row.performance,
        lambda part: _performance_method(part.setting),
    ),
    Column("last", "Last visits", lambda part: _mean_of(part.spans[1]), lambda _, row: row.last),
    Column("first", "First visits", lambda part: _mean_of(part.spans[0]), lambda _, row: row.first),
    Column("last_over_first", "Last over first", lambda _: "both above the floor", lambda _, row: row.change, terminal=False),
    Column(
        "plasticity_kept_trend",
        "Trend of plasticity kept",
        lambda _: "change a visit",
        lambda part, row: trend(part.setting, row.chain, row.own),
        lambda _: "Slope of the least-squares line through the plasticity kept at each visit that has it.",
        terminal=False,
    ),
    Column("iqm", "IQM", lambda _: "all visits", lambda _, row: row.overall, terminal=False),
)

CONTROLS: tuple[Column[Section, Verdict], ...] = (
    Column("last", "Last visits", lambda part: _mean_of(part.spans[1]), lambda _, row: row.last),
    Column("first", "First visits", lambda part: _mean_of(part.spans[0]), lambda _, row: row.first),
    Column("performance", "Performance", lambda _: "over the fresh control", lambda _, row: row.performance),
    Column("drift", "Less the chain's first visit", lambda _: "0 if tasks are alike", lambda _, row: row.drift),
)
"""of the table of controls"""

AGGREGATES = {"iqm": "IQM", "median": "Median", "mean": "Mean", "optimality_gap": "Optimality gap"}
"""rliable's: name -> title"""


def _aggregate(name: str, small: str = "all visits", terminal: bool = True) -> Column[SuiteSection, Row]:
    return Column(name, AGGREGATES[name], lambda _: small, lambda part, row: part.matrix.scores[row.label][name], terminal=terminal)


def _suite_kept(part: SuiteSection, row: Row) -> Estimate:
    if row.fresh_control:
        return Estimate(math.nan, note="a control")
    return part.matrix.kept.get(row.label, {}).get("iqm", Estimate(math.nan, note="no own control"))


def _suite_performance(part: SuiteSection, row: Row) -> Estimate:
    if row.fresh_control:
        return Estimate(1.0, note="the reference")
    return part.matrix.performance.get(row.label, {}).get("iqm", Estimate(math.nan, note="no fresh control"))


SUITE: tuple[Column[SuiteSection, Row], ...] = (
    Column(
        "plasticity_kept",
        "Plasticity kept",
        lambda _: "over its own control; IQM, last visits",
        _suite_kept,
        lambda _: (
            "For each task: a chain's mean score above the random score over the last visits, divided by that of its own control, the "
            "same chain with a reset of everything at every visit, on the same seeds and budget. Aggregates are over these ratios. A task "
            "has one only where the interval of the control's own score lies above the random score."
        ),
    ),
    Column(
        "performance",
        "Performance",
        lambda _: "over the fresh control; IQM, last visits",
        _suite_performance,
        lambda _: "The same over the fresh control, which carries no other intervention.",
    ),
    _aggregate("iqm"),
    _aggregate("median", terminal=False),
    _aggregate("mean"),
    _aggregate("optimality_gap", "lower is better", terminal=False),
)


@dataclass(frozen=True)
class Measure:
    """A column of the table of a sequence of games; its name and title are in `sequential.MEASURES`."""

    small: str
    """small print of the heading; {} is the number of columns that are averaged"""
    caption: str
    """how to read it, below the table"""
    method: str
    """its definition under Methods"""


SEQUENCE = {
    "retention": Measure(
        "{} of task and later visit",
        "Retention: 1 keeps the whole score of a task after it was left, 0 falls back to the random score.",
        "A task's evaluation at the end of a later visit over that at the end of its own latest visit, as means over members "
        "measured from the random score, where it is known: 1 keeps everything, 0 plays as if nothing had been learned. The mean is over "
        "all pairs of a task and a later visit before the task is met again. A pair is left out unless the interval of the task's own "
        "evaluation lies above the random score.",
    ),
    "relearning_time": Measure(
        "{}, over the visit before",
        "Re-learning time: below 1 is faster than in the visit before.",
        "Frames until a member's training curve first reaches the level that the same member had in the last window of "
        "its visit before to the task, over the frames that it took to first reach it there, as means over members, in whole windows; the "
        "mean over all visits to tasks met before. Below 1 is faster. A member that never reaches it is counted and enters with the whole "
        "budget: the means are restricted ones, and where many do not reach it the ratio is a lower bound, at most the budget over the "
        "earlier time. A level is high partly by chance, so read it beside the fresh control's, which starts over and neither gains nor "
        "loses. A visit is left out unless its level's interval lies above the random score.",
    ),
    "later_over_first": Measure(
        "{}, by area",
        "Later over first visits: below 1 is worse than when the task was met first.",
        "Area of a visit to a task met before over that of the task's first visit, as means over members measured from "
        "the random score, where it is known; the mean over all such visits. A visit is left out unless the interval of the first visit's "
        "area lies above the random score.",
    ),
    "transfer": Measure(
        "{}, less the fresh control",
        "Transfer: above 0, new tasks are learned better than from scratch.",
        "Area of the first visit to a task, of every task but the run's first, less the fresh control's at the same visit, on "
        "the scale of the table above; the mean over these visits. Above 0, earlier learning helps.",
    ),
}
"""name of a measure -> how its column reads"""
