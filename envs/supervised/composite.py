"""Inputs, labels and the size of targets change together."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from envs.supervised.base import ImageTasks, Task
from envs.supervised.labels import redrawn
from envs.supervised.regression import REACH
from plasticity_rl.checks import Interval


@dataclass(frozen=True)
class Composite(ImageTasks):
    """Inputs drift, the numbers to predict are drawn anew, and their size grows, all at once (Lyle et al. 2024, arXiv 2402.18762).

    The paper's composite of input shift, label reset and target growth: what a value function is learned from. Set one of the changes
    and leave the others at 1, 0 or nearly 0 to take it alone. What the paper shifts and by how much is not known: the amounts are our
    choice. Numbers are normal, cut at 4 deviations; each member has its own.
    """

    input_scale: Annotated[float, Interval("[1e-6, 1_000_000]")] = 3.0
    """what pixels are multiplied by at the last task; 1 at the first, and in equal ratios between"""
    brightness: Annotated[float, Interval("[-1_000_000, 1_000_000]")] = 1.0
    """what is added to every pixel at the last task; 0 at the first, and in equal steps between"""
    fraction: Annotated[float, Interval("(0, 1]")] = 1.0
    """of the numbers that are drawn anew at each task"""
    target_scale: Annotated[float, Interval("[1e-6, 1_000_000]")] = 10.0
    """standard deviation of the numbers at the last task; 1 at the first, and in equal ratios between"""
    target_offset: Annotated[float, Interval("[-1_000_000, 1_000_000]")] = 10.0
    """their mean at the last task; 0 at the first, and in equal steps between"""

    noun: ClassVar[str] = "composite"
    predicts: ClassVar[Literal["classes", "numbers"]] = "numbers"

    @property
    def span(self) -> tuple[float, float]:
        """All numbers lie between."""
        reach = REACH * max(1.0, self.target_scale)
        return min(0.0, self.target_offset) - reach, max(0.0, self.target_offset) + reach

    def task(self, seed: int, member: int, index: int) -> Task:
        gone = index / max(self.tasks - 1, 1)

        def random(each: int) -> np.random.Generator:
            return self.random(seed, member, "numbers", each)

        def draw(source: np.random.Generator, size: int) -> np.ndarray:
            return np.clip(source.standard_normal(size), -REACH, REACH)

        numbers = redrawn(self.images + self.held_out, self.fraction, index, random, draw)
        labels = self.target_offset * gone + self.target_scale**gone * numbers
        return Task(labels=labels.astype(np.float32), scale=self.input_scale**gone, shift=self.brightness * gone)
