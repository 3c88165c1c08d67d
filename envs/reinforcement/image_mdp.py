"""A Markov decision process whose states are seen as images of a data set, one class each. Imports no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from envs.reinforcement.backends.spaces import Box, Discrete
from envs.reinforcement.backends.synchronous import Synchronous
from envs.reinforcement.bandit import Bandit
from plasticity_rl.checks import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from envs.reinforcement.worlds.base import World


@dataclass(frozen=True)
class ImageMDP(Bandit):
    """Walk a ring of states, each seen as a random image of its own: the action with its number leads on (Lyle et al. 2023).

    The block MDP of arXiv 2303.01486, there with MNIST and CIFAR-10: ten states, ten actions, and rewards and transitions that depend on
    whether the action has the state's number. Its three forms are `labels=permuted` (true labels), `labels=random` and
    `labels=permuted,reward=sparse`. Here the right action leads to the next state, the last to the first, and any other to a random state
    (of a secondary source; the paper itself was not read), so with a sparse reward it is best to jump from the first half of the states and
    to walk through the second: 0.2 a step with ten states. The paper has one task: here images are dealt out to states anew at every task
    and for every member. Values are bootstrapped along the ring, so agents need a discount above 0. Length and budget are our choice.
    """

    labels: Literal["random", "permuted"] = "permuted"
    """images of a state: those with its number as a random label, or those of a true class, permuted"""
    reward: Literal["dense", "sparse"] = "dense"
    """+1 for the right action in every state, or in the last state alone"""

    @property
    def names(self) -> tuple[str, ...]:
        """Task names in order."""
        return tuple(f"mdp-{task}" for task in range(self.tasks))

    def references(self) -> dict[str, dict[str, float]]:
        """task -> {"random": score}, exact: random actions leave all states equally likely."""
        states = self.action_space.n
        return {name: {"random": self.length / states / (states if self.reward == "sparse" else 1)} for name in self.names}

    def correct_actions(self, seed: int, member: int, task: int) -> np.ndarray:
        """The state of each image, which is its right action, (images,) int64. Raises UsageError if a state has no image."""
        states = super().correct_actions(seed, member, task)
        if len(np.unique(states)) < self.action_space.n:
            raise UsageError(f"ImageMDP: the first {self.images} images of {self.dataset} leave a state without any; use more images")
        return states

    def backend(self, images: np.ndarray, correct: np.ndarray, seeds: np.ndarray) -> Synchronous:
        """The simulators of `pool`; `correct`: the state of each image, (N, images)."""
        return ImageMDPBackend(images, correct, self.action_space, self.length, self.reward == "sparse", seeds)

    def rules(self, correct: "Tensor") -> "tuple[World, dict[str, Tensor]]":
        """The rules of `simulator=torch`, and what they read; `correct`: the state of each image, (members, images)."""
        from torch.nn.functional import one_hot

        from envs.reinforcement.worlds.image_ring import ImageRing

        counts = one_hot(correct, self.action_space.n).sum(1)
        given = {"sorted": correct.sort(stable=True, dim=1).indices, "counts": counts, "firsts": counts.cumsum(1) - counts}
        return ImageRing(self.action_space.n, self.reward == "sparse"), given


class ImageMDPBackend(Synchronous):
    """Processes on a ring of states. `states`: the state of each image, (N, images)."""

    def __init__(
        self, images: np.ndarray, states: np.ndarray, action_space: Discrete, length: int, sparse: bool, seeds: np.ndarray
    ) -> None:
        super().__init__(Box(images.shape[1:]), action_space, length, seeds)
        self._images, self._states, self._sparse = images, action_space.n, sparse
        self._rows = np.arange(self.num_envs)
        self._counts = np.stack([np.bincount(each, minlength=self._states) for each in states])
        self._first = self._counts.cumsum(1) - self._counts
        """place in `_sorted` of each state's first image, (N, states)"""
        self._sorted = states.argsort(axis=1, kind="stable")

    def begin(self) -> None:
        self._random = np.stack([generator.random((self.length + 1, 2)) for generator in self.generators])
        self._state = self._drawn(0)

    def step(self, actions: np.ndarray) -> np.ndarray:
        right = actions == self._state
        rewards = right & (self._state == self._states - 1) if self._sparse else right
        self._state = np.where(right, (self._state + 1) % self._states, self._drawn(self.age + 1))
        return rewards

    def observe(self) -> np.ndarray:
        at = self._rows, self._state
        return self._images[self._sorted[self._rows, self._first[at] + (self._random[:, self.age, 1] * self._counts[at]).astype(np.int64)]]

    def _drawn(self, age: int) -> np.ndarray:
        """A random state of each process, (N,)."""
        return (self._random[:, age, 0] * self._states).astype(np.int64)
