"""A contextual bandit over images with one rewarded action each. Imports no torch."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from envs.reinforcement.backends.pool import Opening, Pool
from envs.reinforcement.backends.spaces import Box, Discrete
from envs.reinforcement.backends.synchronous import Synchronous
from envs.reinforcement.base import Heads
from envs.sequences import Visit, sequence
from envs.supervised import datasets
from plasticity_rl.checks import Interval, check
from plasticity_rl.seeds import derive


@dataclass(frozen=True)
class Bandit:
    """Contextual bandit over images: the action that equals the image's label earns +1 (Lyle et al. 2024, arXiv 2402.18762).

    The paper uses CIFAR-10 with DQN, a target network and replay. Actions have no influence on the next image, so `dqn:discount=0`
    suffices; with 0.99, action values have a mean of up to 100 and differ by at most 1. Labels change at every task and differ between
    members. An episode has `length` images, and its return is the number of right actions. Dataset, length and
    budget are our choice.
    """

    dataset: str = "digits"
    """digits, mnist, mnist-5k, cifar10, cifar100; generated of any size: gaussian-3x32x32, clusters-784-100-7 (100 classes, seed 7),
    atari-frames, atari-frames-Pong+Breakout-1x84x84-7; a file (.npz, .csv, .parquet), or a plugin's function (docs/data.md)"""
    images: int = 1200
    """number of images, the dataset's first"""
    labels: Literal["random", "permuted"] = "random"
    """right actions: drawn at random for each image, or the true classes, permuted"""
    tasks: Annotated[int, Interval("[1, 100_000]")] = 5
    """number of tasks"""
    frames: Annotated[int, Interval("[1, inf)")] = 50_000
    """images per visit and member"""
    cycles: Annotated[int, Interval("[1, 100_000]")] = 1
    """number of passes through the list of tasks"""
    length: Annotated[int, Interval("[1, 100_000]")] = 100
    """images per episode, which is then truncated: values are bootstrapped past its end"""
    heads: Heads = "shared"
    """one output head shared by all tasks, or one per task, whose identifier the agent is then given"""

    stack: ClassVar[int] = 1
    frame_skip: ClassVar[int] = 1
    life_loss: ClassVar[bool] = False
    supervision: ClassVar[str] = "rewards"
    unit: ClassVar[str] = "frames"

    def __post_init__(self) -> None:
        check(self, images=f"[1, {datasets.shape(self.dataset).images}]")

    @property
    def names(self) -> tuple[str, ...]:
        """Task names in order."""
        return tuple(f"bandit-{task}" for task in range(self.tasks))

    def visits(self) -> tuple[Visit, ...]:
        """The tasks in order, `cycles` times."""
        return sequence(self.names, self.frames, self.cycles)

    @property
    def observation_space(self) -> Box:
        """Space of an image."""
        return Box(datasets.shape(self.dataset).inputs)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of one image, float32."""
        return self.observation_space.shape

    @property
    def action_space(self) -> Discrete:
        """One action for each class."""
        return Discrete(datasets.shape(self.dataset).classes)

    @property
    def tasks_alike(self) -> bool:
        """True unless tasks return: right actions are drawn anew for each."""
        return self.cycles == 1

    def references(self) -> dict[str, dict[str, float]]:
        """task -> {"random": score}, exact: one action of all is right."""
        return {name: {"random": self.length / self.action_space.n} for name in self.names}

    def correct_actions(self, seed: int, member: int, task: int) -> np.ndarray:
        """The rewarded action of each image, (images,) int64."""
        random = np.random.default_rng(derive(seed, member, "right", task))
        if self.labels == "random":
            return random.integers(self.action_space.n, size=self.images)
        return random.permutation(self.action_space.n)[datasets.load(self.dataset, self.images)[1]]

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: hash of the images and of the rewarded actions in every member's tasks."""
        digest = hashlib.sha256(repr(sorted(asdict(self).items())).encode())
        digest.update(datasets.load(self.dataset, self.images)[0].tobytes())
        for member in range(members):
            for task in range(self.tasks):
                digest.update(self.correct_actions(seed, member, task).tobytes())
        return digest.hexdigest()[:16]

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None = None) -> Pool:
        """Bandits of the visit's task, one for each of `seeds`, (members, environments) integers, in member-major order. The run's `seed`
        decides the rewarded actions, a bandit's own which images it shows.
        """
        members, num_envs = seeds.shape
        correct = np.stack([self.correct_actions(seed, member, self.names.index(visit.task)) for member in range(members)])
        images = datasets.load(self.dataset, self.images)[0]
        return Pool(BanditBackend(images, np.repeat(correct, num_envs, axis=0), self.action_space, self.length, seeds.reshape(-1)))

    def render_pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> None:
        """None: there is nothing to render."""


class BanditBackend(Synchronous):
    """Bandits over images. `correct`: the rewarded action of each image, (N, images)."""

    def __init__(self, images: np.ndarray, correct: np.ndarray, action_space: Discrete, length: int, seeds: np.ndarray) -> None:
        super().__init__(Box(images.shape[1:]), action_space, length, seeds)
        self._images, self._correct, self._rows = images, correct, np.arange(self.num_envs)

    def begin(self) -> None:
        self._index = np.stack([generator.integers(len(self._images), size=self.length + 1) for generator in self.generators])

    def step(self, actions: np.ndarray) -> np.ndarray:
        return self._correct[self._rows, self._index[:, self.age]] == actions

    def observe(self) -> np.ndarray:
        return self._images[self._index[:, self.age]]
