"""Streams whose images change while their labels stay: pixels are permuted, scaled or brightened."""

from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar

from envs.supervised.base import ImageTasks, Task
from plasticity_rl.checks import Interval


@dataclass(frozen=True)
class PermutedInputs(ImageTasks):
    """The same images and labels with pixels permuted anew at every task (permuted MNIST; Goodfellow et al. 2013, arXiv 1312.6211).

    One permutation covers all numbers of an image, across colours; the first task is permuted too. The defaults are our choice; those of
    papers are the presets `dohare-permuted`, `kumar-permuted` and `upgd-input-permuted`.
    """

    task_prefix: ClassVar[str] = "pixels"

    @property
    def draws_alike(self) -> bool:
        """True: the first task is permuted too."""
        return True

    def task(self, seed: int, member: int, index: int) -> Task:
        return Task(pixels=self.random(seed, member, "pixels", index).permutation(prod(self.inputs)))


@dataclass(frozen=True)
class DriftingInputs(ImageTasks):
    """The same images and labels, scaled and brightened a little more at every task.

    One of the input non-stationarities of Lyle et al. 2024 (arXiv 2402.18762), whose amounts are not known: these are our choice. The
    drift is the same for all members.
    """

    scale: Annotated[float, Interval("[1e-6, 1_000_000]")] = 10.0
    """factor of all pixels at the last task; 1 at the first, geometric between. Unscaled pixels have standard deviation 1"""
    brightness: Annotated[float, Interval("[-1_000_000, 1_000_000]")] = 0.0
    """offset of all pixels at the last task; 0 at the first, linear between"""

    task_prefix: ClassVar[str] = "drift"

    def task(self, seed: int, member: int, index: int) -> Task:
        progress = index / max(self.tasks - 1, 1)
        return Task(scale=self.scale**progress, shift=self.brightness * progress)
