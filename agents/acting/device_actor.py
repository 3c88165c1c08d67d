"""Actor of environments that live on the learner's device: what `actor.Actor` is for simulators, without a step leaving the device."""

import torch
from torch import Tensor

from agents.acting.actor import Episode
from agents.data.frames import Stacks
from envs.reinforcement.worlds.pool import DevicePool, TensorStep


class DeviceActor(Stacks):
    """S members x B environments of a DevicePool. Call `send`, learn, then `receive`.

    Returns are added up on the device, and read every `read_every` steps: `receive` returns the episodes that ended since the last time.
    """

    restarts = 0  # functions of tensors do not fail

    def __init__(self, pool: DevicePool, members: int, stack: int, read_every: int) -> None:
        self._pool, self._read_every = pool, read_every
        self._shape = members, self._pool.num_envs // members
        step = self._pool.reset()
        super().__init__(self._shaped(step.observations), stack)
        self._sent = torch.empty(0)
        self._scores = torch.zeros(self._shape, dtype=torch.float64, device=step.rewards.device)
        self._unread: list[tuple[Tensor, Tensor]] = []  # scores and ends of each step, (S, B)

    def send(self, actions: Tensor) -> None:
        """Choose an action for every environment, (S, B), or (S, B, numbers) of several numbers each."""
        self._sent = actions.flatten(0, 1)

    def receive(self) -> tuple[TensorStep, list[Episode]]:
        """Make the step that was sent; return it and the episodes that ended since they were last read.

        Raises FloatingPointError if an observation or a reward since then was not finite.
        """
        step = self._pool.step(self._sent)
        self.push(self._shaped(step.observations), self._shaped(step.first))
        scores, ended = self._scores + self._shaped(step.scores), self._shaped(step.terminated | step.truncated)
        self._unread.append((scores, ended))
        self._scores = scores.masked_fill(ended, 0)
        return step, self.read() if len(self._unread) >= self._read_every else []

    def close(self) -> list[Episode]:
        """Return the episodes that this cuts, with their scores so far."""
        return [Episode(member, column, score) for member, row in enumerate(self._scores.tolist()) for column, score in enumerate(row)]

    def tensors(self) -> dict[str, Tensor]:
        """The state between two steps whose episodes are read, by name."""
        return self._pool.tensors() | {"scores": self._scores} | super().tensors()

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore `tensors`."""
        self._pool.load(tensors)
        self._scores = tensors["scores"].to(self._scores.device)
        super().load(tensors)

    def read(self) -> list[Episode]:
        """Return the episodes that ended and were not read yet, after waiting for the device."""
        if not self._unread:
            return []
        if not self._pool.finite:
            raise FloatingPointError(f"an environment returned a number that is not finite in the last {len(self._unread)} steps")
        scores, ended = (torch.stack(each).cpu() for each in zip(*self._unread, strict=True))
        count, self._unread = len(self._unread), []
        return [
            Episode(member, column, float(scores[step, member, column]), count - 1 - step)
            for step, member, column in ended.nonzero().tolist()
        ]

    def _shaped(self, values: Tensor) -> Tensor:
        return values.view(*self._shape, *values.shape[1:])
