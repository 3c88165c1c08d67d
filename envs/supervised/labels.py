"""Streams whose labels change while the images stay: drawn at random, renamed, or noisy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from envs.supervised.base import ImageTasks, Task
from plasticity_rl.checks import Interval, UsageError


@dataclass(frozen=True)
class RandomLabels(ImageTasks):
    """Memorise labels that have nothing to do with the images, then others, and again (Lyle et al. 2023, arXiv 2303.01486).

    Each member has labels and batches of its own. The defaults are the demo's: 1,200 images as in Kumar et al. 2023 (arXiv 2308.11958), who
    stay 30,000 updates at each of 50 tasks. Labels are drawn uniformly; Kumar et al. shuffle the true ones.
    """

    fraction: Annotated[float, Interval("(0, 1]")] = 1.0
    """of the labels that are drawn anew at each task; a drawn label may be the old one"""

    noun: ClassVar[str] = "labels"

    def __post_init__(self) -> None:
        ImageTasks.__post_init__(self)
        if self.held_out:
            raise UsageError("RandomLabels: held_out must be 0: random labels of other images cannot be known")

    def task(self, seed: int, member: int, index: int) -> Task:
        def random(each: int) -> np.random.Generator:
            return self.random(seed, member, "labels", each)

        labels = redrawn(self.images, self.fraction, index, random, lambda source, size: source.integers(self.outputs, size=size))
        return Task(labels=labels.astype(np.int64))


@dataclass(frozen=True)
class PermutedLabels(ImageTasks):
    """Learn the true classes under new names at every task (label-permuted; Elsayed & Mahmood 2024, arXiv 2404.00781).

    What was learned of the images stays of use: only the last layer must change. The first task's names are permuted too. The defaults are
    our choice; the paper's are the preset `upgd-label-permuted`.
    """

    noun: ClassVar[str] = "names"

    def task(self, seed: int, member: int, index: int) -> Task:
        return Task(labels=self.random(seed, member, "names", index).permutation(self.outputs)[self.load()[1]])


@dataclass(frozen=True)
class NoisyLabels(ImageTasks):
    """The true labels, a share of them replaced by random classes, others at each task: of one size, or decaying.

    Held-out labels are clean. Noise is uniform over all classes, the right one too, as in Zaidi et al. 2022 (arXiv 2206.10011; from memory,
    to be confirmed). The defaults are our choice.
    """

    held_out: int = 500
    """the images after those, which members are tested on at the end of every visit, with true labels; 0 is no test"""
    noise: Annotated[float, Interval("[0, 1]")] = 0.5
    """share of the labels that is replaced at the first task"""
    final: Annotated[float, Interval("[0, 1]")] = 0.5
    """and at the last; the tasks between lie on a line"""

    noun: ClassVar[str] = "noise"

    def task(self, seed: int, member: int, index: int) -> Task:
        noise = self.noise + (self.final - self.noise) * index / max(self.tasks - 1, 1)
        return Task(labels=noisy(self.load()[1], self.images, noise, self.outputs, self.random(seed, member, "noise", index)))


def noisy(labels: np.ndarray, images: int, noise: float, classes: int, random: np.random.Generator) -> np.ndarray:
    """A share `noise` of the first `images` labels replaced by uniform classes: of so many, chosen without replacement."""
    labels = labels.copy()
    replaced = random.permutation(images)[: round(noise * images)]
    labels[replaced] = random.integers(classes, size=len(replaced))
    return labels


def redrawn(
    count: int,
    fraction: float,
    index: int,
    random: Callable[[int], np.random.Generator],
    draw: Callable[[np.random.Generator, int], np.ndarray],
) -> np.ndarray:
    """Numbers at task `index`, (count,) float64: all are drawn at task 0, and a share `fraction` of them, at least one, anew at each later
    task. `random` says where a task's random numbers come from."""
    numbers, missing = np.zeros(count), np.ones(count, bool)
    for each in range(index, -1, -1):  # backwards: where every number's last draw is found, what came before does not matter
        source = random(each)
        changed = source.permutation(count)[: max(1, round(fraction * count)) if each else count]
        drawn = draw(source, len(changed))
        numbers[changed] = np.where(missing[changed], drawn, numbers[changed])
        missing[changed] = False
        if not missing.any():
            break
    return numbers
