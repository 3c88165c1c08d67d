"""Metrics of tasks that are left and revisited: retention, re-learning time, later visits over the first, and transfer.

- **Retention** of a task: its evaluation at the end of a later visit to another task, over its evaluation at the end of its own latest
  visit, both measured from the random score. 1: nothing is forgotten; 0: all is forgotten.
- **Re-learning time** of a visit to a task seen before: the frames until a member's training curve first reaches its own level in the last
  window of the previous visit, over the frames that it took to first reach that level in the previous visit. Below 1: faster.
- **Later over first**: the area of a visit to a task seen before over that of the task's first visit, both measured from the random score.
- **Transfer** to a new task, after others: its area minus the fresh control's at the same visit, on the displayed scale (forward transfer,
  as in Wolczyk et al. 2021, arXiv 2105.10919, without the division by the possible gain, as returns are unbounded). Above 0: earlier
  learning helps.

Each is a `Comparison` of two matrices (members, columns); a column is a task at a visit. All but transfer are ratios of means over members,
paired by member (`mean_ratio`), and are undefined if nothing was learned in the earlier visit: if the interval of its score is
not above the random score. A chain's value is the mean over its defined columns.

A member that does not reach its level within the budget is counted, and enters with the whole budget: the means are restricted means. All
curves end at the same budget, so no survival estimate is needed. If nothing changes from visit to visit, the ratio is 1, because the
earlier visit is bounded too: it reaches its own last window's level in its last window at the latest. Excluding the members that do not
reach it would show a spurious gain, and averaging each member's ratio a spurious loss. A level may still be high by chance; the fresh
control, whose visits are all alike, shows the size of this bias. Times are whole windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from analysis.format import numbered
from analysis.scores.evaluations import Evaluations
from analysis.scores.setting import ChainScores, Setting
from analysis.statistics.intervals import Estimate, difference, estimate, mean, mean_ratio

NO_EVALUATION, NO_SCORE = "no evaluation", "no score"


@dataclass(frozen=True, eq=False)
class Comparison:
    """A later quantity and an earlier one of the same members."""

    at: tuple[tuple[str, int], ...]
    """(task, visit) of each column"""
    later: np.ndarray
    """(members, columns); NaN where missing"""
    earlier: np.ndarray
    """(members, columns); NaN where missing"""
    floor: np.ndarray
    """(columns,): the baseline of both"""
    reasons: tuple[str, ...]
    """per column, why there is no ratio; empty if there is one"""
    reached: np.ndarray | None = None
    """(members, columns), for times: True if the level was reached within the budget"""
    noun: str = "visits"
    """name of the columns"""
    subtracted: bool = False
    """True for the difference of the two instead of their ratio above the floor"""

    @cached_property
    def each(self) -> tuple[Estimate, ...]:
        """The ratio in each column."""
        of = len(self.later)
        return tuple(Estimate(np.nan, of=of, note=reason) if reason else self._over([column]) for column, reason in enumerate(self.reasons))

    @cached_property
    def overall(self) -> Estimate:
        """The mean ratio over all defined columns, for the members that have all of these."""
        defined = self._defined
        if not defined:
            return Estimate(np.nan, of=len(self.later), note="; ".join(sorted(set(self.reasons))))
        found = self._over(defined)
        if len(defined) == len(self.at):
            return found
        return replace(found, note="; ".join(filter(None, [f"over {len(defined)} of {len(self.at)} {self.noun}", found.note])))

    def counts(self, column: int | None = None) -> tuple[int, int] | None:
        """(visits of members in which the level was reached, all visits), in one column or in all defined ones; None except for times."""
        columns = self._defined if column is None else [column]
        if self.reached is None or any(self.reasons[each] for each in columns):
            return None
        there = self.reached[self._whole(columns)][:, columns]
        return int(there.sum()), there.size

    @property
    def _defined(self) -> list[int]:
        return [column for column, reason in enumerate(self.reasons) if not reason]

    def _whole(self, columns: list[int]) -> np.ndarray:
        """Members that have both quantities in all these columns, (members,) bool."""
        return np.all(np.isfinite(self.later[:, columns]) & np.isfinite(self.earlier[:, columns]), axis=1)

    def _over(self, columns: list[int]) -> Estimate:
        later, earlier, floor = self.later[:, columns], self.earlier[:, columns], self.floor[columns]
        if self.subtracted:
            return estimate(difference, later, earlier)
        return estimate(mean_ratio(floor), later, earlier, denominator=earlier - floor)


def left(tasks: Sequence[str]) -> list[tuple[int, int]]:
    """(own visit, later visit) for every visit after a task was left and before it is revisited: `aba` gives (0, 1) for a, (1, 2) for b."""
    latest: dict[str, int] = {}
    found: list[tuple[int, int]] = []
    for visit, task in enumerate(tasks):
        latest[task] = visit
        found += [(own, visit) for own in latest.values() if own != visit]
    return found


def again(tasks: Sequence[str]) -> list[tuple[int, int, int]]:
    """(visit, previous visit, first visit) of the same task, for every visit to a task seen before."""
    before = [[earlier for earlier in range(visit) if tasks[earlier] == task] for visit, task in enumerate(tasks)]
    return [(visit, visits[-1], visits[0]) for visit, visits in enumerate(before) if visits]


def windows_until(curve: np.ndarray, level: np.ndarray) -> np.ndarray:
    """The number of windows until curves (members, windows) first reach their levels (members,): (members,).

    Infinite if a curve never does, NaN without a curve or level.
    """
    hit = curve >= level[:, None]  # False where either is NaN
    until = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1.0, np.inf)
    return np.where(np.isfinite(curve).any(axis=1) & np.isfinite(level), until, np.nan)


def retention(evaluation: np.ndarray, tasks: Sequence[str], floor: np.ndarray) -> Comparison:
    """Retention: evaluations of tasks after they were left, relative to those at the end of their own latest visits.

    `evaluation` (members, visits, tasks), the last axis in the order of first visits; `tasks` (visits,); `floor` (visits,): random scores.
    """
    pairs = left(tasks)
    number = {task: index for index, task in enumerate(dict.fromkeys(tasks))}
    later = _columns([evaluation[:, visit, number[tasks[own]]] for own, visit in pairs], len(evaluation))
    earlier = _columns([evaluation[:, own, number[tasks[own]]] for own, _ in pairs], len(evaluation))
    base = floor[[own for own, _ in pairs]]
    reasons = _reasons(later, earlier, earlier, base, NO_EVALUATION, "its own visit")
    return Comparison(tuple((tasks[own], visit) for own, visit in pairs), later, earlier, base, reasons, noun="pairs")


def relearning_time(curve: np.ndarray, tasks: Sequence[str], floor: np.ndarray, budgets: Sequence[int]) -> Comparison:
    """Windows until the level of the previous visit is reached, relative to the windows that the previous visit took.

    `curve` (members, visits, windows), training curves; `tasks`, `floor` and `budgets` (visits,).
    """
    visits = again(tasks)
    level = _columns([curve[:, before, -1] for _, before, _ in visits], len(curve))
    until = _columns([windows_until(curve[:, visit], level[:, column]) for column, (visit, *_) in enumerate(visits)], len(curve))
    earlier = _columns([windows_until(curve[:, before], level[:, column]) for column, (_, before, _) in enumerate(visits)], len(curve))
    later = np.where(np.isinf(until), curve.shape[2], until)
    base = floor[[visit for visit, *_ in visits]]
    reasons = _reasons(later, earlier, level, base, NO_SCORE, "the visit before")
    reasons = _equal(reasons, [(budgets[visit], budgets[before]) for visit, before, _ in visits])
    at = tuple((tasks[visit], visit) for visit, *_ in visits)
    return Comparison(at, later, earlier, np.zeros(len(visits)), reasons, reached=np.isfinite(until))


def later_over_first(area: np.ndarray, tasks: Sequence[str], floor: np.ndarray, budgets: Sequence[int]) -> Comparison:
    """Areas (members, visits) of visits to tasks seen before, relative to those of their first visits. `tasks`, `floor`, `budgets`
    (visits,)."""
    visits = again(tasks)
    later, first = area[:, [visit for visit, *_ in visits]], area[:, [first for *_, first in visits]]
    base = floor[[visit for visit, *_ in visits]]
    reasons = _reasons(later, first, first, base, NO_SCORE, "the first visit")
    reasons = _equal(reasons, [(budgets[visit], budgets[first]) for visit, _, first in visits])
    return Comparison(tuple((tasks[visit], visit) for visit, *_ in visits), later, first, base, reasons)


def transfer(setting: Setting, chain: ChainScores) -> Comparison:
    """First visits to tasks, except the run's first, relative to the fresh control's. The control's own value is 0 by definition."""
    visits = [visit for visit, task in enumerate(setting.tasks) if visit and task not in setting.tasks[:visit]]
    control = setting.control
    assert control is not None
    later, earlier = (setting.shown(each.area)[:, visits] for each in (chain, control))
    if control is None or chain is control or not setting.comparable:
        why = (
            "no fresh control" if control is None else "the reference" if chain is control else "tasks share no scale: no reference scores"
        )
        reasons = (why,) * len(visits)
    else:
        there = np.any(np.isfinite(later) & np.isfinite(earlier), axis=0)
        reasons = tuple("" if known else NO_SCORE for known in there.tolist())
    return Comparison(
        tuple((setting.tasks[visit], visit) for visit in visits), later, earlier, np.zeros(len(visits)), reasons, subtracted=True
    )


def _columns(columns: list[np.ndarray], members: int) -> np.ndarray:
    return np.stack(columns, axis=1) if columns else np.zeros((members, 0))


def _reasons(later: np.ndarray, earlier: np.ndarray, learned: np.ndarray, floor: np.ndarray, nothing: str, visit: str) -> tuple[str, ...]:
    """Per column, why there is no ratio; empty if there is one. Something was learned in `visit` if `learned` (members, columns) is above
    `floor`."""
    reasons: list[str] = []
    for column, level in enumerate(learned.T):
        there = level[np.isfinite(level)][:, None]
        if not (np.isfinite(later[:, column]) & np.isfinite(earlier[:, column])).any():
            reasons.append(nothing)
        elif len(there) == 1:
            reasons.append(f"one member: no interval says whether {visit} taught anything")
        elif not estimate(mean, there).exceeds(floor[column]):
            reasons.append(f"{visit} taught nothing")
        else:
            reasons.append("")
    return tuple(reasons)


def _equal(reasons: Sequence[str], budgets: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    return tuple(reason or ("" if one == other else "budgets differ") for reason, (one, other) in zip(reasons, budgets, strict=True))


@dataclass(frozen=True)
class SequenceRow:
    """One chain's row. A comparison is None if the sequence lacks it: no evaluations, or no revisited task."""

    label: str
    fresh_control: bool
    retention: Comparison | None
    relearning_time: Comparison | None
    later_over_first: Comparison | None
    transfer: Comparison | None

    @property
    def measures(self) -> dict[str, Comparison]:
        """Name -> comparison, of those that exist."""
        return {name: compared for name in MEASURES if (compared := getattr(self, name)) is not None}


MEASURES = {
    "retention": "Retention",
    "relearning_time": "Re-learning time",
    "later_over_first": "Later over first visits",
    "transfer": "Transfer",
}
"""name -> title in the report"""


def sequence_rows(setting: Setting, found: Evaluations | None) -> tuple[SequenceRow, ...]:
    """A row per chain, in the setting's order; none unless games follow each other with evaluations, revisited tasks, or a control."""
    tasks, floor = setting.tasks, setting.floor
    budgets = [visit["budget"] for visit in setting.spec.visits]
    beside = setting.control is not None and len(set(tasks)) > 1
    if setting.kind != "return" or len(tasks) == 1 or not (found or again(tasks) or beside):
        return ()
    return tuple(
        SequenceRow(
            chain.label,
            chain.fresh_control,
            retention(found.at_end[chain.label], tasks, floor) if found and left(tasks) else None,
            relearning_time(chain.curve, tasks, floor, budgets) if again(tasks) else None,
            later_over_first(chain.area, tasks, floor, budgets) if again(tasks) else None,
            transfer(setting, chain) if beside else None,
        )
        for chain in setting.compared
    )


def undefined(rows: Sequence[SequenceRow]) -> list[str]:
    """One line per chain, measure and reason that leaves values undefined; entirely missing data are reported elsewhere."""
    lines: list[str] = []
    for row in rows:
        for name, compared in row.measures.items():
            for reason in sorted(set(compared.reasons) - {"", NO_EVALUATION, NO_SCORE, "the reference"}):
                visits: dict[str, list[int]] = {}
                for (task, visit), found in zip(compared.at, compared.reasons, strict=True):
                    if found == reason:
                        visits.setdefault(task, []).append(visit)
                where = "; ".join(f"{task} at {numbered('visit', some)}" for task, some in visits.items())
                lines.append(f"{row.label}: no {MEASURES[name].lower()} of {where}: {reason}")
    return lines
