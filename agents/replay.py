"""Uniform replay that stores each frame once; observations are stacked, and n-step returns summed, by index when they are asked for."""

from typing import Any

import torch
from torch import Tensor

CONTINUES, TERMINATED, CUT = 0, 1, 2


class Replay:
    """A ring of rows, one a step of the pool; S members x B environments side by side, each member sampling its own columns.

    Row t holds the frame in which an action is chosen, and, once it is known, what followed. A row without a transition (an episode's last
    frame) is marked and never sampled. Members do not share data.
    """

    def __init__(
        self, members: int, environments: int, capacity: int, frame: tuple[int, ...], dtype: torch.dtype, stack: int, device: str
    ) -> None:
        """`capacity` is in steps of one member; `frame` the shape of a single frame; `stack` how many make an observation, oldest first."""
        self.rows, self.stack = max(capacity // environments, stack + 2), stack
        shape = (self.rows, members, environments)
        self.data = {
            "frames": torch.empty((*shape, *frame), dtype=dtype, device=device),  # memory is taken as it is written
            "ages": torch.zeros(shape, dtype=torch.int64, device=device),  # frames of the episode before this one, at most stack - 1
            "actions": torch.zeros(shape, dtype=torch.int64, device=device),
            "rewards": torch.zeros(shape, device=device),
            "ends": torch.zeros(shape, dtype=torch.uint8, device=device),
            "real": torch.zeros(shape, dtype=torch.bool, device=device),
        }
        self._members = torch.arange(members, device=device)[:, None]
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.data["real"].zero_()
        self.written = 0  # rows ever written since

    @property
    def size(self) -> int:
        """Steps of one member that can be sampled, ends of episodes included."""
        return max(min(self.written, self.rows) - 1, 0) * self.data["real"].shape[2]

    def write_frames(self, frames: Tensor, ages: Tensor, actions: Tensor) -> None:
        """A new row: the frames (S, B, *frame) in which actions (S, B) are taken, and their ages."""
        row = self.written % self.rows
        ages = ages.clamp(max=self.written)  # what came before a clearing is gone, in mid-episode too
        self.data["frames"][row], self.data["ages"][row], self.data["actions"][row] = frames, ages, actions
        self.data["rewards"][row], self.data["ends"][row], self.data["real"][row] = 0.0, CUT, False
        self.written += 1

    def write_outcome(self, rewards: Tensor, ends: Tensor, real: Tensor) -> None:
        """What came of the newest row, (S, B) each: rewards, CONTINUES / TERMINATED / CUT, and whether the action was heeded at all."""
        if self.written == 0:  # cleared since
            return
        row = (self.written - 1) % self.rows
        self.data["rewards"][row], self.data["ends"][row], self.data["real"][row] = rewards, ends, real

    def cut(self, frames: Tensor, ages: Tensor) -> None:
        """The environments go away: their last frames (S, B, *frame) end every episode without an outcome."""
        if self.written:
            before = (self.written - 1) % self.rows
            ends = self.data["ends"][before]
            self.data["ends"][before] = torch.where(ends == CONTINUES, CUT, ends)
        self.write_frames(frames, ages, torch.zeros_like(ages))

    def sample(self, uniform: Tensor, steps: int, discount: float) -> dict[str, Tensor]:
        """One transition for each slot of `uniform` (S, batch, tries), numbers in [0, 1).

        Uniform over all transitions: a slot takes the first of its tries that names one, and weighs 0 should none. Returns inputs and
        next_inputs (S, batch, stack, *frame), or (S, batch, *frame) where stack is 1; and (S, batch) each: actions, returns (the sum of up
        to `steps` discounted rewards until the episode's end), discounts (of the value that follows; 0 after a termination), weights.
        """
        environments = self.data["real"].shape[2]
        full = self.written > self.rows
        first = self.written - self.rows + self.stack - 1 if full else 0  # below it, a stack would reach into overwritten rows
        count = self.written - 1 - first  # the newest row has no outcome yet
        index = (uniform * (count * environments)).long().clamp(max=count * environments - 1)
        rows, columns = (first + index // environments) % self.rows, index % environments
        real = self.data["real"][rows, self._members[..., None], columns]
        chosen = real.int().argmax(-1, keepdim=True)  # the first that is
        rows, columns = rows.gather(-1, chosen)[..., 0], columns.gather(-1, chosen)[..., 0]
        weights = real.any(-1).float()

        returns, alive = torch.zeros_like(weights), torch.ones_like(weights)
        discounts, reached = torch.ones_like(weights), rows
        newest = (self.written - 1) % self.rows
        for _ in range(steps):
            at = reached, self._members, columns
            alive = alive * (reached != newest)  # an outcome that is not known yet ends the sum as a cut does
            returns = returns + alive * discounts * self.data["rewards"][at]
            ends = torch.where(alive > 0, self.data["ends"][at], CONTINUES)
            discounts = torch.where(alive > 0, discounts * discount, discounts) * (ends != TERMINATED)
            reached = torch.where(alive > 0, (reached + 1) % self.rows, reached)
            alive = alive * (ends == CONTINUES)
        return {
            "inputs": self.observations(rows, columns),
            "actions": self.data["actions"][rows, self._members, columns],
            "returns": returns,
            "discounts": discounts,
            "next_inputs": self.observations(reached, columns),
            "weights": weights,
        }

    def observations(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The stacks that end at `rows` of `columns`, (S, batch) each. Before an episode's first frame, that frame is repeated."""
        ages = self.data["ages"][rows, self._members, columns]
        if self.stack == 1:
            return self.data["frames"][rows, self._members, columns]
        back = torch.arange(self.stack - 1, -1, -1, device=rows.device)
        stacked = (rows[..., None] - torch.minimum(back, ages[..., None])) % self.rows
        return self.data["frames"][stacked, self._members[..., None], columns[..., None]]

    def tensors(self) -> dict[str, Tensor]:
        """The rows written so far, by name, for a checkpoint."""
        return {f"replay/{name}": tensor[: min(self.written, self.rows)] for name, tensor in self.data.items()}

    def load(self, tensors: dict[str, Any], written: int) -> None:
        """Go on from what `tensors` were, `written` rows in."""
        self.written = written
        for name, tensor in self.data.items():
            tensor[: min(written, self.rows)] = tensors[f"replay/{name}"]
