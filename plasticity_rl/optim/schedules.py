"""The learning rate as a function of updates, over the run or restarted at every visit. Imports no torch."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

from plasticity_rl.checks import Interval, UsageError, check

Clock = Literal["run", "visit"]


@dataclass(frozen=True)
class Constant:
    """Constant learning rate. 1e-3 is Adam's default (arXiv 1412.6980)."""

    rate: Annotated[float, Interval("(0, inf)")] = 1e-3
    """learning rate of every update"""
    clock: Clock = "run"
    """start of the schedule: the run, or every visit, which needs task boundaries"""

    def __post_init__(self) -> None:
        check(self)

    def at(self, update: int, total: int) -> float:
        """The learning rate of update `update` (from 0) of `total`."""
        return self.rate


@dataclass(frozen=True)
class Linear:
    """Linear decay from `rate` to `end`. 6.25e-5 -> 1e-6 is the NaP paper's single-task Rainbow schedule (from a secondary source)."""

    rate: Annotated[float, Interval("(0, inf)")] = 1e-3
    """learning rate of the first update"""
    end: Annotated[float, Interval("[0, inf)")] = 0.0
    """learning rate that would be reached after the last update"""
    clock: Clock = "run"
    """start of the schedule: the run, or every visit, which needs task boundaries"""

    def __post_init__(self) -> None:
        check(self)

    def at(self, update: int, total: int) -> float:
        """The learning rate of update `update` (from 0) of `total`."""
        return self.rate + (self.end - self.rate) * min(update / total, 1.0)


@dataclass(frozen=True)
class WarmupCosine:
    """Linear warm-up from `start` to `rate`, then cosine decay to `end`: optax.warmup_cosine_decay_schedule.

    The defaults are those of the NaP paper's sequential ALE, restarted at every game (two secondary sources agree; 6.25e-4 is ten times DQN
    Zoo's Rainbow rate, so sweep it beside 6.25e-5).
    """

    start: Annotated[float, Interval("[0, inf)")] = 1e-8
    """learning rate of the first update"""
    rate: Annotated[float, Interval("(0, inf)")] = 6.25e-4
    """peak learning rate"""
    end: Annotated[float, Interval("[0, inf)")] = 1e-6
    """learning rate that would be reached after the last update"""
    warmup: Annotated[int, Interval("[0, inf)")] = 1000
    """length of the warm-up, in updates"""
    clock: Clock = "visit"
    """start of the schedule: the run, or every visit, which needs task boundaries"""

    def __post_init__(self) -> None:
        check(self)

    def at(self, update: int, total: int) -> float:
        """The learning rate of update `update` (from 0) of `total`."""
        if update < self.warmup:
            return self.start + (self.rate - self.start) * update / self.warmup
        progress = min((update - self.warmup) / max(total - self.warmup, 1), 1.0)
        return self.end + (self.rate - self.end) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Cyclic:
    """Cosine decays from `rate` to `end` with warm restarts (Loshchilov & Hutter 2017, arXiv 1608.03983).

    Restarts come after `period` updates, then after `growth` times as many, and so on, independent of the tasks. The period is ours.
    """

    rate: Annotated[float, Interval("(0, inf)")] = 1e-3
    """learning rate of the first update of each cosine"""
    end: Annotated[float, Interval("[0, inf)")] = 0.0
    """learning rate that would be reached after the last update of each cosine"""
    period: Annotated[int, Interval("[1, inf)")] = 10_000
    """length of the first cosine, in updates"""
    growth: Annotated[int, Interval("[1, inf)")] = 1
    """factor by which each cosine is longer than the one before; the paper also doubles"""
    clock: Clock = "run"
    """start of the schedule: the run, or every visit, which needs task boundaries"""

    def __post_init__(self) -> None:
        check(self)

    def at(self, update: int, total: int) -> float:
        """The learning rate of update `update` (from 0) of `total`."""
        period = self.period
        if self.growth == 1:
            update %= period
        while update >= period:
            update, period = update - period, period * self.growth
        return self.end + (self.rate - self.end) * 0.5 * (1 + math.cos(math.pi * update / period))


@dataclass(frozen=True)
class Rewarm:
    """Constant `rate` that is raised temporarily to `factor` times as much, to relearn features (after Lyle et al. 2025, arXiv 2507.20057).

    From each update of `updates` the factor rises linearly for `warmup` updates and falls back to 1 along a cosine for `decay`; where two
    overlap, the higher one counts. By default the rate is raised at the start of every visit. Only the paper's abstract was available:
    shape and numbers are ours.
    """

    rate: Annotated[float, Interval("(0, inf)")] = 1e-4
    """learning rate when not raised"""
    updates: tuple[int, ...] = (0,)
    """updates at which the rate begins to rise"""
    factor: Annotated[float, Interval("[1, inf)")] = 10.0
    """peak of the rate, in multiples of `rate`"""
    warmup: Annotated[int, Interval("[0, inf)")] = 1000
    """length of the rise, in updates"""
    decay: Annotated[int, Interval("[1, inf)")] = 50_000
    """length of the fall, in updates"""
    clock: Clock = "visit"
    """start of the schedule: the run, or every visit, which needs task boundaries"""

    def __post_init__(self) -> None:
        check(self)
        check_updates(self, self.updates)

    def at(self, update: int, total: int) -> float:
        """The learning rate of update `update` (from 0) of `total`."""
        raised = max(self._raised(update - since) for since in self.updates)
        return self.rate * (1 + (self.factor - 1) * raised)

    def _raised(self, since: int) -> float:
        """Fraction of the rise, 0 to 1, `since` updates after it began."""
        if 0 <= since < self.warmup:
            return since / self.warmup
        progress = (since - self.warmup) / self.decay
        return 0.5 * (1 + math.cos(math.pi * progress)) if 0 <= progress < 1 else 0.0


@dataclass(frozen=True)
class Recorded:
    """`rate` times recorded factors: linear between `updates`, constant before the first and after the last.

    A network whose weights are projected to their initial norm loses the decay of its effective learning rate that growing weights would
    have brought. This restores a recorded decay, as one factor for all layers. With Adam, whose steps do not depend on the weights' norm,
    the factor is the initial norm over the current norm, here of one layer of member 0 in `text`, the metrics.csv of a run without
    projections:

        rows = [row for row in csv.DictReader(text.splitlines()) if (row["member"], row["name"]) == ("0", "weight_norm/hidden1")]
        lengths = [float(row["value"]) for row in rows]
        Recorded(updates=tuple(int(row["updates"]) for row in rows), factors=tuple(lengths[0] / length for length in lengths))
    """

    rate: Annotated[float, Interval("(0, inf)")] = 1e-3
    """learning rate that is multiplied by the factors; Adam's default"""
    updates: tuple[int, ...] = (0,)
    """updates at which factors were recorded, from 0"""
    factors: tuple[float, ...] = (1.0,)
    """factors at these updates"""
    clock: Clock = "run"
    """start of the schedule: the run, or every visit, which needs task boundaries"""

    def __post_init__(self) -> None:
        check(self)
        check_updates(self, self.updates)
        if len(self.factors) != len(self.updates):
            raise UsageError(f"Recorded: factors must be as many as updates, {len(self.updates)}, not {len(self.factors)}")
        if min(self.factors) < 0:
            raise UsageError(f"Recorded: factors must lie in [0, inf), not {min(self.factors)!r}")

    def at(self, update: int, total: int) -> float:
        """The learning rate of update `update` (from 0) of `total`."""
        after = bisect_right(self.updates, update)
        if after in (0, len(self.updates)):
            return self.rate * self.factors[max(after - 1, 0)]
        (low, high), (first, last) = self.updates[after - 1 : after + 1], self.factors[after - 1 : after + 1]
        return self.rate * (first + (last - first) * (update - low) / (high - low))


def check_updates(part: Any, updates: tuple[int, ...]) -> None:
    """Raise UsageError if `updates` is empty or does not increase from 0 on."""
    if not updates or updates[0] < 0 or any(later <= sooner for sooner, later in pairwise(updates)):
        raise UsageError(f"{type(part).__name__}: updates must be whole numbers that rise, from 0 on, not {updates!r}")
