"""Streams whose data grow or come in parts: more images, more classes, or classes that come and go. What counts are held-out images."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np

from envs.supervised.base import ImageTasks, Task
from envs.supervised.labels import noisy
from plasticity_rl.checks import Interval, UsageError
from plasticity_rl.seeds import derive


@dataclass(frozen=True)
class GrowingData(ImageTasks):
    """Stages of one problem: train on a part of the images, then on more, then on all. Is a warm start worth a fresh one?

    Two stages, the first with half of the images, are the warm start of Ash & Adams 2020 (arXiv 1910.08475), who train each stage until
    99% of its images are learned; here both have the same budget. With `first=1` all stages have all images, and what happens between them
    is the chain's: the re-initialisation of Zaidi et al. 2022 (arXiv 2206.10011), where stages share one budget. Each member has its own
    order of the images and noise, the same in all stages; held-out labels are clean. The score is the accuracy on held-out images.
    """

    tasks: int = 2
    """stages"""
    updates: int = 2000
    """of each stage"""
    held_out: int = 500
    """the images after those, which members are tested on at the end of every visit, with true labels; 0 is no test"""
    first: Annotated[float, Interval("(0, 1]")] = 0.5
    """share of the images that the first stage has; it grows by equal steps to all of them"""
    noise: Annotated[float, Interval("[0, 1]")] = 0.0
    """share of the labels learned from that is replaced by random classes, once and for all"""

    noun: ClassVar[str] = "stage"

    def task(self, seed: int, member: int, index: int) -> Task:
        share = self.first + (1 - self.first) * index / max(self.tasks - 1, 1)
        order = self.random(seed, member, "order").permutation(self.images)
        labels = noisy(self.load()[1], self.images, self.noise, self.outputs, self.random(seed, member, "noise"))
        return Task(labels=labels, learned=np.sort(order[: max(1, round(share * self.images))]))


@dataclass(frozen=True)
class ClassIncremental(ImageTasks):
    """Classes come a few at a time, in an order of each member's own, and those met stay (Dohare et al. 2024, Nature 632).

    The paper's are CIFAR-100's, five at a time, with a ResNet-18. One head for all classes. Members are tested on held-out images of
    the classes met so far. The defaults are our choice.
    """

    tasks: int = 5
    """times that new classes come"""
    held_out: int = 500
    """the images after those, which members are tested on at the end of every visit; 0 is no test"""
    arriving: Annotated[int, Interval("[1, 10_000]")] = 2
    """classes that come at a task"""
    keep: bool = True
    """are the images of earlier classes still learned from?"""

    noun: ClassVar[str] = "classes"

    def __post_init__(self) -> None:
        ImageTasks.__post_init__(self)
        if self.tasks * self.arriving > self.outputs:
            raise UsageError(f"ClassIncremental: {self.tasks} tasks of {self.arriving} classes need more than {self.outputs} classes")

    def task(self, seed: int, member: int, index: int) -> Task:
        order, labels = self.random(seed, member, "order").permutation(self.outputs), self.load()[1]
        met = order[: (index + 1) * self.arriving]
        learned = np.flatnonzero(np.isin(labels[: self.images], met if self.keep else met[-self.arriving :]))
        if not len(learned):
            raise UsageError(f"ClassIncremental: the first {self.images} images of {self.dataset} have none of some classes; take more")
        return Task(learned=learned, tested=self.images + np.flatnonzero(np.isin(labels[self.images :], met)))


@dataclass(frozen=True)
class Recurring(ImageTasks):
    """Tasks of a few classes each come back at random: does knowledge accumulate (SCoLe; Lesort et al. 2023, arXiv 2207.04543)?

    The order of visits is drawn once for all members and seeds; which classes a task has is each member's own. Members are tested on
    held-out images of all classes. The paper's settings are from memory, the defaults our choice.
    """

    tasks: int = 10
    """different ones"""
    updates: int = 200
    """of each visit"""
    held_out: int = 500
    """the images after those, which members are tested on at the end of every visit; 0 is no test"""
    length: Annotated[int, Interval("[1, 1_000_000]")] = 50
    """visits in one cycle, each to a task drawn from all"""
    classes: Annotated[int, Interval("[1, 10_000]")] = 2
    """of each task"""

    noun: ClassVar[str] = "subset"

    def __post_init__(self) -> None:
        ImageTasks.__post_init__(self)
        if self.classes > self.outputs:
            raise UsageError(f"Recurring: classes can be {self.outputs} at most, not {self.classes}")

    def order(self) -> tuple[int, ...]:
        return _drawn_order(self.tasks, self.length) * self.cycles

    def task(self, seed: int, member: int, index: int) -> Task:
        chosen = self.random(seed, member, "subset", index).permutation(self.outputs)[: self.classes]
        learned = np.flatnonzero(np.isin(self.load()[1][: self.images], chosen))
        if not len(learned):
            raise UsageError(f"Recurring: the first {self.images} images of {self.dataset} have none of some classes; take more")
        return Task(learned=learned)


@lru_cache(maxsize=16)
def _drawn_order(tasks: int, length: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(derive("recurring")).integers(tasks, size=length).tolist())
