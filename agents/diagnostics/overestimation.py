"""Overestimation: mean difference between predicted values and realised returns over whole episodes, in constant memory."""

import torch
from torch import Tensor


class Overestimation:
    """Mean of value - return over the states of S members x B complete episodes, updated one step at a time.

    The discounted returns of an episode's states add up to the sum of its rewards, each times a trace: the product of discounts since a
    state, summed over the states so far. So no step is stored.
    """

    def __init__(self, members: int, episodes: int, device: str) -> None:
        self._values, self._returns, self._trace, self._states = torch.zeros(4, members, episodes, dtype=torch.double, device=device)

    def act(self, values: Tensor, going: Tensor) -> None:
        """Add the `values` (S, B) of the current states, in episodes that are `going` on."""
        self._values += torch.where(going, values, 0.0)
        self._states += going
        self._trace += going

    def receive(self, rewards: Tensor, discounts: Tensor, going: Tensor) -> None:
        """Add the rewards of the step, (S, B) each; a discount of 0 excludes later rewards."""
        self._returns += torch.where(going, self._trace * rewards, 0.0)
        self._trace *= torch.where(going, discounts, 0.0)

    def bootstrap(self, values: Tensor, cut: Tensor) -> None:
        """Add the `values` of the last observations in episodes that the last step `cut`, in place of the missing rewards."""
        self._returns += torch.where(cut, self._trace * values, 0.0)

    @property
    def mean(self) -> Tensor:
        """Mean of value - return over all states so far, (S,)."""
        return (self._values - self._returns).sum(1) / self._states.sum(1)
