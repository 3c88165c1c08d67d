"""Streams whose labels change while the images stay: random, permuted or noisy labels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from envs.supervised.base import ImageTasks, Task
from plasticity_rl.checks import Interval, UsageError


@dataclass(frozen=True)
class RandomLabels(ImageTasks):
    """Memorise random labels, new ones at every task (Lyle et al. 2023, arXiv 2303.01486).

    Labels and batches differ between members. The defaults are the demo's: 1,200 images as in Kumar et al. 2023 (arXiv 2308.11958), who
    make 30,000 updates on each of 50 tasks. Labels are drawn uniformly; Kumar et al. shuffle the true ones.
    """

    fraction: Annotated[float, Interval("(0, 1]")] = 1.0
    """share of the labels that is redrawn at each task; a redrawn label may be the old one"""

    task_prefix: ClassVar[str] = "labels"

    def __post_init__(self) -> None:
        ImageTasks.__post_init__(self)
        if self.held_out:
            raise UsageError("RandomLabels: held_out must be 0: random labels of other images cannot be predicted")

    @property
    def draws_alike(self) -> bool:
        """True unless some labels stay."""
        return self.fraction == 1

    def task(self, seed: int, member: int, index: int) -> Task:
        def random(each: int) -> np.random.Generator:
            return self.random(seed, member, "labels", each)

        labels = redrawn(self.images, self.fraction, index, random, lambda source, size: source.integers(self.outputs, size=size))
        return Task(labels=labels.astype(np.int64))


@dataclass(frozen=True)
class PermutedLabels(ImageTasks):
    """Learn the true classes, permuted anew at every task (label-permuted; Elsayed & Mahmood 2024, arXiv 2404.00781).

    Features learned earlier remain useful: only the last layer must change. The first task is permuted too. The defaults are our choice;
    the paper's are the preset `upgd-label-permuted`.
    """

    task_prefix: ClassVar[str] = "names"

    @property
    def draws_alike(self) -> bool:
        """True: the first task is permuted too."""
        return True

    def task(self, seed: int, member: int, index: int) -> Task:
        return Task(labels=self.random(seed, member, "names", index).permutation(self.outputs)[self.load()[1]])


@dataclass(frozen=True)
class NoisyLabels(ImageTasks):
    """True labels with a share replaced by random classes at each task, constant or decaying.

    Held-out labels are clean. Noise is uniform over all classes, including the true one, as in Zaidi et al. 2022 (arXiv 2206.10011; from
    memory, to be confirmed). The defaults are our choice.
    """

    held_out: int = 500
    """number of test images, with true labels: of the dataset's test set, or the next ones; members are tested at the end of every visit,
    with 0 never"""
    noise: Annotated[float, Interval("[0, 1]")] = 0.5
    """share of the labels replaced at the first task"""
    final: Annotated[float, Interval("[0, 1]")] = 0.5
    """share of the labels replaced at the last task; linear between"""

    task_prefix: ClassVar[str] = "noise"

    @property
    def draws_alike(self) -> bool:
        """True unless the noise changes."""
        return self.noise == self.final

    def task(self, seed: int, member: int, index: int) -> Task:
        noise = self.noise + (self.final - self.noise) * index / max(self.tasks - 1, 1)
        return Task(labels=noisy(self.load()[1], self.images, noise, self.outputs, self.random(seed, member, "noise", index)))


def noisy(labels: np.ndarray, images: int, noise: float, classes: int, random: np.random.Generator) -> np.ndarray:
    """The labels with a share `noise` of the first `images`, chosen without replacement, replaced by uniform draws from `classes`."""
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
    """Numbers at task `index`, (count,) float64: all drawn at task 0, and a share `fraction` of them, at least one, redrawn at each later
    task. `random` gives the random generator of a task, `draw` that many numbers from it.
    """
    numbers, missing = np.zeros(count), np.ones(count, bool)
    for each in range(index, -1, -1):  # backwards, until every number's latest draw is found
        source = random(each)
        changed = source.permutation(count)[: max(1, round(fraction * count)) if each else count]
        drawn = draw(source, len(changed))
        numbers[changed] = np.where(missing[changed], drawn, numbers[changed])
        missing[changed] = False
        if not missing.any():
            break
    return numbers
