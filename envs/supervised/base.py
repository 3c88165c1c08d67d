"""What supervised streams share: a task as changes to a set of examples, and the batches of all members at once.

Every task and every draw is a function of (stream, seed, member, index) alone: nothing to save, and a member does not feel the others.
"""

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from envs.sequences import Visit
from envs.supervised import datasets
from plasticity_rl import registry
from plasticity_rl.checks import Interval, check
from plasticity_rl.seeds import Member, derive

BLOCK = 256  # updates whose batches are drawn at a time
CHUNK = 500  # held-out examples that are looked at at a time


class Task(NamedTuple):
    """One member's task, as changes to the examples. None: as the examples are."""

    labels: np.ndarray | None = None
    """of every example, those held out too: classes (examples,) int64, or numbers (examples,) float32"""
    learned: np.ndarray | None = None
    """which examples are learned from, int64; None: all that are not held out"""
    tested: np.ndarray | None = None
    """which examples the member is tested on, int64; None: all that are held out"""
    pixels: np.ndarray | None = None
    """(pixels,) int64: which original pixel stands at each place"""
    scale: np.ndarray | float = 1.0
    """what pixels are multiplied by, each (pixels,) or all"""
    shift: np.ndarray | float = 0.0
    """what is then added"""


@dataclass(frozen=True)
class Tasks(ABC):
    """A sequence of tasks that are learned from labels. All members visit the same names; what stands behind one is each member's own."""

    tasks: Annotated[int, Interval("[1, 100_000]")] = 20
    """different ones"""
    updates: Annotated[int, Interval("[1, inf)")] = 1000
    """of each visit"""
    cycles: Annotated[int, Interval("[1, 100_000]")] = 1
    """how often the whole list is gone through; a task that comes back is the same again"""
    draw: Literal["uniform", "passes"] = "uniform"
    """each example of a batch drawn from all that are learned from; or pass after pass through them, each in an order of its own"""

    supervision: ClassVar[str] = "labels"
    unit: ClassVar[str] = "updates"
    noun: ClassVar[str] = "task"
    """what tasks are called, before their number"""
    predicts: ClassVar[Literal["classes", "numbers"]] = "classes"
    """of the fields of its own"""

    def __post_init__(self) -> None:
        check(self)

    @property
    @abstractmethod
    def inputs(self) -> tuple[int, ...]:
        """Shape of one example."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number of classes; 1 where numbers are predicted."""

    @property
    @abstractmethod
    def examples(self) -> int:
        """How many there are to learn from, at the start of `load`'s; what comes behind them is held out."""

    @abstractmethod
    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """All examples, (n, *inputs) float32, and their labels, (n,), before a task changes them."""

    @abstractmethod
    def task(self, seed: int, member: int, index: int) -> Task:
        """Task `index` of a member."""

    def order(self) -> tuple[int, ...]:
        """The task of each visit."""
        return tuple(range(self.tasks)) * self.cycles

    def visits(self) -> tuple[Visit, ...]:
        """The sequence."""
        met: Counter[int] = Counter()
        visits = []
        for position, index in enumerate(self.order()):
            visits.append(Visit(position, f"{self.noun}-{index}", met[index], self.updates))
            met[index] += 1
        return tuple(visits)

    def references(self) -> dict[str, dict[str, float]]:
        """None: an accuracy or a share of variance speaks for itself."""
        return {}

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: the hash of the examples, their order, every member's tasks and first draws."""
        digest = hashlib.sha256(repr((registry.name(self), sorted(asdict(self).items()))).encode())
        for array in (*self.load(), np.array(self.order())):
            digest.update(array.tobytes())
        for member in range(members):
            digest.update(self.draws(seed, member, 0, 0, 1, self.examples).tobytes())
            for index in range(self.tasks):
                for change in self.task(seed, member, index):
                    digest.update(b"-" if change is None else np.asarray(change).tobytes())
        return digest.hexdigest()[:16]

    def draws(self, seed: int, member: int, visit: int, block: int, batch: int, examples: int) -> np.ndarray:
        """Which of so many examples each of a block's updates sees, (BLOCK, batch)."""
        if self.draw == "uniform":
            return np.random.default_rng(derive(seed, member, "batches", visit, block)).integers(examples, size=(BLOCK, batch))
        size = BLOCK * batch
        first, last = block * size // examples, ((block + 1) * size - 1) // examples
        passes = [np.random.default_rng(derive(seed, member, "pass", visit, each)) for each in range(first, last + 1)]
        drawn = np.concatenate([random.permutation(examples) for random in passes])
        return drawn[block * size - first * examples :][:size].reshape(BLOCK, batch)

    def open(self, members: Sequence[Member], batch: int, device: str) -> "Stream":
        """The stream of those members on `device`."""
        return Stream(self, members, batch, device)


@dataclass(frozen=True)
class ImageTasks(Tasks):
    """Tasks on the images of a dataset."""

    dataset: str = "digits"
    """digits, mnist, cifar10, cifar100; or generated of any size: gaussian-3x32x32, clusters-784-100-7 (100 classes, seed 7)"""
    images: int = 1200
    """learned from: the dataset's first"""
    held_out: int = 0
    """the images after those, which members are tested on at the end of every visit; 0 is no test"""

    def __post_init__(self) -> None:
        most = datasets.shape(self.dataset).images
        check(self, images=f"[1, {most}]", held_out=f"[0, {max(most - self.images, 0)}]")
        Tasks.__post_init__(self)

    @property
    def inputs(self) -> tuple[int, ...]:
        return datasets.shape(self.dataset).inputs

    @property
    def outputs(self) -> int:
        return datasets.shape(self.dataset).classes if self.predicts == "classes" else 1

    @property
    def examples(self) -> int:
        return self.images

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        return datasets.load(self.dataset, self.images + self.held_out)

    def random(self, seed: int, member: int, *purpose: int | str) -> np.random.Generator:
        """Where random numbers for that purpose of a member's tasks come from."""
        return np.random.default_rng(derive(seed, member, *purpose))


class Stream:
    """Batches of all members at once, whatever their seeds."""

    def __init__(self, benchmark: Tasks, members: Sequence[Member], batch: int, device: str) -> None:
        self._benchmark, self._members, self._batch, self._device = benchmark, members, batch, device
        inputs, self._labels = benchmark.load()
        self._shape = inputs.shape[1:]
        self._inputs = torch.tensor(inputs, device=device).flatten(1)
        self._order = benchmark.order()
        self._tasks: list[Task] = []
        self._pixels: Tensor | None = None
        self._moved: tuple[Tensor, Tensor] | None = None
        self._chosen = self._targets = self._variance = torch.empty(0)
        self._visit = self._block = -1

    def batch(self, visit: int, update: int) -> dict[str, Tensor]:
        """Update `update` (from 0) of a visit: inputs (S, batch, *shape) float32; labels (S, batch), classes int64 or numbers float32."""
        self._enter(visit)
        if update // BLOCK != self._block:
            self._fill(update // BLOCK)
        at = update % BLOCK
        return {"inputs": self._look(self._chosen[:, at]), "labels": self._targets[:, at]}

    def tests(self, visit: int) -> Iterator[dict[str, Tensor]]:
        """All that the members are tested on, part by part: inputs and labels as in a batch; weights (S, part) float32, 0 where a member
        has fewer examples than another."""
        self._enter(visit)
        default = np.arange(self._benchmark.examples, len(self._labels))
        tested = [default if task.tested is None else task.tested for task in self._tasks]
        most = max(map(len, tested))
        chosen = np.stack([np.pad(each, (0, most - len(each))) for each in tested])
        labels = np.stack([self._of(task)[each] for task, each in zip(self._tasks, chosen, strict=True)])
        weights = np.arange(most) < np.array([[len(each)] for each in tested])
        for start in range(0, most, CHUNK):
            part = [self._put(array[:, start : start + CHUNK]) for array in (chosen, labels, weights.astype(np.float32))]
            yield {"inputs": self._look(part[0]), "labels": part[1], "weights": part[2]}

    def variance(self, visit: int) -> Tensor:
        """Of the numbers that a member learns from at a visit, (S,) float32: the squared error of the best constant."""
        self._enter(visit)
        return self._variance

    def _enter(self, visit: int) -> None:
        if visit == self._visit:
            return
        index = self._order[visit]
        self._tasks = [self._benchmark.task(seed, member, index) for seed, member in self._members]
        self._visit, self._block = visit, -1
        numbers = (self._of(task)[self._learned(task)] for task in self._tasks)
        self._variance = self._put(np.array([each.var(dtype=np.float64) for each in numbers], np.float32))
        pixels = [task.pixels for task in self._tasks if task.pixels is not None]
        self._pixels = self._put(np.stack(pixels))[:, None] if pixels else None
        scale = self._gather(lambda task: np.atleast_1d(np.float32(task.scale)))[:, None]
        shift = self._gather(lambda task: np.atleast_1d(np.float32(task.shift)))[:, None]
        self._moved = (scale, shift) if (scale != 1).any() or (shift != 0).any() else None

    def _fill(self, block: int) -> None:
        """Draw a block's batches."""
        drawn = []
        for (seed, member), task in zip(self._members, self._tasks, strict=True):
            learned = self._learned(task)
            drawn.append(learned[self._benchmark.draws(seed, member, self._visit, block, self._batch, len(learned))])
        self._block = block
        self._chosen = self._put(np.stack(drawn))
        self._targets = self._put(np.stack([self._of(task)[each] for task, each in zip(self._tasks, drawn, strict=True)]))

    def _look(self, chosen: Tensor) -> Tensor:
        """The examples (S, n) as their members see them, (S, n, *shape)."""
        seen = self._inputs[chosen]
        if self._pixels is not None:
            seen = seen.gather(2, self._pixels.expand(-1, seen.shape[1], -1))
        if self._moved is not None:
            seen = seen * self._moved[0] + self._moved[1]
        return seen.unflatten(2, self._shape)

    def _learned(self, task: Task) -> np.ndarray:
        return np.arange(self._benchmark.examples) if task.learned is None else task.learned

    def _of(self, task: Task) -> np.ndarray:
        return self._labels if task.labels is None else task.labels

    def _gather(self, of_task: Callable[[Task], np.ndarray]) -> Tensor:
        return self._put(np.stack([of_task(task) for task in self._tasks]))

    def _put(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device)
