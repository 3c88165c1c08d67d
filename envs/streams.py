"""Nonstationary supervised streams: what each task is, as a function of (stream, seed, member, index) alone."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from envs import datasets
from envs.sequences import Visit, sequence
from plasticity_rl.checks import check
from plasticity_rl.seeds import Member, derive

BLOCK = 256  # updates whose batches are drawn at a time


@dataclass(frozen=True)
class RandomLabels:
    """Memorise labels that have nothing to do with the images, then others, and again (Lyle et al. 2023, arXiv 2303.01486).

    Each member has labels and batches of its own. The defaults are the demo's: 1,200 images as in Kumar et al. 2023 (arXiv 2308.11958), who
    stay 30,000 updates at each of 50 tasks.
    """

    dataset: datasets.Name = "digits"
    images: int = 1200
    """how many, from the dataset's start"""
    tasks: int = 20
    updates: int = 1000
    """of each visit"""
    fraction: float = 1.0
    """of the labels that are drawn anew at each task; a drawn label may be the old one"""

    teaches: ClassVar[str] = "labels"
    unit: ClassVar[str] = "updates"

    def __post_init__(self) -> None:
        known = datasets.SHAPES.get(self.dataset)
        check(self, images=f"[1, {known.images if known else 1}]", tasks="[1, 100_000]", updates="[1, inf)", fraction="(0, 1]")

    @property
    def inputs(self) -> tuple[int, ...]:
        return datasets.SHAPES[self.dataset].inputs

    @property
    def outputs(self) -> int:
        return datasets.SHAPES[self.dataset].classes

    def visits(self) -> tuple[Visit, ...]:
        return sequence(tuple(f"labels-{index}" for index in range(self.tasks)), self.updates)

    def references(self) -> dict[str, dict[str, float]]:
        """None: an accuracy speaks for itself."""
        return {}

    def labels(self, seed: int, member: int, task: int) -> np.ndarray:
        """The labels of one task, (images,) int64."""
        labels = np.zeros(self.images, np.int64)
        for index in range(task if self.fraction == 1 else 0, task + 1):
            random = np.random.default_rng(derive(seed, member, "labels", index))
            changed = random.permutation(self.images)[: max(1, round(self.fraction * self.images)) if index else self.images]
            labels[changed] = random.integers(self.outputs, size=len(changed))
        return labels

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: the hash of the images and of every task's labels and first batch."""
        digest = hashlib.sha256(repr(sorted(asdict(self).items())).encode())
        digest.update(datasets.load(self.dataset, self.images)[0].tobytes())
        for member in range(members):
            for task in range(self.tasks):
                digest.update(self.labels(seed, member, task).tobytes())
                digest.update(self.draws(seed, member, task, 0, 1).tobytes())
        return digest.hexdigest()[:16]

    def draws(self, seed: int, member: int, visit: int, block: int, batch: int) -> np.ndarray:
        """Which images each of a block's updates sees, (BLOCK, batch): uniform, with replacement."""
        return np.random.default_rng(derive(seed, member, "batches", visit, block)).integers(self.images, size=(BLOCK, batch))

    def open(self, members: Sequence[Member], batch: int, device: str) -> "Stream":
        """The stream of those members on `device`."""
        return Stream(self, members, batch, device)


class Stream:
    """Batches of all members at once, whatever their seeds."""

    def __init__(self, benchmark: RandomLabels, members: Sequence[Member], batch: int, device: str) -> None:
        self._benchmark, self._members, self._batch, self._device = benchmark, members, batch, device
        self._images = torch.from_numpy(datasets.load(benchmark.dataset, benchmark.images)[0]).to(device)
        self._labels = self._draws = torch.empty(0)
        self._visit = self._block = -1

    def batch(self, visit: int, update: int) -> dict[str, Tensor]:
        """Update `update` (from 0) of a visit: inputs (S, batch, *shape) float32, labels (S, batch) int64."""
        if visit != self._visit:
            self._labels = self._gather(lambda seed, member: self._benchmark.labels(seed, member, visit))
            self._visit, self._block = visit, -1
        if update // BLOCK != self._block:
            self._block = update // BLOCK
            self._draws = self._gather(lambda seed, member: self._benchmark.draws(seed, member, visit, self._block, self._batch))
        chosen = self._draws[:, update % BLOCK]
        return {"inputs": self._images[chosen], "labels": self._labels.gather(1, chosen)}

    def _gather(self, of_member: Callable[[int, int], np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack([of_member(*member) for member in self._members])).to(self._device)
