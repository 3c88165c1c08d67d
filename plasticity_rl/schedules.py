"""The learning rate as a function of updates, over the run or started again at every visit. Imports no torch."""

import math
from dataclasses import dataclass
from typing import Literal

from plasticity_rl.checks import check

Clock = Literal["run", "visit"]


@dataclass(frozen=True)
class Constant:
    """One rate throughout. 1e-3 is Adam's default (arXiv 1412.6980)."""

    rate: float = 1e-3
    clock: Clock = "run"

    def __post_init__(self) -> None:
        check(self, rate="(0, inf)")

    def at(self, update: int, total: int) -> float:
        """The rate of update `update` (from 0) of `total`."""
        return self.rate


@dataclass(frozen=True)
class Linear:
    """A straight line from `rate` to `end`. 6.25e-5 -> 1e-6 is the NaP paper's single-task Rainbow schedule (by a secondary source)."""

    rate: float = 1e-3
    end: float = 0.0
    """rate that would be reached after the last update"""
    clock: Clock = "run"

    def __post_init__(self) -> None:
        check(self, rate="(0, inf)", end="[0, inf)")

    def at(self, update: int, total: int) -> float:
        """The rate of update `update` (from 0) of `total`."""
        return self.rate + (self.end - self.rate) * min(update / total, 1.0)


@dataclass(frozen=True)
class WarmupCosine:
    """A linear warm-up from `start` to `rate`, then half a cosine down to `end`: optax.warmup_cosine_decay_schedule.

    The defaults are those of the NaP paper's sequential ALE, restarted at every game (by two secondary sources that agree; 6.25e-4 is ten
    times DQN Zoo's Rainbow rate, so sweep it beside 6.25e-5).
    """

    start: float = 1e-8
    rate: float = 6.25e-4
    """the peak"""
    end: float = 1e-6
    warmup: int = 1000
    """updates of the warm-up"""
    clock: Clock = "visit"

    def __post_init__(self) -> None:
        check(self, start="[0, inf)", rate="(0, inf)", end="[0, inf)", warmup="[0, inf)")

    def at(self, update: int, total: int) -> float:
        """The rate of update `update` (from 0) of `total`."""
        if update < self.warmup:
            return self.start + (self.rate - self.start) * update / self.warmup
        progress = min((update - self.warmup) / max(total - self.warmup, 1), 1.0)
        return self.end + (self.rate - self.end) * 0.5 * (1 + math.cos(math.pi * progress))
