"""Shifts of observations and actions as a view of a world: the tensor form of `envs.reinforcement.shifts.Shifted`."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from envs.reinforcement.backends.pool import Ramp
from envs.reinforcement.shifts import Shift
from envs.reinforcement.worlds.base import Given, View
from envs.reinforcement.worlds.streams import normal

NEW, OLD = "new/", "old/"
RAMP = ("done", "stride", "length")


@dataclass(frozen=True)
class ShiftView(View):
    """Features and actions changed by `parts`, fields of a Shift; gradually, if `ramps`: see `Shifted`."""

    parts: tuple[str, ...]
    features: int
    ramps: bool

    def draws(self) -> int:
        """A number that chooses between the old and the new meaning of an action, and two for each normal number of the noise."""
        return int(self.ramps and "actions" in self.parts) + 2 * self.features * ("noise" in self.parts)

    def meant(self, actions: Tensor, given: Given, draws: Tensor, clock: Tensor) -> Tensor:
        """The original's actions."""
        if "actions" not in self.parts:
            return actions
        meant = given[f"{NEW}actions"].gather(1, actions[:, None])[:, 0]
        if not self.ramps:
            return meant
        old = given[f"{OLD}actions"].gather(1, actions[:, None])[:, 0]
        return torch.where(draws[:, 0] < self._share(given, clock), meant, old)

    def shown(self, observations: Tensor, given: Given, draws: Tensor, clock: Tensor) -> Tensor:
        """The changed features."""
        noise = normal(draws[:, -2 * self.features :]) if "noise" in self.parts else None
        new = self._changed(observations, given, NEW, noise)
        if not self.ramps:
            return new
        share = self._share(given, clock)
        return torch.where(share < 1, (1 - share) * self._changed(observations, given, OLD, noise) + share * new, new)

    def _changed(self, observations: Tensor, given: Given, which: str, noise: Tensor | None) -> Tensor:
        if "features" in self.parts:
            observations = observations.gather(1, given[f"{which}features"])
        if "scale" in self.parts:
            observations = observations * given[f"{which}scale"]
        if "offset" in self.parts:
            observations = observations + given[f"{which}offset"]
        return observations if noise is None else observations + given[f"{which}noise"] * noise

    @staticmethod
    def _share(given: Given, clock: Tensor) -> Tensor:
        """Share of the new task, () float32."""
        return ((given["done"] + clock * given["stride"]) / given["length"]).clamp(max=1).float()


def shift_view(features: int, now: Shift, before: Shift | None, ramp: Ramp | None) -> tuple[View, Given]:
    """The view of N environments in the shift `now`, coming from `before` by a `ramp`, if any, and its tensors."""
    parts = tuple(name for name, part in now._asdict().items() if part is not None)
    if not parts:
        return View(), {}
    given = _tensors(NEW, now)
    if ramp is not None and before is not None:
        given |= _tensors(OLD, before)
        given |= {name: torch.tensor(float(getattr(ramp, name)), dtype=torch.float64) for name in RAMP}
    return ShiftView(parts, features, ramp is not None), given


def _tensors(which: str, shift: Shift) -> Given:
    return {f"{which}{name}": torch.from_numpy(np.ascontiguousarray(part)) for name, part in shift._asdict().items() if part is not None}
