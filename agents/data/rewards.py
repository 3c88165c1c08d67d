"""What agents make of a game's rewards before they learn from them; scores are never touched."""

from typing import Literal

import torch
from torch import Tensor

Rewards = Literal["clip", "raw", "scale", "scale-per-visit"]
"""clip: to [-1, 1] (Mnih et al. 2015). raw: as they are. scale: divided by the running standard deviation of the discounted sum of rewards
(Engstrom et al. 2020, arXiv 2005.12729), kept over the run, or with scale-per-visit started again at every visit"""


class Scale:
    """The running scale of rewards, (S,) each: how many sums were seen, their mean, and the sum of squares around it."""

    def __init__(self, members: int, environments: int, discount: float, device: str) -> None:
        self._discount = discount
        self._sums = torch.zeros(members, environments, device=device)
        self._moments = torch.zeros(3, members, device=device)

    def apply(self, rewards: Tensor, over: Tensor, columns: slice) -> Tensor:
        """Rewards (S, columns) of one step of some environments, scaled; `over` (S, columns) where an episode ended with them."""
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
        """What rewards are divided by now, (S,); 1 where nothing is known."""
        count, _, squares = self._moments
        deviation = (squares / count.clamp(min=1.0)).sqrt()
        return torch.where(deviation > 0, deviation, 1.0)

    def begin_segment(self) -> None:
        """The episodes that the sums belong to are gone."""
        self._sums.zero_()

    def cut(self, columns: slice) -> None:
        """The episodes in some columns are gone."""
        self._sums[:, columns] = 0.0

    def forget(self) -> None:
        """Start again."""
        self._moments = torch.zeros_like(self._moments)

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint, by name."""
        return {"rewards/moments": self._moments}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` were."""
        self._moments = tensors["rewards/moments"].to(self._moments.device)
