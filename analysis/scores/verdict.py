"""The verdict on one setting: a row per chain, the best chain, and a plain sentence."""

import math
from dataclasses import dataclass

import numpy as np

from analysis.format import percent, with_interval
from analysis.scores.matrix import ENOUGH_MEMBERS, ScoreMatrix
from analysis.scores.ratios import Control, drift, own_control, plain_control, ratio
from analysis.scores.setting import ChainScores, Setting
from analysis.statistics.comparisons import ahead_of_all
from analysis.statistics.intervals import Estimate, Statistic, difference, estimate, iqm, mean

FIRST_AND_LAST = 3
"""number of visits averaged at the beginning and at the end of a run"""
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


@dataclass(frozen=True)
class Verdict:
    """One chain's row. Scores are on the scale of `Setting.shown`."""

    chain: ChainScores
    members: int
    """number with a score for every visit"""
    of: int
    """members of the setting: all pairs of seed and member in any chain"""
    first: Estimate
    """mean over the first visits"""
    last: Estimate
    """mean over the last visits"""
    change: Estimate
    """(last - floor) / (first - floor)"""
    overall: Estimate
    """interquartile mean over all visits"""
    own: Control
    """what plasticity kept is measured by"""
    kept: Estimate
    """ratio to its own control over the last visits: plasticity kept"""
    performance: Estimate
    """ratio to the plain control over the last visits"""
    drift: Estimate
    """of a control: its last visits less the first visit of its chain, where tasks are alike"""
    best: bool = False
    """True if its last visits beat those of every other chain but controls: each paired difference is above 0 after Holm's correction"""

    @property
    def label(self) -> str:
        return self.chain.label

    @property
    def fresh_control(self) -> bool:
        return self.chain.fresh_control


def first_and_last(setting: Setting) -> tuple[list[int], list[int]]:
    """The visits compared: three from either end, or fewer so that they do not overlap.

    If tasks are revisited, they are whole cycles, so that the same tasks are compared.
    """
    count = len(setting.spec.visits)
    again = any(visit["cycle"] > 0 for visit in setting.spec.visits)
    cycle = sum(visit["cycle"] == 0 for visit in setting.spec.visits) if again else 1
    width = min(cycle * math.ceil(FIRST_AND_LAST / cycle), count // 2 // cycle * cycle)
    width = width or min(FIRST_AND_LAST, max(1, count // 2))
    return list(range(width)), list(range(count - width, count))


def last_over_first(last: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The mean over the last visits as a fraction of the mean over the first. (..., members, visits) twice -> (...)."""
    return mean(last) / mean(first)


def verdicts(setting: Setting) -> list[Verdict]:
    """A row for each chain, in the setting's order."""
    first, last = first_and_last(setting)
    best = best_chain(setting, last)
    return [_verdict(setting, chain, first, last, chain is best) for chain in setting.chains]


def _verdict(setting: Setting, chain: ChainScores, first: list[int], last: list[int], best: bool) -> Verdict:
    area = setting.shown(chain.area)
    above = area - setting.shown(np.broadcast_to(setting.floor, area.shape))

    def over(statistic: Statistic, *scores: np.ndarray) -> Estimate:
        if not setting.comparable:
            return Estimate(math.nan, of=len(area), note="tasks share no scale: no reference scores")
        return estimate(statistic, *scores)

    at_first, change = over(mean, above[:, first]), over(last_over_first, above[:, last], above[:, first])
    why = ""
    if first == last:
        why = "one visit"
    elif setting.normalised and {setting.tasks[visit] for visit in first} != {setting.tasks[visit] for visit in last}:
        why = "the first and the last visits are of different tasks"
    elif change.members == 0:
        why = change.note
    elif at_first.members == 1:
        why = "one member: no interval says whether the first visits' score is above the floor"
    elif not at_first.exceeds(0.0):
        why = "the first visits' score is not above the floor"
    if why:
        change = Estimate(math.nan, of=len(area), note=why)
    own = plain_control(setting) if chain.fresh_control else own_control(setting, chain)
    undefined = Estimate(math.nan, of=len(area), note="a control")
    return Verdict(
        chain=chain,
        members=int(np.isfinite(area).all(axis=1).sum()),
        of=len(area),
        first=over(mean, area[:, first]),
        last=over(mean, area[:, last]),
        change=change,
        overall=over(iqm, area),
        own=own,
        kept=undefined if chain.fresh_control else ratio(setting, chain, own, last),
        performance=ratio(setting, chain, plain_control(setting), last),
        drift=drift(setting, chain, last) if chain.fresh_control else undefined,
        best=best,
    )


def best_chain(setting: Setting, visits: list[int]) -> ChainScores | None:
    """The chain whose mean over these visits beats every other's: each paired difference, on five members or more, is above 0 after Holm's
    correction for the number of rivals.

    Controls are excluded.
    """
    rivals = setting.rivals
    if len(rivals) < 2 or not setting.comparable:
        return None
    for chain in rivals:
        leads = [
            estimate(difference, setting.shown(chain.area)[:, visits], setting.shown(rival.area)[:, visits])
            for rival in rivals
            if rival is not chain
        ]
        if ahead_of_all(leads) and min(lead.members for lead in leads) >= ENOUGH_MEMBERS:
            return chain
    return None


def reading(setting: Setting, rows: list[Verdict]) -> str:
    """The verdict in plain words: plasticity kept, then what is best."""
    last = first_and_last(setting)[1]
    one = len(setting.tasks) == 1
    span = f"{NUMBERS.get(len(last), len(last))} visits" if len(last) > 1 else "visit"
    when = "in its only visit" if one else f"over the last {span}"
    rivals = [row for row in rows if not row.fresh_control]
    clauses = _kept([(row.label, row.kept) for row in rivals], when)
    none = next((row for row in rivals if row.label == "none"), None)
    if none and none.change.defined and not none.kept.defined:
        clauses.append(_change(none.change, span, len(last)))
    best = next((row for row in rivals if row.best), None)
    if best:
        beside = f", {percent(best.performance)} of the fresh control's" if best.performance.defined else ""
        clauses.append(f"the best score {when} is that of {best.label}{beside}")
    elif not one and len(rivals) > 1 and all(row.last.defined for row in rivals):
        few = min(row.last.members for row in rivals) < ENOUGH_MEMBERS
        reason = f"with fewer than {NUMBERS[ENOUGH_MEMBERS]} members no chain is called best"
        clauses.append(reason if few else f"no chain is better than all others {when}")
    if not best and not any(row.kept.defined for row in rivals):
        clauses += _shares([(row.label, row.performance) for row in rivals], f"{when}, as a share of the fresh control")
    if one and not clauses:
        return "With one visit nothing can be said about a change over visits."
    if not clauses:
        reasons = sorted({found.note for row in rivals for found in (row.kept, row.performance) if found.note and not found.defined})
        clauses = ["nothing can be said yet" + (f": {'; '.join(reasons)}" if reasons else "")]
    return _opening(clauses)


def _change(change: Estimate, span: str, visits: int) -> str:
    """The last visits beside the first, without intervention."""
    rest, verb = span.removesuffix(" visits"), "scores" if visits == 1 else "score"  # `three` of `three visits`
    if change.low is not None and change.high is not None and change.high - change.low > 1:
        told = f"cannot be told from the first {rest}: the interval is wider than the first score itself"
    else:
        told = f"{verb} {percent(change)} of the first {rest}"
        if change.low is None or change.high is None:
            told += f" ({change.note})"
        elif change.low <= 1 <= change.high:
            told += ", a change that can be chance"
    return f"without intervention the last {span} {told}"


def suite_reading(matrix: ScoreMatrix) -> str:
    """The verdict on a suite in one plain sentence."""
    clauses: list[str] = []
    best, over = matrix.best, f"over {len(matrix.tasks)} tasks"
    rivals = [row for row in matrix.rows if not row.fresh_control and not matrix.lacking(row)]
    if best is not None:
        clauses.append(f"{over} {best.label} scores more than every other chain: {with_interval(matrix.scores[best.label]['iqm'])}")
        if any(row.label == "none" for row in rivals) and best.label != "none":
            clauses[-1] += f"; without intervention {with_interval(matrix.scores['none']['iqm'])}"
    elif len(rivals) > 1:
        clauses.append(f"{over} no chain scores more than all others")
    clauses += _kept([(label, found["iqm"]) for label, found in matrix.kept.items()], "at the end")
    clauses += _shares(
        [(label, found["iqm"]) for label, found in matrix.performance.items()], "at the end, as a share of the fresh control"
    )
    return _opening(
        clauses
        or [
            "nothing can be said yet: "
            + "; ".join(sorted({matrix.lacking(row) for row in matrix.rows} - {""}) or ["no chain to compare with"])
        ]
    )


def _opening(clauses: list[str]) -> str:
    text = "; ".join(clauses)
    return text[0].upper() + text[1:] + "."


def _shares(found: list[tuple[str, Estimate]], what: str) -> list[str]:
    """`in its only visit, as a share of the fresh control: none 42% [37, 49], nap 64% [60, 68]`, the lowest first; nothing where none is
    defined."""
    defined = sorted(((label, each) for label, each in found if each.defined), key=lambda pair: pair[1].value)
    return [f"{what}: {', '.join(f'{label} {percent(each)}' for label, each in defined)}"] if defined else []


def _kept(found: list[tuple[str, Estimate]], when: str) -> list[str]:
    """How much plasticity is kept without intervention, and the most that any chain keeps; nothing where none is defined."""
    defined = {label: each for label, each in found if each.defined}
    if not defined:
        return []
    most = max(defined, key=lambda label: defined[label].value)
    clauses: list[str] = []
    if none := defined.get("none"):
        share = f"{percent(none)} of its plasticity" if none.value > 0 else f"none of its plasticity ({percent(none)})"
        clauses.append(f"without intervention the agent keeps {share} {when}")
    if most != "none":
        clauses.append(f"{'' if clauses else when + ' '}{most} keeps {'the most, ' * (len(defined) > 1)}{percent(defined[most])}")
    if defined[most].value > 1:
        clauses[-1] += " (above 100%: it learns later tasks better than when it was new)"
    return clauses
