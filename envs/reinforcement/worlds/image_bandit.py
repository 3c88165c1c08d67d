"""The contextual bandit over images: see `envs.reinforcement.bandit`."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from envs.reinforcement.worlds.base import Given, World, whole


@dataclass(frozen=True)
class ImageBandit(World):
    """Reward 1 for the right action of the image that is shown; the next image is a random one. Episodes have no end of their own.

    The state is (N,) int64, the number of the image. A pool gives `images` (n, *shape), `member` (N,), and `right` (members, n), the right
    action of each image.
    """

    given: Given = field(default_factory=dict, compare=False)

    draws: ClassVar[int] = 1

    def bound(self, given: Given) -> "ImageBandit":
        return ImageBandit(given)

    def begin(self, draws: Tensor) -> Tensor:
        return whole(draws[:, 0], len(self.given["images"]))

    def step(self, state: Tensor, actions: Tensor, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        right = self.given["right"][self.given["member"], state] == actions
        return self.begin(draws), right, torch.zeros_like(right)

    def observe(self, state: Tensor) -> Tensor:
        return self.given["images"][state]
