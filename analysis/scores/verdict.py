"""The verdict on one setting: a row per chain, the best chain, and a plain sentence."""

import math
from dataclasses import dataclass

import numpy as np

from analysis.format import percent, with_interval
from analysis.scores.matrix import ScoreMatrix
from analysis.scores.setting import ChainScores, Setting, ratio
from analysis.statistics.bootstrap import Estimate, Statistic, difference, estimate, iqm, mean

FIRST_AND_LAST = 3
"""number of visits averaged at the beginning and at the end of a run"""
ENOUGH_MEMBERS = 5
"""minimum members for a chain to be called best: by chance, five paired differences all have one sign once in 16, three once in 4"""
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
    kept: Estimate
    """(last - floor) / (first - floor)"""
    overall: Estimate
    """interquartile mean over all visits"""
    plasticity: Estimate
    """ratio to the fresh control over the last visits"""
    best: bool = False
    """True if its last visits beat those of every other chain except the control: each paired difference has an interval above 0"""

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


def kept(last: np.ndarray, first: np.ndarray) -> np.ndarray:
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

    at_first, change = over(mean, above[:, first]), over(kept, above[:, last], above[:, first])
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
    return Verdict(
        chain=chain,
        members=int(np.isfinite(area).all(axis=1).sum()),
        of=len(area),
        first=over(mean, area[:, first]),
        last=over(mean, area[:, last]),
        kept=change,
        overall=over(iqm, area),
        plasticity=ratio(setting, chain, last),
        best=best,
    )


def best_chain(setting: Setting, visits: list[int]) -> ChainScores | None:
    """The chain whose mean over these visits beats every other's by a paired interval above 0, on five members or more.

    The fresh control is excluded.
    """
    rivals = [chain for chain in setting.chains if not chain.fresh_control]
    if len(rivals) < 2 or not setting.comparable:
        return None
    for chain in rivals:
        leads = [
            estimate(difference, setting.shown(chain.area)[:, visits], setting.shown(rival.area)[:, visits])
            for rival in rivals
            if rival is not chain
        ]
        if all(lead.exceeds(0.0) and lead.members >= ENOUGH_MEMBERS for lead in leads):
            return chain
    return None


def reading(setting: Setting, rows: list[Verdict]) -> str:
    """The verdict in one plain sentence."""
    first, last = first_and_last(setting)
    if first == last:
        return _opening(_ratio_clauses(rows, "in its only visit") or ["with one visit nothing can be said about a change over visits"])
    span = f"{NUMBERS.get(len(last), len(last))} visits" if len(last) > 1 else "visit"
    verb = "scores" if len(last) == 1 else "score"
    clauses: list[str] = []
    none = next((row for row in rows if row.label == "none"), None)
    fresh = next((row for row in rows if row.fresh_control), None)
    if none and none.kept.defined:
        share = f"{verb} {percent(none.kept)} of the first {_rest(span)}{_doubt(none.kept)}"
        vague = f"cannot be told from the first {_rest(span)}: the interval is wider than the first score itself"
        clauses.append(f"without intervention the last {span} {vague if _vague(none.kept) else share}")
    if fresh and fresh.kept.defined and not _vague(fresh.kept):
        clauses.append(f"the fresh control keeps {percent(fresh.kept)}")
    best = next((row for row in rows if row.best), None)
    if best:
        clauses.append(f"the best score over the last {span} is that of {best.label}" + _beside_fresh(best))
    elif len(rivals := [row for row in rows if not row.fresh_control]) > 1 and all(row.last.defined for row in rivals):
        few = min(row.last.members for row in rivals) < ENOUGH_MEMBERS
        reason = f"with fewer than {NUMBERS[ENOUGH_MEMBERS]} members no chain is called best"
        clauses.append(reason if few else f"no chain is better than all others over the last {span}")
    if not clauses:
        clauses = _ratio_clauses(rows, f"over the last {span}")
    if not clauses:
        reasons = sorted({row.plasticity.note for row in rows if row.plasticity.note and not row.plasticity.defined})
        clauses = ["nothing can be said yet" + (f": {'; '.join(reasons)}" if reasons else "")]
    return _opening(clauses)


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
    ratios = {label: found["iqm"] for label, found in matrix.plasticity.items() if found["iqm"].defined}
    if ratios:
        shares = [f"{label} {percent(found)}" for label, found in sorted(ratios.items(), key=lambda each: each[1].value)]
        clauses.append(f"at the end, as a share of the fresh control: {', '.join(shares)}")
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


def _rest(span: str) -> str:
    """`three` of `three visits`; `visit` of `visit`."""
    return span.removesuffix(" visits")


def _ratio_clauses(rows: list[Verdict], when: str) -> list[str]:
    shares = [f"{row.label} {percent(row.plasticity)}" for row in rows if not row.fresh_control and row.plasticity.defined]
    return [f"{when}, as a share of the fresh control: {', '.join(shares)}"] if shares else []


def _beside_fresh(row: Verdict) -> str:
    return f", {percent(row.plasticity)} of the fresh control's" if row.plasticity.defined else ""


def _vague(change: Estimate) -> bool:
    """True if the interval of a share is wider than 1."""
    return change.low is not None and change.high is not None and change.high - change.low > 1


def _doubt(change: Estimate) -> str:
    if change.low is None or change.high is None:
        return f" ({change.note})"
    return ", a change that can be chance" if change.low <= 1 <= change.high else ""
