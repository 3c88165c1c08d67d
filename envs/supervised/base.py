"""Base of supervised benchmarks: tasks as changes to a set of examples, and the batches of all members.

Every task and every draw is a function of (benchmark, seed, member, index) alone: nothing to save, and members are independent.
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

BLOCK = 256  # updates whose batches are drawn together
CHUNK = 500  # held-out examples per batch of a test


class Task(NamedTuple):
    """One member's task, as changes to the examples. None: unchanged."""

    labels: np.ndarray | None = None
    """targets of all examples, also held-out ones: classes, (examples,) int64, or numbers, (examples,) float32"""
    learned: np.ndarray | None = None
    """indices of the training examples, int64; None: all that are not held out"""
    tested: np.ndarray | None = None
    """indices of the test examples, int64; None: all that are held out"""
    pixels: np.ndarray | None = None
    """the original pixel at each place, (pixels,) int64"""
    scale: np.ndarray | float = 1.0
    """factor of each pixel, (pixels,), or of all"""
    shift: np.ndarray | float = 0.0
    """offset added to each scaled pixel, (pixels,), or to all"""


@dataclass(frozen=True)
class Tasks(ABC):
    """Base of supervised benchmarks: a sequence of tasks learned from labels.

    All members visit the same task names; the tasks behind them differ between members.
    """

    tasks: Annotated[int, Interval("[1, 100_000]")] = 20
    """number of different tasks"""
    updates: Annotated[int, Interval("[1, inf)")] = 1000
    """updates per visit"""
    cycles: Annotated[int, Interval("[1, 100_000]")] = 1
    """number of passes through the sequence of tasks; a task that returns is unchanged"""
    draw: Literal["uniform", "passes"] = "uniform"
    """training examples: drawn uniformly with replacement, or in passes, each in a new random order"""
    gradual: Annotated[float, Interval("[0, 1]")] = 0.0
    """share of a visit over which the last task turns into the new one: each example, input and label, is of the last task with a
    probability that falls linearly from 1 to 0; 0: at once"""
    told: bool = True
    """whether the learner is told of task changes. If not, no schedule restarts at one (`clock=visit` is then the run's), and no method may
    refresh at tasks. Controls that start over are told"""

    supervision: ClassVar[str] = "labels"
    unit: ClassVar[str] = "updates"
    task_prefix: ClassVar[str] = "task"
    """first part of task names, before the number"""
    predicts: ClassVar[Literal["classes", "numbers"]] = "classes"
    """kind of targets"""

    def __post_init__(self) -> None:
        check(self)

    @property
    @abstractmethod
    def inputs(self) -> tuple[int, ...]:
        """Shape of one example."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number of classes; 1 if numbers are predicted."""

    @property
    @abstractmethod
    def examples(self) -> int:
        """Number of training examples: the first of `load`'s; the others are held out."""

    @abstractmethod
    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """All examples, (n, *inputs) float32, and their labels, (n,), before changes by a task."""

    @abstractmethod
    def task(self, seed: int, member: int, index: int) -> Task:
        """Task `index` of a member."""

    def order(self) -> tuple[int, ...]:
        """The task index of each visit."""
        return tuple(range(self.tasks)) * self.cycles

    def visits(self) -> tuple[Visit, ...]:
        """The sequence of tasks with budgets in updates."""
        visited: Counter[int] = Counter()
        visits = []
        for position, index in enumerate(self.order()):
            visits.append(Visit(position, f"{self.task_prefix}-{index}", visited[index], self.updates, self.told))
            visited[index] += 1
        return tuple(visits)

    @property
    def tasks_alike(self) -> bool:
        """True if every visit is a new draw of one distribution of tasks, as `draws_alike` says, and comes at once."""
        return self.draws_alike and self.cycles == 1 and not self.gradual

    @property
    def draws_alike(self) -> bool:
        """True if all tasks are independent draws of one distribution."""
        return False

    def references(self) -> dict[str, dict[str, float]]:
        """Empty: accuracies and shares of explained variance need no reference scores."""
        return {}

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: hash of the examples, their order, every member's tasks and first draws."""
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
        """Indices below `examples` of the batches of one block of updates, (BLOCK, batch)."""
        if self.draw == "uniform":
            return np.random.default_rng(derive(seed, member, "batches", visit, block)).integers(examples, size=(BLOCK, batch))
        size = BLOCK * batch
        first, last = block * size // examples, ((block + 1) * size - 1) // examples
        passes = [np.random.default_rng(derive(seed, member, "pass", visit, each)) for each in range(first, last + 1)]
        drawn = np.concatenate([random.permutation(examples) for random in passes])
        return drawn[block * size - first * examples :][:size].reshape(BLOCK, batch)

    def open(self, members: Sequence[Member], batch: int, device: str) -> "Stream":
        """The stream of these members on `device`."""
        return Stream(self, members, batch, device)


@dataclass(frozen=True)
class ImageTasks(Tasks):
    """Base of supervised benchmarks on the images of a dataset."""

    dataset: str = "digits"
    """digits, mnist, mnist-5k, cifar10, cifar100; generated of any size: gaussian-3x32x32, clusters-784-100-7 (100 classes, seed 7),
    atari-frames, atari-frames-Pong+Breakout-1x84x84-7; a file (.npz, .csv, .parquet), or a plugin's function (docs/data.md)"""
    images: int = 1200
    """number of training images, the dataset's first"""
    held_out: int = 0
    """number of test images: of the dataset's test set, or the next ones; members are tested at the end of every visit, with 0 never"""

    def __post_init__(self) -> None:
        known = datasets.shape(self.dataset)
        check(self, images=f"[1, {known.images}]", held_out=f"[0, {known.tests or max(known.images - self.images, 0)}]")
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
        return datasets.load(self.dataset, self.images, self.held_out)

    def random(self, seed: int, member: int, *purpose: int | str) -> np.random.Generator:
        """The random generator for one purpose of a member's tasks."""
        return np.random.default_rng(derive(seed, member, *purpose))


class Stream:
    """Batches of all members, stacked; members may have different seeds."""

    def __init__(self, benchmark: Tasks, members: Sequence[Member], batch: int, device: str) -> None:
        self._benchmark, self._members, self._batch, self._device = benchmark, members, batch, device
        inputs, self._labels = benchmark.load()
        self._shape = inputs.shape[1:]
        self._inputs = torch.tensor(inputs, device=device).flatten(1)
        self._order = benchmark.order()
        self._mixed = benchmark.gradual * benchmark.updates
        """updates of a visit, also in part, whose examples may be of the last task"""
        self._tasks = self._last_tasks = list[Task]()
        self._change = self._last_change = _Change()
        self._drawn = self._last_drawn = (torch.empty(0), torch.empty(0))
        """indices and labels of the current block's examples, (S, BLOCK, batch)"""
        self._from_last = self._variance = torch.empty(0)
        self._visit = self._block = -1

    def batch(self, visit: int, update: int) -> dict[str, Tensor]:
        """The batch of update `update` (from 0) of a visit: inputs (S, batch, *shape) float32; labels (S, batch), int64 or float32."""
        self._enter(visit)
        if update // BLOCK != self._block:
            self._fill(update // BLOCK)
        at = update % BLOCK
        chosen, labels = (each[:, at] for each in self._drawn)
        inputs = self._changed_inputs(chosen, self._change)
        if visit and update < self._mixed:
            last, old = self._from_last[:, at], [each[:, at] for each in self._last_drawn]
            labels = torch.where(last, old[1], labels)
            places = last.unflatten(1, (-1, *(1 for _ in self._shape)))
            inputs = torch.where(places, self._changed_inputs(old[0], self._last_change), inputs)
        return {"inputs": inputs, "labels": labels}

    def tests(self, visit: int) -> Iterator[dict[str, Tensor]]:
        """All test examples in batches of at most CHUNK: inputs and labels as in `batch`; weights (S, n) float32, 0 for the padding of a
        member with fewer examples than another.
        """
        self._enter(visit)
        default = np.arange(self._benchmark.examples, len(self._labels))
        tested = [default if task.tested is None else task.tested for task in self._tasks]
        most = max(map(len, tested))
        chosen = np.stack([np.pad(each, (0, most - len(each))) for each in tested])
        labels = np.stack([self._labels_of(task)[each] for task, each in zip(self._tasks, chosen, strict=True)])
        weights = np.arange(most) < np.array([[len(each)] for each in tested])
        for start in range(0, most, CHUNK):
            chunk = [self._tensor(array[:, start : start + CHUNK]) for array in (chosen, labels, weights.astype(np.float32))]
            yield {"inputs": self._changed_inputs(chunk[0], self._change), "labels": chunk[1], "weights": chunk[2]}

    def variance(self, visit: int) -> Tensor:
        """Variance of each member's training targets at a visit, (S,) float32: the squared error of the best constant."""
        self._enter(visit)
        return self._variance

    def _enter(self, visit: int) -> None:
        if visit == self._visit:
            return
        self._visit, self._block = visit, -1
        self._tasks = self._tasks_of(visit)
        numbers = (self._labels_of(task)[self._training(task)] for task in self._tasks)
        self._variance = self._tensor(np.array([each.var(dtype=np.float64) for each in numbers], np.float32))
        self._change = self._change_of(self._tasks)
        if visit and self._mixed:
            self._last_tasks = self._tasks_of(visit - 1)
            self._last_change = self._change_of(self._last_tasks)

    def _fill(self, block: int) -> None:
        """Draw the batches of a block."""
        self._block = block
        self._drawn = self._draw(block, self._tasks)
        if self._visit and block * BLOCK < self._mixed:
            self._last_drawn = self._draw(block, self._last_tasks)
            shares = np.arange(block * BLOCK, (block + 1) * BLOCK)[:, None] / self._mixed
            randoms = [np.random.default_rng(derive(*member, "last task", self._visit, block)) for member in self._members]
            self._from_last = self._tensor(np.stack([random.random((BLOCK, self._batch)) >= shares for random in randoms]))

    def _draw(self, block: int, tasks: Sequence[Task]) -> tuple[Tensor, Tensor]:
        """Indices and labels of a block's examples, as the visit to these tasks draws them."""
        drawn = []
        for (seed, member), task in zip(self._members, tasks, strict=True):
            learned = self._training(task)
            drawn.append(learned[self._benchmark.draws(seed, member, self._visit, block, self._batch, len(learned))])
        labels = np.stack([self._labels_of(task)[each] for task, each in zip(tasks, drawn, strict=True)])
        return self._tensor(np.stack(drawn)), self._tensor(labels)

    def _tasks_of(self, visit: int) -> list[Task]:
        return [self._benchmark.task(seed, member, self._order[visit]) for seed, member in self._members]

    def _change_of(self, tasks: Sequence[Task]) -> "_Change":
        pixels = [task.pixels for task in tasks if task.pixels is not None]
        scale = self._gather(tasks, lambda task: np.atleast_1d(np.float32(task.scale)))[:, None]
        shift = self._gather(tasks, lambda task: np.atleast_1d(np.float32(task.shift)))[:, None]
        return _Change(
            self._tensor(np.stack(pixels))[:, None] if pixels else None,
            (scale, shift) if (scale != 1).any() or (shift != 0).any() else None,
        )

    def _changed_inputs(self, chosen: Tensor, change: "_Change") -> Tensor:
        """The inputs of examples (S, n), changed by each member's task, (S, n, *shape)."""
        inputs = self._inputs[chosen]
        if change.pixels is not None:
            inputs = inputs.gather(2, change.pixels.expand(-1, inputs.shape[1], -1))
        if change.affine is not None:
            inputs = inputs * change.affine[0] + change.affine[1]
        return inputs.unflatten(2, self._shape)

    def _training(self, task: Task) -> np.ndarray:
        return np.arange(self._benchmark.examples) if task.learned is None else task.learned

    def _labels_of(self, task: Task) -> np.ndarray:
        return self._labels if task.labels is None else task.labels

    def _gather(self, tasks: Sequence[Task], of_task: Callable[[Task], np.ndarray]) -> Tensor:
        return self._tensor(np.stack([of_task(task) for task in tasks]))

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device)


class _Change(NamedTuple):
    """Changes of the inputs by the tasks of all members; None changes nothing."""

    pixels: Tensor | None = None
    """(S, 1, pixels) the original pixel at each place"""
    affine: tuple[Tensor, Tensor] | None = None
    """factors and offsets, (S, 1, pixels or 1) each"""
