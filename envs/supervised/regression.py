"""Regression streams: random functions of images, also with a large mean, and slowly changing bits."""

from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar, Literal

import numpy as np

from envs.supervised.base import ImageTasks, Task, Tasks
from plasticity_rl.checks import Interval
from plasticity_rl.seeds import derive

REACH = 4.0  # standard deviations at which targets are clipped
Function = Literal["network", "sine"]


@dataclass(frozen=True)
class Teachers(ImageTasks):
    """Predict the outputs of a random network, the teacher; every task has another teacher.

    A teacher has one hidden layer of 100 tanh units with normal weights; the size is our choice. Its outputs are standardised over the
    images (mean 0, standard deviation 1, clipped at 4 deviations, rounded to 4 decimals so that all machines agree), then scaled and
    shifted.
    """

    function: Function = "network"
    """outputs of the teacher, or sin(1e5 x) of them, whose high frequency prevents generalisation (Lyle et al. 2023, arXiv 2303.01486)"""
    scale: Annotated[float, Interval("(0, inf)")] = 1.0
    """standard deviation of the targets"""
    offset: float = 0.0
    """mean of the targets"""

    task_prefix: ClassVar[str] = "teacher"
    predicts: ClassVar[Literal["classes", "numbers"]] = "numbers"

    @property
    def target_range(self) -> tuple[float, float]:
        """Lower and upper bound of the targets."""
        return self.offset - REACH * self.scale, self.offset + REACH * self.scale

    @property
    def draws_alike(self) -> bool:
        """True: each teacher is drawn anew."""
        return True

    def task(self, seed: int, member: int, index: int) -> Task:
        drawn = random_function(self.load()[0], self.function, self.random(seed, member, "teacher", index))
        return Task(labels=(self.offset + self.scale * drawn).astype(np.float32))


@dataclass(frozen=True)
class LargeMean(ImageTasks):
    """Pre-train on c + eps(x), then fine-tune: does a large mean alone cost plasticity (Lyle et al. 2024, arXiv 2402.18762)?

    eps is a random function of standard deviation 1, as in `Teachers`, and differs between tasks. Only the first task has the mean c, so
    the tasks that measure plasticity do not depend on c. The paper's budgets are not known: the defaults and the mean `later` of
    fine-tuning are our choice.
    """

    tasks: int = 2
    """number of tasks: one with the large mean, then those for fine-tuning"""
    updates: int = 5000
    """updates per visit"""
    function: Function = "network"
    """outputs of the network, or sin(1e5 x) of them, whose high frequency prevents generalisation (Lyle et al. 2023, arXiv 2303.01486)"""
    offset: float = 100.0
    """c, the mean of the first task's targets, in standard deviations"""
    later: float = 0.0
    """mean of the other tasks' targets, in standard deviations"""

    task_prefix: ClassVar[str] = "function"
    predicts: ClassVar[Literal["classes", "numbers"]] = "numbers"

    @property
    def target_range(self) -> tuple[float, float]:
        """Lower and upper bound of the targets."""
        means = (self.offset, self.later)
        return min(means) - REACH, max(means) + REACH

    def task(self, seed: int, member: int, index: int) -> Task:
        drawn = random_function(self.load()[0], self.function, self.random(seed, member, "function", index))
        return Task(labels=((self.later if index else self.offset) + drawn).astype(np.float32))


def random_function(inputs: np.ndarray, function: Function, random: np.random.Generator) -> np.ndarray:
    """Outputs of a random network of one hidden layer, or their sine: (n,) float64 of mean 0 and standard deviation 1."""
    pixels, units = prod(inputs.shape[1:]), 100
    hidden = np.tanh(inputs.reshape(-1, pixels) @ random.standard_normal((pixels, units)) / np.sqrt(pixels))
    outputs = hidden @ random.standard_normal(units) / np.sqrt(units)
    outputs = np.sin(1e5 * outputs) if function == "sine" else outputs
    return np.clip((outputs - outputs.mean()) / (outputs.std() or 1.0), -REACH, REACH).round(4)


@dataclass(frozen=True)
class SlowBits(Tasks):
    """Predict a random threshold network of bits that flip one at a time (slowly-changing regression; Dohare et al. 2024).

    Nature 632, arXiv 2306.13812. At every task one of the `slow` bits flips; the `fast` bits are random in every example. The target
    network has `hidden` units with weights and biases of +-1, which output 1 if their input is above `beta` of its range and are added
    with weights of +-1, as in the official code. It stays the same; only inputs change. The paper's learner has 5 hidden units and makes
    10,000 updates of one example each on 1,000 tasks, in 100 runs. The default of 100 tasks is our choice.
    """

    tasks: int = 100
    """number of tasks: the start, then one flip each"""
    updates: int = 10_000
    """updates per visit"""
    slow: Annotated[int, Interval("[1, 1000]")] = 15
    """number of bits that flip one at a time"""
    fast: Annotated[int, Interval("[1, 16]")] = 5
    """number of bits that are random in every example"""
    hidden: Annotated[int, Interval("[1, 100_000]")] = 100
    """number of hidden units of the target network"""
    beta: Annotated[float, Interval("(0, 1)")] = 0.7
    """threshold of a unit, as a share of its input's range"""

    task_prefix: ClassVar[str] = "flip"
    predicts: ClassVar[Literal["classes", "numbers"]] = "numbers"

    @property
    def inputs(self) -> tuple[int, ...]:
        return (self.slow + self.fast,)

    @property
    def outputs(self) -> int:
        return 1

    @property
    def examples(self) -> int:
        return 2**self.fast

    @property
    def target_range(self) -> tuple[float, float]:
        """Lower and upper bound of the targets."""
        return -self.hidden - 1.0, self.hidden + 1.0

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """All values of the fast bits with slow bits of 0, and labels that tasks replace."""
        fast = np.arange(self.examples)[:, None] >> np.arange(self.fast) & 1
        examples = np.concatenate([np.zeros((self.examples, self.slow)), fast], axis=1)
        return examples.astype(np.float32), np.zeros(self.examples, np.float32)

    def task(self, seed: int, member: int, index: int) -> Task:
        slow = np.concatenate([_flipped(seed, member, self.slow, index), np.zeros(self.fast, np.int64)])
        return Task(labels=self.target(seed, member, self.load()[0] + slow), shift=slow.astype(np.float32))

    def target(self, seed: int, member: int, bits: np.ndarray) -> np.ndarray:
        """Outputs of the member's target network for bits (n, slow + fast): (n,) float32."""
        random, width = np.random.default_rng(derive(seed, member, "target")), self.slow + self.fast
        weights, biases = random.choice([-1, 1], (self.hidden, width)), random.choice([-1, 1], self.hidden)
        outgoing, bias = random.choice([-1, 1], self.hidden), random.choice([-1, 1])
        thresholds = self.beta * (width + 1) - (width - weights.sum(1) + biases) / 2
        return ((bits @ weights.T + biases > thresholds) @ outgoing + bias).astype(np.float32)


def _flipped(seed: int, member: int, slow: int, flips: int) -> np.ndarray:
    """The slow bits of a member after `flips` single flips, (slow,) int64."""
    random = np.random.default_rng(derive(seed, member, "bits"))
    start, which = random.integers(2, size=slow), random.integers(slow, size=flips)
    return (start + np.bincount(which, minlength=slow)) % 2
