"""A contextual bandit: images to act on, of which one action is right. Imports no torch."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from envs.reinforcement.base import Dtype, Heads
from envs.reinforcement.pool import Answer, Pool
from envs.sequences import Visit, sequence
from envs.supervised import datasets
from plasticity_rl.checks import Interval, check
from plasticity_rl.seeds import derive


@dataclass(frozen=True)
class Bandit:
    """See an image, take the right action of as many as there are classes: +1; nothing else matters (Lyle et al. 2024, arXiv 2402.18762).

    The paper's contextual bandit, there of CIFAR-10 with DQN, target network and replay. The next image is drawn whatever was done.
    Nothing that is done has consequences, so `dqn:discount=0` has everything to win; with 0.99 the values that are learned have a mean
    of up to 100 and differ by 1 at most. Which action is right for an image changes at every task, and is each member's own. An episode
    is `length` images; its return is how many were right. Dataset, length and budget are our choice.
    """

    dataset: str = "digits"
    """digits, mnist, cifar10, cifar100; or generated of any size: gaussian-3x32x32, clusters-784-100-7 (100 classes, seed 7)"""
    images: int = 1200
    """the dataset's first"""
    labels: Literal["random", "permuted"] = "random"
    """right are random actions, drawn for each image, or the true classes under new names"""
    tasks: Annotated[int, Interval("[1, 100_000]")] = 5
    frames: Annotated[int, Interval("[1, inf)")] = 50_000
    """images of each visit, of each member"""
    cycles: Annotated[int, Interval("[1, 100_000]")] = 1
    """how often the whole list is gone through"""
    length: Annotated[int, Interval("[1, 100_000]")] = 100
    """images of an episode, which is then cut: it goes on without end as far as values are concerned"""
    heads: Heads = "shared"
    """one output head for all tasks, or one for each, and then the agent is told which task it is in"""

    dtype: ClassVar[Dtype] = "float32"
    stack: ClassVar[int] = 1
    frame_skip: ClassVar[int] = 1
    life_loss: ClassVar[bool] = False
    supervision: ClassVar[str] = "rewards"
    unit: ClassVar[str] = "frames"

    def __post_init__(self) -> None:
        check(self, images=f"[1, {datasets.shape(self.dataset).images}]")

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks in order."""
        return tuple(f"bandit-{task}" for task in range(self.tasks))

    def visits(self) -> tuple[Visit, ...]:
        """The tasks in order, `cycles` times over."""
        return sequence(self.names, self.frames, self.cycles)

    @property
    def frame(self) -> tuple[int, ...]:
        """Shape of one image, float32."""
        return datasets.shape(self.dataset).inputs

    @property
    def inputs(self) -> tuple[int, ...]:
        return self.frame

    @property
    def outputs(self) -> int:
        """Number of actions."""
        return datasets.shape(self.dataset).classes

    def references(self) -> dict[str, dict[str, float]]:
        """task -> {"random": score}: exactly, for one action of all is right."""
        return {name: {"random": self.length / self.outputs} for name in self.names}

    def right(self, seed: int, member: int, task: int) -> np.ndarray:
        """The action that is right for each image, (images,) int64."""
        random = np.random.default_rng(derive(seed, member, "right", task))
        if self.labels == "random":
            return random.integers(self.outputs, size=self.images)
        return random.permutation(self.outputs)[datasets.load(self.dataset, self.images)[1]]

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: the hash of the images and of what is right in every member's tasks."""
        digest = hashlib.sha256(repr(sorted(asdict(self).items())).encode())
        digest.update(datasets.load(self.dataset, self.images)[0].tobytes())
        for member in range(members):
            for task in range(self.tasks):
                digest.update(self.right(seed, member, task).tobytes())
        return digest.hexdigest()[:16]

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> Pool:
        """Bandits of the visit's task, one for each of `seeds`, (members, environments) integers; member-major. The run's `seed` says what
        is right; those of the bandits which images they show."""
        members, environments = seeds.shape
        right = np.stack([self.right(seed, member, self.names.index(visit.task)) for member in range(members)])
        images = datasets.load(self.dataset, self.images)[0]
        return Pool(_Bandits(images, np.repeat(right, environments, axis=0), self.outputs, self.length, seeds.reshape(-1)))

    def pictures(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> None:
        """None: there is nothing to film."""


class _Bandits:
    """The backend: all bandits begin and end their episodes together."""

    def __init__(self, images: np.ndarray, right: np.ndarray, actions: int, length: int, seeds: np.ndarray) -> None:
        self.num_envs, self.actions, self.observation_shape = len(seeds), actions, images.shape[1:]
        self._images, self._right, self._length = images, right, length
        self._randoms = [np.random.default_rng(int(seed)) for seed in seeds]
        self._rows = np.arange(len(seeds))
        self._taken = np.zeros(len(seeds), np.int32)

    def reset(self) -> Answer:
        self._shown = np.stack([random.integers(len(self._images), size=self._length + 1) for random in self._randoms])
        self._age = 0
        return self._answer(np.zeros(self.num_envs, np.float32))

    def send(self, actions: np.ndarray) -> None:
        self._taken = actions

    def recv(self) -> Answer:
        if self._age == self._length:
            return self.reset()
        right = self._right[self._rows, self._shown[:, self._age]] == self._taken
        self._age += 1
        return self._answer(right.astype(np.float32))

    def _answer(self, rewards: np.ndarray) -> Answer:
        never, over = np.zeros(self.num_envs, bool), np.full(self.num_envs, self._age == self._length)
        return Answer(self._images[self._shown[:, self._age]], rewards, never, over, np.zeros(self.num_envs, np.int32))
