"""Random streams of a run on games: one per member and purpose, each a function of (seed, member, purpose, position)."""

import numpy as np
import torch
from torch import Tensor

from plasticity_rl.seeds import derive

NUMBERS = 1 << 18  # approximate size of a block drawn at a time for one member


class RandomStreams:
    """Random streams of S members. They have no state beyond a cache, so checkpoints do not store them."""

    def __init__(self, seed: int, members: int, device: str) -> None:
        self._seed, self._members, self._device = seed, members, device
        self._blocks: dict[str, tuple[int, Tensor]] = {}

    def uniform(self, at: int, purpose: str, *shape: int) -> Tensor:
        """Draw `at` of the stream `purpose`, (S, *shape), in [0, 1)."""
        return self._draw(at, purpose, shape, normal=False)

    def normal(self, at: int, purpose: str, *shape: int) -> Tensor:
        """Draw `at` of the stream `purpose`, (S, *shape), standard normal."""
        return self._draw(at, purpose, shape, normal=True)

    def _draw(self, at: int, purpose: str, shape: tuple[int, ...], normal: bool) -> Tensor:
        size = max(1, min(256, NUMBERS // max(int(np.prod(shape)), 1)))
        block, row = divmod(at, size)
        if self._blocks.get(purpose, (-1,))[0] != block:
            numbers = []
            for member in range(self._members):
                random = np.random.default_rng(derive(self._seed, member, purpose, block))
                draw = random.standard_normal if normal else random.random
                numbers.append(draw((size, *shape), np.float32))
            self._blocks[purpose] = block, torch.from_numpy(np.stack(numbers)).to(self._device)
        return self._blocks[purpose][1][:, row]
