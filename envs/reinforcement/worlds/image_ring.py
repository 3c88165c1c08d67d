"""The ring of states that are seen as images: see `envs.reinforcement.image_mdp`."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from envs.reinforcement.worlds.base import Given, World, whole


class RingState(NamedTuple):
    """N processes, (N,) int64 each."""

    place: Tensor
    """state on the ring"""
    image: Tensor
    """number of the image that shows it"""


@dataclass(frozen=True)
class ImageRing(World):
    """The action with the state's number leads to the next state of the ring, any other to a random one; each is shown as a random image
    of its own. Episodes have no end of their own.

    A pool gives `images` (n, *shape), `member` (N,), `sorted` (members, n), the images of each state one after the other, and `firsts` and
    `counts` (members, states): the place of a state's first image there, and how many it has.
    """

    states: int
    sparse: bool
    """whether the right action is rewarded in the last state alone"""
    given: Given = field(default_factory=dict, compare=False)

    draws: ClassVar[int] = 2

    def bound(self, given: Given) -> "ImageRing":
        return ImageRing(self.states, self.sparse, given)

    def begin(self, draws: Tensor) -> RingState:
        return self._shown(whole(draws[:, 0], self.states), draws)

    def step(self, state: RingState, actions: Tensor, draws: Tensor) -> tuple[RingState, Tensor, Tensor]:
        right = actions == state.place
        rewarded = right & (state.place == self.states - 1) if self.sparse else right
        place = torch.where(right, (state.place + 1) % self.states, whole(draws[:, 0], self.states))
        return self._shown(place, draws), rewarded, torch.zeros_like(right)

    def observe(self, state: RingState) -> Tensor:
        return self.given["images"][state.image]

    def _shown(self, place: Tensor, draws: Tensor) -> RingState:
        """States, and a random image of each."""
        member = self.given["member"]
        at = self.given["firsts"][member, place] + whole(draws[:, 1], self.given["counts"][member, place])
        return RingState(place, self.given["sorted"][member, at])
