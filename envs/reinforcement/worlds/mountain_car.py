"""MountainCar-v0: a car too weak for the hill before it."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from envs.reinforcement.worlds.base import World

LEFT, RIGHT, FLAG = -1.2, 0.6, 0.5
FASTEST, FORCE, GRAVITY = 0.07, 0.001, 0.0025
START = -0.6, -0.4


@dataclass(frozen=True)
class MountainCar(World):
    """Reward -1 a step until the car reaches the flag (Moore 1990), with Gymnasium's constants.

    The state is (N, 2) float64: position and velocity.
    """

    draws: ClassVar[int] = 1

    def begin(self, draws: Tensor) -> Tensor:
        place = START[0] + (START[1] - START[0]) * draws.double()
        return torch.cat([place, torch.zeros_like(place)], 1)

    def step(self, state: Tensor, actions: Tensor, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        place, speed = state.unbind(1)
        speed = (speed + (actions - 1) * FORCE - GRAVITY * (3 * place).cos()).clamp(-FASTEST, FASTEST)
        place = (place + speed).clamp(LEFT, RIGHT)
        speed = torch.where((place == LEFT) & (speed < 0), 0, speed)
        return torch.stack([place, speed], 1), -torch.ones_like(place), (place >= FLAG) & (speed >= 0)

    def observe(self, state: Tensor) -> Tensor:
        return state.float()
