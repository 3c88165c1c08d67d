"""Ratios of a chain's area above the floor to a control's, at the same visits and budget.

- *Plasticity kept*: over the chain's own control, which is the same agent with the same chain when it starts over at every visit. It asks
  how much of its own ability to learn an agent has kept, whatever a chain does to that ability at birth.
- *Performance*: over the plain control, which starts over at every visit and has no other intervention.

A chain's own control is the run of the chain with a reset of everything at its end; without one, where tasks are draws of one
distribution, it is the chain's first visit, which its networks meet untrained. `none`'s own control is the plain control.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.scores.setting import ChainScores, Setting
from analysis.statistics.intervals import Estimate, difference, estimate, mean, mean_ratio

ENOUGH_VISITS = 3
"""minimum visits for a trend"""
FIRST_VISIT = "first visit"
UNLEARNED = "did not learn in this budget"


@dataclass(frozen=True, eq=False)
class Control:
    """The control that a chain is measured by."""

    name: str
    """label of a chain of controls, FIRST_VISIT, or empty where there is none"""
    area: np.ndarray
    """(members, visits)"""
    reasons: tuple[str, ...]
    """per visit, why there is no ratio to it; empty if there is one: the 95% interval of its own area is above the floor"""


def plain_control(setting: Setting) -> Control:
    """The control of performance: the fresh control."""
    if setting.control is None:
        return _none(setting, "no fresh control")
    return Control(setting.control.label, setting.control.area, _reasons(setting, setting.control.area, "the fresh control"))


def own_control(setting: Setting, chain: ChainScores) -> Control:
    """The control of the plasticity that a chain has kept: its run with a reset where there is one, else its first visit where tasks are
    alike."""
    reset = setting.control_of(chain.label)
    if reset is not None and (not setting.tasks_alike or np.isfinite(reset.area).any(axis=0).all()):  # else it has not got so far
        name = "the fresh control" if reset is setting.control else reset.label
        return Control(reset.label, reset.area, _reasons(setting, reset.area, name))
    if setting.tasks_alike:
        area = np.repeat(chain.area[:, :1], len(setting.tasks), axis=1)
        return Control(FIRST_VISIT, area, ("the reference", *_reasons(setting, area, "the chain's first visit")[1:]))
    return _none(setting, "no fresh control" if chain.label == "none" else "no own control: --own-control trains it")


def _none(setting: Setting, reason: str) -> Control:
    visits = len(setting.tasks)
    return Control("", np.full((len(setting.pairs), visits), np.nan), (reason,) * visits)


def _reasons(setting: Setting, area: np.ndarray, name: str) -> tuple[str, ...]:
    reasons: list[str] = []
    for task, column, floor in zip(setting.tasks, area.T, setting.floor, strict=True):
        there = column[np.isfinite(column)][:, None]
        if len(there) == 0:
            reasons.append(f"no score of {name}")
        elif len(there) == 1:
            reasons.append(f"one member of {name}: no interval says whether it learned")
        elif estimate(mean, there).exceeds(floor):
            reasons.append("")
        elif setting.kind == "return" and "random" not in setting.spec.references.get(task, {}):
            reasons.append(f"the return of {name} is not above 0, and no random score is known to measure from")
        else:
            reasons.append(f"{name} {UNLEARNED}")
    return tuple(reasons)


def ratio(setting: Setting, chain: ChainScores, control: Control, visits: Sequence[int]) -> Estimate:
    """Mean over some visits of (area - floor) / (area of the control - floor).

    Both areas are means over the members that both have at these visits. Visits in which the control did not learn are left out; if none
    remains, the ratio is undefined.
    """
    defined = [visit for visit in visits if not control.reasons[visit]]
    if not defined:
        return Estimate(np.nan, of=len(setting.pairs), note=control.reasons[visits[-1]] if visits else "no visits")
    if chain.label == control.name:
        members = int(np.isfinite(chain.area[:, defined]).all(axis=1).sum())
        return Estimate(1.0, members=members, of=len(setting.pairs), note="the reference")
    floor, below = setting.floor[defined], control.area[:, defined]
    found = estimate(mean_ratio(floor), chain.area[:, defined], below, denominator=below - floor)
    if len(defined) == len(visits):
        return found
    return replace(found, note="; ".join(filter(None, [f"over {len(defined)} of {len(visits)} visits", found.note])))


def trend(setting: Setting, chain: ChainScores, control: Control) -> Estimate:
    """Change of a ratio per visit: the slope of the least-squares line through the ratios of all visits that have one.

    Each visit's ratio is a ratio of means over members, as in `ratio`.
    """
    defined = [visit for visit, reason in enumerate(control.reasons) if not reason]
    if not defined:
        return Estimate(np.nan, of=len(setting.pairs), note=control.reasons[-1])
    if len(defined) < ENOUGH_VISITS:
        return Estimate(np.nan, of=len(setting.pairs), note=f"fewer than {ENOUGH_VISITS} visits with a ratio")
    floor, steps = setting.floor[defined], np.array(defined) - np.mean(defined)

    def slope(mine: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        ratios = (mine.mean(axis=-2) - floor) / (fresh.mean(axis=-2) - floor)
        return ratios @ steps / (steps @ steps)

    below = control.area[:, defined]
    return estimate(slope, chain.area[:, defined], below, denominator=below - floor)


def member_ratios(setting: Setting, chain: ChainScores, control: Control) -> np.ndarray:
    """Each member's own (area - floor) / (mean area of the control - floor); (members, visits); NaN if undefined."""
    ratios = np.full(chain.area.shape, np.nan)
    for visit, reason in enumerate(control.reasons):
        if not reason:
            there = control.area[np.isfinite(control.area[:, visit]), visit]
            ratios[:, visit] = (chain.area[:, visit] - setting.floor[visit]) / (there.mean() - setting.floor[visit])
    return ratios


def agrees(difference: Estimate) -> bool:
    """True if the interval of a difference holds 0."""
    return difference.low is None or difference.high is None or difference.low <= 0 <= difference.high


def drift(setting: Setting, control: ChainScores, visits: Sequence[int]) -> Estimate:
    """Score of a chain's control at some visits, less that of the same chain's first visit: 0 where tasks are alike."""
    chain = next((chain for chain in setting.chains if chain.label == control.control_of), None)
    if chain is None or not setting.tasks_alike:
        return Estimate(np.nan, of=len(setting.pairs), note="no run without the reset" if chain is None else "tasks are not alike")
    first = np.repeat(chain.area[:, :1], len(visits), axis=1)
    return estimate(difference, setting.shown(control.area)[:, visits], setting.shown(first))
