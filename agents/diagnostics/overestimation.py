"""Are values higher than the returns that come of them? Sums over whole episodes, in a few numbers for each."""

import torch
from torch import Tensor


class Overestimation:
    """value - return over the states of S members x B episodes that are played to their end, one step at a time.

    The sum of an episode's discounted returns is that of its rewards, each times the discounts between it and the states before it, added
    up: a trace, so that nothing is kept of a step.
    """

    def __init__(self, members: int, episodes: int, device: str) -> None:
        self._values, self._returns, self._trace, self._states = torch.zeros(4, members, episodes, dtype=torch.double, device=device)

    def act(self, values: Tensor, going: Tensor) -> None:
        """`values` of the states (S, B) from which a step is made now, where an episode is `going` on."""
        self._values += torch.where(going, values, 0.0)
        self._states += going
        self._trace += going

    def receive(self, rewards: Tensor, discounts: Tensor, going: Tensor) -> None:
        """What came of that step, (S, B) each; a `discount` of 0 says that no later reward counts."""
        self._returns += torch.where(going, self._trace * rewards, 0.0)
        self._trace *= torch.where(going, discounts, 0.0)

    def bootstrap(self, values: Tensor, cut: Tensor) -> None:
        """Where an episode was `cut` by the last step, the `values` of what it led to stand for the rewards that did not come."""
        self._returns += torch.where(cut, self._trace * values, 0.0)

    @property
    def mean(self) -> Tensor:
        """mean(value - return) over all states so far, (S,)."""
        return (self._values - self._returns).sum(1) / self._states.sum(1)
