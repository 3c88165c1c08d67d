"""Reward transformations for learning; scores always use the raw rewards."""

from typing import Literal

import torch
from torch import Tensor

Rewards = Literal["clip", "raw", "scale", "scale-per-visit"]
"""clip: to [-1, 1] (Mnih et al. 2015). raw: unchanged. scale: divided by the running standard deviation of the discounted sum of rewards
(Engstrom et al. 2020, arXiv 2005.12729), over the whole run; scale-per-visit: the same, reset at every visit"""


class Scale:
    """Running scale of rewards, from the count, mean and squared deviations of discounted sums, (S,) each."""

    def __init__(self, members: int, num_envs: int, discount: float, device: str) -> None:
        self._discount = discount
        self._sums = torch.zeros(members, num_envs, device=device)
        self._moments = torch.zeros(3, members, device=device)

    def apply(self, rewards: Tensor, over: Tensor, columns: slice) -> Tensor:
        """Update the scale with the rewards (S, columns) of a step, and scale them; `over` (S, columns) is True where an episode ended."""
        sums = self._sums[:, columns] * self._discount + rewards
        count, mean, squares = self._moments
        new = sums.shape[1]
        total = count + new
        gap = sums.mean(1) - mean
        squares = squares + (sums - sums.mean(1, keepdim=True)).square().sum(1) + gap.square() * count * new / total
        self._moments = torch.stack([total, mean + gap * new / total, squares])
        self._sums[:, columns] = sums * ~over
        return rewards / self.deviation[:, None]

    @property
    def deviation(self) -> Tensor:
        """Current divisor of rewards, (S,); 1 while the deviation is 0."""
        count, _, squares = self._moments
        deviation = (squares / count.clamp(min=1.0)).sqrt()
        return torch.where(deviation > 0, deviation, 1.0)

    def begin_segment(self) -> None:
        """Reset the discounted sums, because all episodes were cut."""
        self._sums.zero_()

    def cut(self, columns: slice) -> None:
        """Reset the sums of some columns, because their episodes were cut."""
        self._sums[:, columns] = 0.0

    def forget(self) -> None:
        """Reset the running statistics."""
        self._moments = torch.zeros_like(self._moments)

    def tensors(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint, by name."""
        return {"rewards/moments": self._moments}

    def open_tensors(self) -> dict[str, Tensor]:
        """Further tensors of a checkpoint within a segment: the sums of episodes that go on."""
        return {"rewards/sums": self._sums}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore `tensors`, and `open_tensors` if there."""
        self._moments = tensors["rewards/moments"].to(self._moments.device)
        if "rewards/sums" in tensors:
            self._sums.copy_(tensors["rewards/sums"])
