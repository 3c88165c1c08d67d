"""A ring of single frames, on the learner's device; what a policy sees is stacked from it by index."""

import torch
from torch import Tensor


class Frames:
    """`rows` steps of S members x B environments. Each frame is stored once."""

    def __init__(self, rows: int, members: int, environments: int, frame: tuple[int, ...], dtype: str, stack: int, device: str) -> None:
        """`frame` is the shape of a single one; `stack` how many make an observation, oldest first."""
        self.rows, self.stack = rows, stack
        shape = (rows, members, environments)
        self.frames = torch.empty((*shape, *frame), dtype=getattr(torch, dtype), device=device)  # memory is taken as it is written
        self.ages = torch.zeros(shape, dtype=torch.int64, device=device)  # frames of the episode before this one, at most stack - 1
        self._members = torch.arange(members, device=device)[:, None]

    def write(self, row: int, columns: slice, frames: Tensor, ages: Tensor) -> None:
        """Frames (S, B, *frame) and their ages (S, B), into some columns of a row."""
        self.frames[row, :, columns], self.ages[row, :, columns] = frames, ages

    def carry_over(self) -> None:
        """What the last row's stacks reach back to becomes the first rows, so that a next unroll goes on from there."""
        for tensor in (self.frames, self.ages):
            tensor[: self.stack] = tensor[-self.stack :].clone()

    def observations(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The stacks that end at `rows` of `columns`, (S, batch) each. Before an episode's first frame, that frame is repeated.

        Returns (S, batch, stack, *frame), or (S, batch, *frame) where stack is 1. In memory the stack comes last, as convolutions on
        processors and GPUs like it best.
        """
        if self.stack == 1:
            return self.frames[rows, self._members, columns]
        ages = self.ages[rows, self._members, columns]
        members, environments = self.frames.shape[1:3]
        flat, places = self.frames.flatten(0, 2), self._members * environments + columns
        planes = [  # whole frames are copied faster by one index than by three
            flat.index_select(0, ((rows - ages.clamp(max=back)) % self.rows * (members * environments) + places).flatten())
            for back in range(self.stack - 1, -1, -1)
        ]
        return torch.stack(planes, -1).unflatten(0, rows.shape).movedim(-1, 2)
