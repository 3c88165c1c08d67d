"""The figure of runs whose learner is not told of task changes: reward per step over the whole run."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from analysis.figures.style import FAINT, Look, band, canvas, legend
from analysis.scores.rewards import Rewards, half_life
from analysis.scores.setting import Setting
from analysis.statistics.aggregates import stacked
from analysis.statistics.intervals import column_means

MOST_CHANGES = 100
"""task changes that are distinguishable on one axis"""


def reward_curves(setting: Setting, rows: Sequence[Rewards], looks: dict[str, Look]) -> Figure | None:
    """Exponentially weighted mean reward per step of each chain, with a line at each change of task."""
    compared = {chain.label for chain in setting.compared}
    shown = [row for row in rows if row.label in compared]
    if not shown:
        return None
    figure, (axes,) = canvas(3.0)
    axes.grid(False, axis="x")
    if len(setting.edges) <= MOST_CHANGES:
        for edge in setting.edges.tolist():
            axes.axvline(edge, color=FAINT, linewidth=0.8, zorder=0)
    for row in shown:
        band(axes, row.steps, stacked(column_means(row.weighted)), looks[row.label])
    axes.set_xlim(0, float(setting.edges[-1]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("steps of a member; a line at each change of task, of which the learner is not told")
    axes.set_ylabel(f"reward per step\nhalf-life {half_life(setting):,.0f} steps", fontsize=9)
    legend(figure, {row.label: looks[row.label] for row in shown})
    return figure
