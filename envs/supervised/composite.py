"""Inputs, targets and the scale of targets change together."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from envs.supervised.base import ImageTasks, Task
from envs.supervised.labels import redrawn
from envs.supervised.regression import REACH
from plasticity_rl.checks import Interval


@dataclass(frozen=True)
class Composite(ImageTasks):
    """Inputs drift while targets are redrawn and grow (Lyle et al. 2024, arXiv 2402.18762).

    The paper's composite of input shift, label reset and target growth, as in learning a value function. Set the scales to 1, brightness
    and offset to 0 or the fraction to nearly 0 to leave a change out. The paper does not say which inputs it shifts and by how much: the
    amounts are our choice. Targets are normal, clipped at 4 standard deviations, and differ between members.
    """

    input_scale: Annotated[float, Interval("[1e-6, 1_000_000]")] = 3.0
    """factor of all pixels at the last task; 1 at the first, geometric between"""
    brightness: Annotated[float, Interval("[-1_000_000, 1_000_000]")] = 1.0
    """offset of all pixels at the last task; 0 at the first, linear between"""
    fraction: Annotated[float, Interval("(0, 1]")] = 1.0
    """share of the targets that is redrawn at each task"""
    target_scale: Annotated[float, Interval("[1e-6, 1_000_000]")] = 10.0
    """standard deviation of the targets at the last task; 1 at the first, geometric between"""
    target_offset: Annotated[float, Interval("[-1_000_000, 1_000_000]")] = 10.0
    """mean of the targets at the last task; 0 at the first, linear between"""

    task_prefix: ClassVar[str] = "composite"
    predicts: ClassVar[Literal["classes", "numbers"]] = "numbers"

    @property
    def target_range(self) -> tuple[float, float]:
        """Lower and upper bound of the targets."""
        reach = REACH * max(1.0, self.target_scale)
        return min(0.0, self.target_offset) - reach, max(0.0, self.target_offset) + reach

    def task(self, seed: int, member: int, index: int) -> Task:
        progress = index / max(self.tasks - 1, 1)

        def random(each: int) -> np.random.Generator:
            return self.random(seed, member, "numbers", each)

        def draw(source: np.random.Generator, size: int) -> np.ndarray:
            return np.clip(source.standard_normal(size), -REACH, REACH)

        numbers = redrawn(self.images + self.held_out, self.fraction, index, random, draw)
        labels = self.target_offset * progress + self.target_scale**progress * numbers
        return Task(labels=labels.astype(np.float32), scale=self.input_scale**progress, shift=self.brightness * progress)
