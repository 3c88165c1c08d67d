"""Streams whose images change while their labels stay: pixels change places, grow or brighten."""

from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar

from envs.supervised.base import ImageTasks, Task
from plasticity_rl.checks import Interval


@dataclass(frozen=True)
class PermutedInputs(ImageTasks):
    """The same images and labels, all pixels in another order at every task (permuted MNIST; Goodfellow et al. 2013, arXiv 1312.6211).

    One permutation of all numbers of an image, colours too; the first task is permuted as well. The defaults are our choice; the papers'
    are the presets `dohare-permuted`, `kumar-permuted` and `upgd-input-permuted`.
    """

    noun: ClassVar[str] = "pixels"

    def task(self, seed: int, member: int, index: int) -> Task:
        return Task(pixels=self.random(seed, member, "pixels", index).permutation(prod(self.inputs)))


@dataclass(frozen=True)
class DriftingInputs(ImageTasks):
    """The same images and labels, multiplied and brightened a little more at every task.

    One of the non-stationarities of inputs in Lyle et al. 2024 (arXiv 2402.18762), whose amounts are not known: these are our choice. All
    members drift alike.
    """

    scale: Annotated[float, Interval("[1e-6, 1_000_000]")] = 10.0
    """what pixels are multiplied by at the last task; 1 at the first, and in equal ratios between. Pixels have standard deviation 1"""
    brightness: Annotated[float, Interval("[-1_000_000, 1_000_000]")] = 0.0
    """what is added to every pixel at the last task; 0 at the first, and in equal steps between"""

    noun: ClassVar[str] = "drift"

    def task(self, seed: int, member: int, index: int) -> Task:
        gone = index / max(self.tasks - 1, 1)
        return Task(scale=self.scale**gone, shift=self.brightness * gone)
