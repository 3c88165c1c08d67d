"""A contextual bandit over images with one rewarded action each. Imports no torch."""

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from envs.reinforcement.backends.pool import Opening, Pool
from envs.reinforcement.backends.spaces import Box, Discrete
from envs.reinforcement.backends.synchronous import Synchronous
from envs.reinforcement.base import Heads
from envs.sequences import Visit, sequence
from envs.supervised import datasets
from plasticity_rl.checks import ADDED, Interval, check
from plasticity_rl.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

    from envs.reinforcement.worlds.base import World
    from envs.reinforcement.worlds.pool import DevicePool


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
    simulator: Literal["numpy", "torch"] = field(default="numpy", metadata=ADDED)
    """numpy, or torch: the same rules with other random numbers, on the learner's device"""

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
        fields = asdict(self)
        if self.simulator == "numpy":
            del fields["simulator"]  # tasks from before the field keep their hash
        digest = hashlib.sha256(repr(sorted(fields.items())).encode())
        digest.update(datasets.load(self.dataset, self.images)[0].tobytes())
        for member in range(members):
            for task in range(self.tasks):
                digest.update(self.correct_actions(seed, member, task).tobytes())
        return digest.hexdigest()[:16]

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None = None) -> Pool:
        """Bandits of the visit's task, one for each of `seeds`, (members, environments) integers, in member-major order. The run's `seed`
        decides the rewarded actions, a bandit's own which images it shows.
        """
        if world := self.device_pool(visit, seeds, seed, opening, "cpu"):
            from envs.reinforcement.worlds.pool import DeviceBackend

            return Pool(DeviceBackend(world, self.observation_space, self.action_space))
        members, num_envs = seeds.shape
        correct = np.repeat(self._correct(visit, seed, members), num_envs, axis=0)
        return Pool(self.backend(datasets.load(self.dataset, self.images)[0], correct, seeds.reshape(-1)))

    def backend(self, images: np.ndarray, correct: np.ndarray, seeds: np.ndarray) -> Synchronous:
        """The simulators of `pool`; `correct`: the rewarded action of each image, (N, images)."""
        return BanditBackend(images, correct, self.action_space, self.length, seeds)

    def device_pool(
        self, visit: Visit, seeds: np.ndarray, seed: int, opening: Opening | None, device: str, compile: bool = False
    ) -> "DevicePool | None":
        """The environments of `pool` on a device; None unless `simulator=torch`."""
        if self.simulator != "torch":
            return None
        import torch

        from envs.reinforcement.worlds.pool import DevicePool, Rules

        members, num_envs = seeds.shape
        world, given = self.rules(torch.from_numpy(self._correct(visit, seed, members)))
        given |= {"images": torch.tensor(datasets.load(self.dataset, self.images)[0])}
        given |= {"member": torch.arange(members).repeat_interleave(num_envs)}
        return DevicePool(Rules(world, limit=self.length), given, seeds.reshape(-1), device, compile)

    def rules(self, correct: "Tensor") -> "tuple[World, dict[str, Tensor]]":
        """The rules of `simulator=torch`, and what they read; `correct`: the rewarded action of each image, (members, images)."""
        from envs.reinforcement.worlds.image_bandit import ImageBandit

        return ImageBandit(), {"right": correct}

    def _correct(self, visit: Visit, seed: int, members: int) -> np.ndarray:
        """The rewarded action of each image in a visit's task, (members, images)."""
        return np.stack([self.correct_actions(seed, member, self.names.index(visit.task)) for member in range(members)])

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
