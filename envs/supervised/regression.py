"""Streams that predict numbers: functions of images drawn at random, with a large mean or not, and slowly changing bits."""

from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar, Literal

import numpy as np

from envs.supervised.base import ImageTasks, Task, Tasks
from plasticity_rl.checks import Interval
from plasticity_rl.seeds import derive

REACH = 4.0  # deviations: where numbers are cut off
Function = Literal["network", "sine"]


@dataclass(frozen=True)
class Teachers(ImageTasks):
    """Predict what a random network, the teacher, says of images; at every task another teacher.

    A teacher is one hidden layer of 100 tanh units with normal weights: the size is our choice. What it says is standardised over the
    images (mean 0, deviation 1, cut at 4 deviations, rounded to 4 decimals so that all machines agree), then scaled and moved.
    """

    function: Function = "network"
    """the teacher itself, or sin(1e5 x) of it: of so high a frequency that nothing generalises (Lyle et al. 2023, arXiv 2303.01486)"""
    scale: Annotated[float, Interval("(0, inf)")] = 1.0
    """standard deviation of the numbers"""
    offset: float = 0.0
    """their mean"""

    noun: ClassVar[str] = "teacher"
    predicts: ClassVar[Literal["classes", "numbers"]] = "numbers"

    @property
    def span(self) -> tuple[float, float]:
        """All numbers lie between."""
        return self.offset - REACH * self.scale, self.offset + REACH * self.scale

    def task(self, seed: int, member: int, index: int) -> Task:
        drawn = random_function(self.load()[0], self.function, self.random(seed, member, "teacher", index))
        return Task(labels=(self.offset + self.scale * drawn).astype(np.float32))


@dataclass(frozen=True)
class LargeMean(ImageTasks):
    """Pre-train on c + eps(x), then fine-tune: does a large mean alone cost plasticity (Lyle et al. 2024, arXiv 2402.18762)?

    eps is a random function of deviation 1, as in `Teachers`; other ones at every task. Only the first task has the mean c, so the tasks
    that plasticity is read from are the same whatever c was. The paper's budgets are not known: the defaults are our choice, and so is it
    that fine-tuning has the mean `later`.
    """

    tasks: int = 2
    """the first with the large mean, the others to fine-tune on"""
    updates: int = 5000
    """of each visit"""
    function: Function = "network"
    """the network itself, or sin(1e5 x) of it: of so high a frequency that nothing generalises (Lyle et al. 2023, arXiv 2303.01486)"""
    offset: float = 100.0
    """c, the mean of the first task's numbers, in their standard deviations"""
    later: float = 0.0
    """the mean of the other tasks'"""

    noun: ClassVar[str] = "function"
    predicts: ClassVar[Literal["classes", "numbers"]] = "numbers"

    @property
    def span(self) -> tuple[float, float]:
        """All numbers lie between."""
        means = (self.offset, self.later)
        return min(means) - REACH, max(means) + REACH

    def task(self, seed: int, member: int, index: int) -> Task:
        drawn = random_function(self.load()[0], self.function, self.random(seed, member, "function", index))
        return Task(labels=((self.later if index else self.offset) + drawn).astype(np.float32))


def random_function(inputs: np.ndarray, function: Function, random: np.random.Generator) -> np.ndarray:
    """A random network of one hidden layer, or the sine of it, of inputs (n, *shape): (n,) float64 of mean 0 and deviation 1."""
    pixels, units = prod(inputs.shape[1:]), 100
    hidden = np.tanh(inputs.reshape(-1, pixels) @ random.standard_normal((pixels, units)) / np.sqrt(pixels))
    said = hidden @ random.standard_normal(units) / np.sqrt(units)
    said = np.sin(1e5 * said) if function == "sine" else said
    return np.clip((said - said.mean()) / (said.std() or 1.0), -REACH, REACH).round(4)


@dataclass(frozen=True)
class SlowBits(Tasks):
    """Predict a random threshold network's answer to bits that flip one at a time (slowly-changing regression; Dohare et al. 2024).

    Nature 632, arXiv 2306.13812. At every task one of the `slow` bits flips; the others are random in every example. The target has
    `hidden` units with weights and biases of +-1 that say 1 where their input is above `beta` of its range, added with weights of +-1:
    the official code's values and formulas. It stays the same; only inputs change. The paper's learner has 5 hidden units; 10,000
    updates of one example each, 1,000 times over, in 100 runs. The default of 100 tasks is our choice.
    """

    tasks: int = 100
    """flips, and the start before them"""
    updates: int = 10_000
    """of each visit"""
    slow: Annotated[int, Interval("[1, 1000]")] = 15
    """bits that flip one at a time"""
    fast: Annotated[int, Interval("[1, 16]")] = 5
    """bits that are random in every example"""
    hidden: Annotated[int, Interval("[1, 100_000]")] = 100
    """units of the target network"""
    beta: Annotated[float, Interval("(0, 1)")] = 0.7
    """the share of its range that a unit's input must reach"""

    noun: ClassVar[str] = "flip"
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
    def span(self) -> tuple[float, float]:
        """All numbers lie between."""
        return -self.hidden - 1.0, self.hidden + 1.0

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """All values of the fast bits, beside slow ones of 0, and numbers that the tasks replace."""
        fast = np.arange(self.examples)[:, None] >> np.arange(self.fast) & 1
        examples = np.concatenate([np.zeros((self.examples, self.slow)), fast], axis=1)
        return examples.astype(np.float32), np.zeros(self.examples, np.float32)

    def task(self, seed: int, member: int, index: int) -> Task:
        slow = np.concatenate([_flipped(seed, member, self.slow, index), np.zeros(self.fast, np.int64)])
        return Task(labels=self.target(seed, member, self.load()[0] + slow), shift=slow.astype(np.float32))

    def target(self, seed: int, member: int, bits: np.ndarray) -> np.ndarray:
        """What the member's target network says of bits (n, slow + fast): (n,) float32."""
        random, width = np.random.default_rng(derive(seed, member, "target")), self.slow + self.fast
        weights, biases = random.choice([-1, 1], (self.hidden, width)), random.choice([-1, 1], self.hidden)
        outgoing, bias = random.choice([-1, 1], self.hidden), random.choice([-1, 1])
        thresholds = self.beta * (width + 1) - (width - weights.sum(1) + biases) / 2
        return ((bits @ weights.T + biases > thresholds) @ outgoing + bias).astype(np.float32)


def _flipped(seed: int, member: int, slow: int, flips: int) -> np.ndarray:
    """The slow bits of a member after so many flips of one of them, (slow,) int64."""
    random = np.random.default_rng(derive(seed, member, "bits"))
    start, which = random.integers(2, size=slow), random.integers(slow, size=flips)
    return (start + np.bincount(which, minlength=slow)) % 2
