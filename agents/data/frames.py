"""Ring buffer of single frames on the learner's device; observations are stacked from it by index."""

from typing import Any

import torch
from torch import Tensor

from plasticity_rl.training.compilation import compiled


class Frames:
    """`rows` steps of S members x B environments. Each frame is stored once."""

    def __init__(
        self,
        rows: int,
        members: int,
        num_envs: int,
        frame: tuple[int, ...],
        dtype: str,
        stack: int,
        device: str,
        compile: bool = False,
    ) -> None:
        """`frame` is the shape of a single frame; `stack` the number of frames per observation, oldest first."""
        self.rows, self.stack = rows, stack
        self._stacked = compiled(_packed) if compile and (dtype, stack) == ("uint8", 4) else _stacked
        shape = (rows, members, num_envs)
        self.frames = torch.empty((*shape, *frame), dtype=getattr(torch, dtype), device=device)  # memory is allocated as it is written
        self.ages = torch.zeros(shape, dtype=torch.int64, device=device)  # frames of the episode before this one, at most stack - 1
        # NumPy writes in one thread; torch's threads would wait for each other when actors occupy the CPUs.
        self._written: Any = self.frames.numpy() if device == "cpu" else self.frames
        self._members = torch.arange(members, device=device)[:, None]

    @property
    def nbytes(self) -> int:
        """Memory of the full ring, in bytes."""
        return self.frames.nbytes + self.ages.nbytes

    def write(self, row: int, columns: slice, frames: Tensor, ages: Tensor) -> None:
        """Write frames (S, B, *frame) and their ages (S, B) into some columns of a row."""
        self._written[row, :, columns], self.ages[row, :, columns] = frames, ages

    def carry_over(self) -> None:
        """Copy the frames of the last row's stacks to the first rows, where the next rollout continues."""
        for tensor in (self.frames, self.ages):
            tensor[: self.stack] = tensor[-self.stack :].clone()

    def carried(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint between two rollouts: the rows that were carried over."""
        return {"frames/frames": self.frames[: self.stack], "frames/ages": self.ages[: self.stack]}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore `carried`, if there."""
        if tensors:
            self.frames[: self.stack], self.ages[: self.stack] = tensors["frames/frames"], tensors["frames/ages"]

    def observations(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Stacks that end at `rows` and `columns`, (S, batch) each; an episode's first frame is repeated to fill its stacks.

        Returns (S, batch, stack, *frame), or (S, batch, *frame) if stack is 1. In memory the stack is the last axis, the fastest layout for
        convolutions on CPUs and GPUs.
        """
        if self.stack == 1:
            return self.frames[rows, self._members, columns]
        ages = self.ages[rows, self._members, columns]
        members, num_envs, *frame = self.frames.shape[1:]
        back = torch.arange(self.stack - 1, -1, -1, device=rows.device)
        taken = (rows[..., None] - ages[..., None].clamp(max=back)) % self.rows
        places = taken * (members * num_envs) + (self._members * num_envs + columns)[..., None]
        stacks = self._stacked(self.frames.flatten(3).flatten(0, 2), places.view(-1, self.stack))
        return stacks.view(*rows.shape, *frame, self.stack).movedim(-1, 2)


class Stacks:
    """Frame stacks that a policy observes, of S members x B environments: what actors in this process have in common."""

    def __init__(self, frames: Tensor, stack: int) -> None:
        """`frames`: the first ones, (S, B, *frame)."""
        self.frames, self._stack = frames, stack
        """newest frames, (S, B, *frame)"""
        self.ages = torch.zeros(frames.shape[:2], dtype=torch.int64, device=frames.device)
        """frames of the episode before each, at most stack - 1, (S, B)"""
        self._stacks = frames.unsqueeze(-1).repeat_interleave(stack, -1)  # the newest last

    @property
    def observations(self) -> Tensor:
        """(S, B, stack, *frame), or (S, B, *frame) if stack is 1; same memory layout as `Frames`."""
        return self.frames if self._stack == 1 else self._stacks.movedim(-1, 2)

    def push(self, frames: Tensor, first: Tensor) -> None:
        """Add the newest frames; `first` (S, B) is True where a frame opens an episode."""
        self.frames = frames
        self.ages = torch.where(first, 0, (self.ages + 1).clamp(max=self._stack - 1))
        self._stacks = pushed(self._stacks, frames, first)

    def tensors(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint."""
        return {"frames": self.frames, "ages": self.ages, "stacks": self._stacks}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore `tensors`."""
        self.frames, self.ages, self._stacks = (tensors[name].to(self.ages.device) for name in ("frames", "ages", "stacks"))


def pushed(stacks: Tensor, newest: Tensor, first: Tensor) -> Tensor:
    """Push the `newest` frames (S, B, *frame) onto stacks (S, B, *frame, stack); `first` (S, B) is True where a frame opens an episode."""
    newest, first = newest.unsqueeze(-1), first.view(*first.shape, *(1,) * (stacks.ndim - 2))
    if (stacks.dtype, stacks.shape[-1]) == (torch.uint8, 4):  # as one int32, the newest in the high byte: see `_packed`
        packed, newest = stacks.view(torch.int32), newest.int()
        return torch.where(first, newest * 0x01010101, packed >> 8 & 0xFFFFFF | newest << 24).view(torch.uint8)
    return torch.where(first, newest, torch.cat([stacks[..., 1:], newest], -1))


def _stacked(frames: Tensor, places: Tensor) -> Tensor:
    """Stack the `frames` (n, pixels) at `places` (batch, stack): (batch, pixels, stack)."""
    return torch.stack([frames.index_select(0, place) for place in places.unbind(1)], -1)


def _packed(frames: Tensor, places: Tensor) -> Tensor:
    """`_stacked` for four bytes packed into a little-endian int32, which vectorises when compiled."""
    first, second, third, last = (frames.index_select(0, place).int() for place in places.unbind(1))
    return (first | second << 8 | third << 16 | last << 24).view(torch.uint8).unflatten(-1, (-1, 4))
