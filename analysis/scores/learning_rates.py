"""Sensitivity to the learning rate: each chain's score against the rate, over settings that differ in the schedule's rate alone.

A chain is described by its best rate, by the median over its rates, and by the share of its rates within 95% of the best. "Within 95%" is
measured from the floor of the scores: 0, or the mean random score of returns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analysis.data.comparable import OWN, part_fields
from analysis.scores.setting import Setting
from analysis.scores.tuning import selection_score
from analysis.statistics.intervals import Estimate, estimate, mean
from plasticity_rl.records.spec import Spec

LEAST = 3
"""rates that make a curve"""
NEAR = 0.95
"""share of the best score, above the floor, from which a rate counts as near the best"""


class RatePoint(NamedTuple):
    """A chain at one learning rate."""

    rate: float
    curve: np.ndarray
    """(members, visits, windows)"""

    def score(self, tuned_on: str = "lifetime") -> Estimate:
        """Mean score over the first share of the life."""
        return estimate(mean, selection_score(self.curve, tuned_on)[:, None])


@dataclass(frozen=True)
class RateCurve:
    """A chain at several learning rates, in rising order."""

    label: str
    fresh_control: bool
    points: tuple[RatePoint, ...]
    floor: float = 0.0
    """score without learning"""

    @property
    def rates(self) -> list[float]:
        return [point.rate for point in self.points]

    def values(self, tuned_on: str = "lifetime") -> np.ndarray:
        """Score at each rate, NaN where a run has none."""
        return np.array([point.score(tuned_on).value for point in self.points])

    def best(self, tuned_on: str = "lifetime") -> RatePoint | None:
        """The rate that this rule chooses; None without any score."""
        values = self.values(tuned_on)
        return self.points[int(np.nanargmax(values))] if np.isfinite(values).any() else None

    @property
    def median(self) -> float:
        """Median over rates of the score over the whole life; a rate without a score counts as the floor."""
        return float(np.median(np.nan_to_num(self.values(), nan=self.floor)))

    @property
    def near(self) -> float:
        """Share of the rates whose score is within 95% of the best's; NaN where the best is not above the floor."""
        above = np.nan_to_num(self.values(), nan=self.floor) - self.floor
        return float(np.mean(above >= NEAR * above.max())) if above.max() > 0 else np.nan


class RateSweep(NamedTuple):
    """Settings that differ in the schedule's rate alone."""

    settings: tuple[Setting, ...]
    curves: tuple[RateCurve, ...]
    """chains with at least LEAST rates, `none` first, the fresh control last"""


def rate_sweeps(settings: Sequence[Setting]) -> list[RateSweep]:
    """Every sweep over learning rates among these settings."""
    found: dict[str, list[Setting]] = {}
    for setting in settings:
        if _rate(setting.spec) is not None and setting.comparable:
            found.setdefault(_but_rate(setting.spec), []).append(setting)
    sweeps = []
    for alike in found.values():
        alike.sort(key=lambda setting: _rate(setting.spec) or 0.0)
        chains = {chain.label: chain for setting in alike for chain in setting.compared}
        order = sorted(chains, key=lambda label: (chains[label].fresh_control, label != "none", label))
        curves = tuple(each for label in order if len((each := _curve(alike, label)).points) >= LEAST)
        if curves:
            sweeps.append(RateSweep(tuple(alike), curves))
    return sweeps


def _curve(settings: Sequence[Setting], label: str) -> RateCurve:
    points = [
        (RatePoint(_rate(setting.spec) or 0.0, setting.shown(chain.curve)), chain.fresh_control)
        for setting in settings
        for chain in setting.compared
        if chain.label == label
    ]
    floor = settings[0].shown(np.asarray(settings[0].floor)[None]).mean()
    return RateCurve(label, any(fresh for _, fresh in points), tuple(point for point, _ in points), float(floor))


def _rate(spec: Spec) -> float | None:
    rate = part_fields(spec.experiment.get("schedule")).get("rate")
    return float(rate) if isinstance(rate, int | float) else None


def _but_rate(spec: Spec) -> str:
    """Everything that settings of one sweep share."""
    parts = {name: value for name, value in spec.experiment.items() if name not in (*OWN, "metrics", "schedule")}
    schedule = spec.experiment["schedule"]
    fields = {name: value for name, value in schedule[1].items() if name != "rate"}
    return repr((spec.benchmark, parts, schedule[0], fields, spec.visits))
