"""Reward per step of runs whose learner is not told of task changes: exponentially weighted means over the steps of a member.

At step s it is sum_t w^(s - t) r_t / sum_t w^(s - t) over the steps t = 1..s, w = 2^(-1 / half-life); the denominator corrects for the
start. scores.csv holds the rewards of whole episodes and of those that were cut, each at the step of its end, where all of it counts.
So rewards of long episodes come late: a curve stands too high where a visit's end cuts them, and too low until the next ones end.
"""

from dataclasses import dataclass

import numpy as np

from analysis.data.comparable import part_fields
from analysis.data.load import Loaded
from analysis.scores.setting import Setting
from analysis.statistics.intervals import Estimate, estimate, mean

HALF_LIFE = 0.1
"""half-life, in shares of the time between two task changes; this project's choice"""
POINTS = 200
"""points of a curve"""


@dataclass(frozen=True, eq=False)
class Rewards:
    """Reward per step of one chain."""

    label: str
    fresh_control: bool
    steps: np.ndarray
    """(points,) steps of a member"""
    weighted: np.ndarray
    """(members, points) exponentially weighted mean; NaN after the last row of a member"""
    total: np.ndarray
    """(members,) plain mean over all steps; NaN for an unfinished run"""

    def at(self, step: float) -> Estimate:
        """The weighted mean at the last point up to a step."""
        return estimate(mean, self.weighted[:, [int(np.searchsorted(self.steps, step, side="right")) - 1]])

    @property
    def whole(self) -> Estimate:
        """The mean over the whole run."""
        return estimate(mean, self.total[:, None])


def untold(setting: Setting) -> bool:
    """True if the benchmark keeps task changes from the learner, which learns from rewards."""
    return setting.kind == "return" and part_fields(setting.spec.experiment.get("benchmark")).get("told") is False


def half_life(setting: Setting) -> float:
    """Half-life in steps of a member."""
    return HALF_LIFE * float(np.diff(setting.edges).min())


def rewards(loaded: Loaded, setting: Setting) -> tuple[Rewards, ...]:
    """A row for each chain, in the setting's order; none where task changes are told."""
    if not untold(setting):
        return ()
    end = float(setting.edges[-1])
    steps = np.linspace(0, end, POINTS + 1)[1:]
    places = {pair: place for place, pair in enumerate(setting.pairs)}
    found = {chain.label: np.full((len(places), POINTS), np.nan) for chain in setting.chains}
    totals = {chain.label: np.full(len(places), np.nan) for chain in setting.chains}
    for run in setting.runs:
        rows = loaded.of(run)
        rows = rows.loc[rows.kind.isin(("return", "cut")).to_numpy() & np.isfinite(rows.score.to_numpy())]
        for member, own in rows.groupby("member"):
            place, at, paid = places[run.spec.seed, int(member)], own.frames.to_numpy(), own.score.to_numpy()  # type: ignore[arg-type]
            curve = weighted_mean(at, paid, steps, half_life(setting))
            found[run.spec.label][place] = np.where(steps <= at.max(), curve, np.nan)
            totals[run.spec.label][place] = paid.sum() / end if at.max() >= end else np.nan
    return tuple(Rewards(each.label, each.fresh_control, steps, found[each.label], totals[each.label]) for each in setting.compared)


def weighted_mean(at: np.ndarray, paid: np.ndarray, steps: np.ndarray, half_life: float) -> np.ndarray:
    """Exponentially weighted mean reward per step at each of the growing `steps` (points,), of rewards `paid` at the steps `at` (n,)."""
    bins = np.searchsorted(steps, at)
    there = bins < len(steps)
    gained = np.bincount(bins[there], paid[there] * 0.5 ** ((steps[bins[there]] - at[there]) / half_life), minlength=len(steps))
    kept = 0.5 ** (np.diff(steps, prepend=0.0) / half_life)
    sums = np.zeros(len(steps))
    for point in range(len(steps)):
        sums[point] = (sums[point - 1] if point else 0.0) * kept[point] + gained[point]
    return sums * (1 - 0.5 ** (1 / half_life)) / (1 - 0.5 ** (steps / half_life))
