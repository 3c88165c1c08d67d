"""Replay that stores each frame once; stacks and n-step returns are computed when sampled."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.data.frames import Frames
from agents.data.priorities import Priorities
from agents.data.transitions import StepType, n_step


class AgeDecay(NamedTuple):
    """Sampling by age, sample weight decay (Wu et al., ICLR 2026, arXiv 2604.01913): the weight max(floor, 1 - age / steps)."""

    steps: int
    """of a member's environments"""
    floor: float


class Replay:
    """Ring buffer with one row per pool step, and a column for each of S members x B environments; members do not share data.

    Row t holds the frame in which an action is chosen and, once known, its outcome. Rows without a transition (an episode's last frame) and
    rows whose stacks reach into overwritten rows are never sampled.
    """

    def __init__(
        self,
        members: int,
        num_envs: int,
        capacity: int,
        frame: tuple[int, ...],
        dtype: str,
        stack: int,
        prioritised: bool,
        device: str,
        compile: bool = False,
        most_rows: int | None = None,
        aged: AgeDecay | None = None,
        action: tuple[int, ...] = (),
    ) -> None:
        """`capacity` is in steps per member; `most_rows` the number of rows that are ever written, if known: where they do not fill the
        capacity, memory is only taken for them; `frame` is the shape of a single frame; `stack` the number of frames per observation;
        `aged` is for draws by age; `action` is the shape of an action of several numbers, or empty for one of n."""
        rows = max(capacity // num_envs, stack + 2)
        self.rows, self.num_envs = rows if most_rows is None else min(rows, most_rows + stack), num_envs
        self.frames = Frames(self.rows, members, num_envs, frame, dtype, stack, device, compile)
        shape = (self.rows, members, num_envs)
        self.data = {
            "frames": self.frames.frames,
            "ages": self.frames.ages,
            "actions": torch.zeros((*shape, *action), dtype=torch.float32 if action else torch.int64, device=device),
            "rewards": torch.zeros(shape, device=device),
            "step_type": torch.zeros(shape, dtype=torch.uint8, device=device),
            "task": torch.zeros(shape, dtype=torch.int64, device=device),
        }
        count = rows * num_envs  # also of rows without memory: draws depend on it
        self.real = Priorities(members, count, device)
        """1 for a transition that can be sampled, else 0; the index is row x environments + column"""
        self.priorities = Priorities(members, count, device) if prioritised else None
        self._decay, self._stale = aged, True
        self._aged = None if aged is None else Priorities(members, count, device)
        self._highest = torch.ones(members, 1, device=device)
        self._members = torch.arange(members, device=device)[:, None]
        self.written = 0
        """rows written since it was last empty"""

    def clear(self) -> None:
        """Clear the replay."""
        self.written, self._stale = 0, True
        self.real.clear()
        self._highest.fill_(1.0)
        if self.priorities is not None:
            self.priorities.clear()

    @property
    def size(self) -> int:
        """Steps stored per member, including last frames of episodes."""
        return max(min(self.written, self.rows) - 1, 0) * self.num_envs

    @property
    def nbytes(self) -> int:
        """Memory of the full replay, in bytes."""
        sums = sum(each.nbytes for each in (self.real, self.priorities, self._aged) if each is not None)
        return sum(tensor.nbytes for tensor in self.data.values()) + sums

    def write_frames(self, frames: Tensor, ages: Tensor, actions: Tensor, task: int) -> None:
        """Write a new row: the frames (S, B, *frame) in which actions (S, B, *action) are taken, their ages, and their task."""
        row = self.written % self.rows
        # Frames from before a clear are gone, even within an episode.
        self.frames.write(row, slice(None), frames, ages.clamp(max=self.written))
        self.data["actions"][row], self.data["task"][row] = actions, task
        self.data["rewards"][row], self.data["step_type"][row] = 0.0, StepType.TRUNCATED
        reached = row + self.frames.stack  # the old row is gone, and so are the rows whose stacks reached into it
        for first, last in ((row, min(reached, self.rows)), (0, max(reached - self.rows, 0))):
            for each in filter(None, (self.real, self.priorities)):
                each.write_row(first * self.num_envs, last * self.num_envs, 0.0)
        self.written, self._stale = self.written + 1, True

    def write_outcome(self, rewards: Tensor, step_types: Tensor, real: Tensor, priorities: Tensor | None = None) -> None:
        """Write the outcome of the newest row, (S, B) each: rewards, step types, True in `real` where the action took effect, and initial
        priorities, by default the highest so far."""
        if self.written == 0:  # cleared since
            return
        row, self._stale = (self.written - 1) % self.rows, True
        self.data["rewards"][row], self.data["step_type"][row] = rewards, step_types
        edges = row * self.num_envs, (row + 1) * self.num_envs
        self.real.write_row(*edges, real.float())
        if self.priorities is not None:
            self.priorities.write_row(*edges, real * (self._highest if priorities is None else priorities))

    def cut(self, frames: Tensor, ages: Tensor) -> None:
        """Cut all episodes, because the environments close; write their last frames (S, B, *frame)."""
        self.interrupt(slice(None))
        self.write_frames(frames, ages, torch.zeros_like(self.data["actions"][0]), 0)

    def interrupt(self, columns: slice) -> None:
        """Truncate the episodes in some columns at the newest row; the next frame written is the one that it led to."""
        if self.written:
            newest = self.data["step_type"][(self.written - 1) % self.rows, :, columns]
            newest.masked_fill_(newest == StepType.CONTINUES, StepType.TRUNCATED)

    def sample(
        self, uniform: Tensor, steps: int, discount: float, share: float = 1.0, correction: float = 0.0, by_age: bool = False
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Sample a transition per pair of numbers in `uniform` (S, batch, 2), in [0, 1); return the batch, and indices for `prioritise`.

        A fraction `share` is drawn uniformly, the rest in proportion to priorities; without priorities, all uniformly, or with `by_age` in
        proportion to the weights of AgeDecay, for which nothing corrects. The batch has inputs and next_inputs (S, batch, stack, *frame),
        or (S, batch, *frame) if stack is 1; actions (S, batch, *action); and (S, batch) each: task, returns (sums of up to `steps`
        discounted rewards within the episode), discounts (of the next value; 0 after a termination), and weights: importance weights
        (1 / probability) to the power `correction`, divided by the batch's largest (Schaul et al. 2016, arXiv 1511.05952); 0 for a row
        without a transition, which is drawn only if there is no transition.
        """
        index, weights = self._draw(uniform, share, correction, by_age)
        rows, columns = (index // self.num_envs).clamp(max=self.rows - 1), index % self.num_envs
        newest = (self.written - 1) % self.rows

        def read(position: Tensor) -> tuple[Tensor, Tensor]:
            at = position % self.rows, self._members, columns
            return self.data["rewards"][at], self.data["step_type"][at]

        returns, discounts, reached = n_step(rows, steps, discount, lambda position: position % self.rows != newest, read)
        seen = self.frames.observations(torch.cat([rows, reached % self.rows], 1), columns.repeat(1, 2))
        inputs, next_inputs = seen.chunk(2, 1)
        batch = {
            "inputs": inputs,
            "next_inputs": next_inputs,
            "actions": self.data["actions"][rows, self._members, columns],
            "task": self.data["task"][rows, self._members, columns],
            "returns": returns,
            "discounts": discounts,
            "weights": weights,
        }
        return batch, index

    def prioritise(self, index: Tensor, priorities: Tensor) -> None:
        """Set new priorities (S, batch) of sampled transitions."""
        if self.priorities is not None:
            self._highest = torch.maximum(self._highest, priorities.amax(-1, keepdim=True))
            self.priorities.write(index, priorities * self.real.values.gather(1, index))

    def tensors(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint, by name: the rows written so far."""
        named = {f"replay/{name}": tensor[: min(self.written, self.rows)] for name, tensor in self.data.items()}
        named["replay/real"] = self.real.values
        if self.priorities is not None:
            named |= {"replay/priorities": self.priorities.values, "replay/highest": self._highest}
        return named

    def load(self, tensors: dict[str, Any], written: int) -> None:
        """Restore `tensors` of a replay with `written` rows."""
        self.written, self._stale = written, True
        for name, tensor in self.data.items():
            tensor[: min(written, self.rows)] = tensors[f"replay/{name}"]
        self.real.load(tensors["replay/real"])
        if self.priorities is not None:
            self.priorities.load(tensors["replay/priorities"])
            self._highest.copy_(tensors["replay/highest"])

    def _draw(self, uniform: Tensor, share: float, correction: float, by_age: bool) -> tuple[Tensor, Tensor]:
        """Draw indices and importance weights, (S, batch) each."""
        which, place = uniform.unbind(-1)
        index = (self._by_age() if by_age else self.real).draw(place)
        real = self.real.values.gather(1, index)
        if self.priorities is None:
            return index, real
        shares = torch.where(self.priorities.total > 0, share, 1.0)  # all uniformly if all priorities are 0
        index = torch.where(which < shares, index, self.priorities.draw(place))
        probability = shares * self.real.probability(index) + (1 - shares) * self.priorities.probability(index)
        weights = probability.clamp(min=torch.finfo(probability.dtype).tiny) ** -correction
        return index, weights / weights.amax(-1, keepdim=True) * self.real.values.gather(1, index)

    def _by_age(self) -> Priorities:
        """The weights of AgeDecay as priorities; computed anew for all rows once there is a new one."""
        assert self._aged is not None and self._decay is not None, "a replay without AgeDecay"
        if self._stale:
            values = self.real.values.clone()
            rows = torch.arange(min(self.written, self.rows), device=values.device)
            age = (self.written - 1 - rows) % self.rows * self.num_envs
            weights = (1 - age / self._decay.steps).clamp(min=self._decay.floor)
            values[:, : len(rows) * self.num_envs].unflatten(1, (-1, self.num_envs)).mul_(weights[:, None])
            self._aged.load(values)
            self._stale = False
        return self._aged
