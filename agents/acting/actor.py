"""Actor: a pool of environments, the frame stacks that a policy observes, and the returns of running episodes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.data.frames import pushed
from envs.reinforcement.backends.pool import Pool, Step

THREADS = 2  # threads per pool; trajectories do not depend on it


class Episode(NamedTuple):
    """A finished episode of one member."""

    member: int
    environment: int
    """index among the member's environments"""
    score: float
    """undiscounted, unclipped return"""


class Tally:
    """Returns so far of the running episodes of S members x B environments."""

    def __init__(self, members: int, num_envs: int) -> None:
        self._returns = np.zeros((members, num_envs))

    def add(self, step: Step) -> list[Episode]:
        """Add a step's rewards; return the episodes that ended with it."""
        self._returns += step.rewards.reshape(self._returns.shape)
        ended = (step.terminated | step.truncated).reshape(self._returns.shape)
        episodes = [Episode(int(member), int(column), float(self._returns[member, column])) for member, column in np.argwhere(ended)]
        self._returns[ended] = 0.0
        return episodes

    def cut(self, columns: slice = slice(None)) -> list[Episode]:
        """Cut the episodes in some environments of each member; return them."""
        numbers = range(self._returns.shape[1])[columns]
        episodes = [Episode(member, column, float(row[column])) for member, row in enumerate(self._returns) for column in numbers]
        self._returns[:, columns] = 0.0
        return episodes


class Actor:
    """S members x B environments in one pool, on the learner's device. Call `send`, learn while the emulator steps, then `receive`."""

    def __init__(self, pool: Pool, members: int, stack: int, device: str, sent: list[np.ndarray] | None = None) -> None:
        """`sent` collects the actions of every step, if given."""
        self._sent = sent
        self._pool, self._shape, self._stack, self._device = pool, (members, pool.num_envs // members), stack, device
        self._tally = Tally(*self._shape)
        step = pool.reset()
        self.frames = self._tensor(step.observations)
        """newest frames, (S, B, *frame)"""
        self.ages = torch.zeros(self._shape, dtype=torch.int64, device=device)
        """frames of the episode before each, at most stack - 1, (S, B)"""
        self._stacks = self.frames.unsqueeze(-1).repeat_interleave(stack, -1)  # the newest last

    @property
    def observations(self) -> Tensor:
        """Observations of the policy, (S, B, stack, *frame), or (S, B, *frame) if stack is 1; same memory layout as `Frames`."""
        return self.frames if self._stack == 1 else self._stacks.movedim(-1, 2)

    def send(self, actions: Tensor) -> None:
        """Send an action to every environment, (S, B)."""
        chosen = actions.cpu().numpy().reshape(-1).astype(np.int32)
        if self._sent is not None:
            self._sent.append(chosen.astype(np.uint8) if chosen.max() < 256 else chosen)
        self._pool.send(chosen)

    def repeat(self, sent: Sequence[np.ndarray]) -> None:
        """Play the steps of an earlier actor again, from the same seeds; the episodes that they end are known."""
        for actions in sent:
            self.send(torch.from_numpy(actions.astype(np.int32)))
            self.receive()

    def receive(self) -> tuple[Step, list[Episode]]:
        """Wait for the step that was sent; return it and the episodes that ended with it."""
        step = self._pool.recv()
        self.frames = self._tensor(step.observations)
        first = self._tensor(step.first)
        self.ages = torch.where(first, 0, (self.ages + 1).clamp(max=self._stack - 1))
        self._stacks = pushed(self._stacks, self.frames, first)
        return step, self._tally.add(step)

    def close(self) -> list[Episode]:
        """Close the environments; return the episodes that this cut, with their returns so far."""
        self._pool.close()
        return self._tally.cut()

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device).view(*self._shape, *values.shape[1:])
