"""The table of runs whose learner is not told of task changes."""

from collections.abc import Sequence

from analysis.report.tables import CHAIN, Heading, Line, Table, cell
from analysis.scores.rewards import HALF_LIFE, Rewards, half_life
from analysis.scores.setting import Setting


def reward_table(setting: Setting, rows: Sequence[Rewards]) -> Table:
    """Reward per step at the end of the first and last visits, and over the whole run."""
    first, last = float(setting.edges[1]), float(setting.edges[-1])
    lines = [Line(row.label, (cell(row.at(first)), cell(row.at(last)), cell(row.whole)), control=row.fresh_control) for row in rows]
    headings = (
        CHAIN,
        Heading("Before the first change", f"weighted mean at step {first:,.0f}"),
        Heading("At the end", f"weighted mean at step {last:,.0f}"),
        Heading("Whole run", "plain mean"),
    )
    caption = (
        "The learner is not told that tasks change. Reward per step of a member, by exponentially weighted means over its steps with a "
        f"half-life of {half_life(setting):,.0f} steps ({HALF_LIFE:.0%} of the time between changes), corrected for the start; an "
        "episode's rewards count at its end, those of cut episodes too, so that with long episodes curves rise where a task ends, by some "
        "percent, and dip thereafter. Controls that start over are told."
    )
    return Table("Reward per step", headings, tuple(lines), caption)
