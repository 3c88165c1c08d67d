"""Streams whose data grow or arrive in parts: more images, more classes, or classes that come and go. Scores are on held-out images."""

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
    """Train on part of the images, then on more, then on all: does a warm start generalise as well as a fresh one?

    Two stages, the first with half of the images, are the warm start of Ash & Adams 2020 (arXiv 1910.08475), who train each stage until
    99% of its images are learned; here all have the same budget. With `first=1` all stages have all images and differ only by the chain's
    interventions: the re-initialisation of Zaidi et al. 2022 (arXiv 2206.10011), where stages share one budget. The order of the images
    and the noise differ between members and are the same in all stages; held-out labels are clean. The score is the accuracy on held-out
    images.
    """

    tasks: int = 2
    """number of stages"""
    updates: int = 2000
    """updates per stage"""
    held_out: int = 500
    """number of test images, with true labels: of the dataset's test set, or the next ones; members are tested at the end of every visit,
    with 0 never"""
    first: Annotated[float, Interval("(0, 1]")] = 0.5
    """share of the images in the first stage; it grows linearly to 1 in the last"""
    noise: Annotated[float, Interval("[0, 1]")] = 0.0
    """share of the training labels replaced by random classes, the same in all stages"""

    task_prefix: ClassVar[str] = "stage"

    def task(self, seed: int, member: int, index: int) -> Task:
        share = self.first + (1 - self.first) * index / max(self.tasks - 1, 1)
        order = self.random(seed, member, "order").permutation(self.images)
        labels = noisy(self.load()[1], self.images, self.noise, self.outputs, self.random(seed, member, "noise"))
        return Task(labels=labels, learned=np.sort(order[: max(1, round(share * self.images))]))


@dataclass(frozen=True)
class ClassIncremental(ImageTasks):
    """A few new classes arrive at each task, and earlier ones stay (Dohare et al. 2024, Nature 632).

    The paper uses CIFAR-100, five classes at a time, with a ResNet-18. The order of the classes differs between members. One head serves
    all classes. Members are tested on held-out images of the classes that have arrived. The defaults are our choice.
    """

    tasks: int = 5
    """number of tasks, each with new classes"""
    held_out: int = 500
    """number of test images: of the dataset's test set, or the next ones; members are tested at the end of every visit, with 0 never"""
    arriving: Annotated[int, Interval("[1, 10_000]")] = 2
    """number of new classes at a task"""
    keep: bool = True
    """whether images of earlier classes remain in the training data"""

    task_prefix: ClassVar[str] = "classes"

    def __post_init__(self) -> None:
        ImageTasks.__post_init__(self)
        if self.tasks * self.arriving > self.outputs:
            raise UsageError(f"ClassIncremental: {self.tasks} tasks of {self.arriving} classes need more than {self.outputs} classes")

    def task(self, seed: int, member: int, index: int) -> Task:
        order, labels = self.random(seed, member, "order").permutation(self.outputs), self.load()[1]
        arrived = order[: (index + 1) * self.arriving]
        learned = np.flatnonzero(np.isin(labels[: self.images], arrived if self.keep else arrived[-self.arriving :]))
        if not len(learned):
            raise UsageError(
                f"ClassIncremental: the first {self.images} images of {self.dataset} lack all classes of a task; use more images"
            )
        return Task(learned=learned, tested=self.images + np.flatnonzero(np.isin(labels[self.images :], arrived)))


@dataclass(frozen=True)
class Recurring(ImageTasks):
    """Tasks of a few classes each return in random order: does knowledge accumulate (SCoLe; Lesort et al. 2023, arXiv 2207.04543)?

    The order of visits is the same for all members and seeds; the classes of a task differ between members. Members are tested on
    held-out images of all classes. The paper's settings are from memory, the defaults our choice.
    """

    tasks: int = 10
    """number of different tasks"""
    updates: int = 200
    """updates per visit"""
    held_out: int = 500
    """number of test images: of the dataset's test set, or the next ones; members are tested at the end of every visit, with 0 never"""
    length: Annotated[int, Interval("[1, 1_000_000]")] = 50
    """number of visits in one cycle, each to a task drawn from all"""
    classes: Annotated[int, Interval("[1, 10_000]")] = 2
    """number of classes of a task"""

    task_prefix: ClassVar[str] = "subset"

    def __post_init__(self) -> None:
        ImageTasks.__post_init__(self)
        if self.classes > self.outputs:
            raise UsageError(f"Recurring: classes must be at most {self.outputs}, not {self.classes}")

    def order(self) -> tuple[int, ...]:
        return _drawn_order(self.tasks, self.length) * self.cycles

    def task(self, seed: int, member: int, index: int) -> Task:
        chosen = self.random(seed, member, "subset", index).permutation(self.outputs)[: self.classes]
        learned = np.flatnonzero(np.isin(self.load()[1][: self.images], chosen))
        if not len(learned):
            raise UsageError(f"Recurring: the first {self.images} images of {self.dataset} lack all classes of a task; use more images")
        return Task(learned=learned)


@lru_cache(maxsize=16)
def _drawn_order(tasks: int, length: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(derive("recurring")).integers(tasks, size=length).tolist())
