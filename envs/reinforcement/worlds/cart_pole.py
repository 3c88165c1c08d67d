"""CartPole-v1: a pole on a cart that is pushed to either side."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from envs.reinforcement.worlds.base import World

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
EDGE, TILT = 2.4, 12 * 2 * math.pi / 360  # beyond which the episode ends
START = 0.05  # largest size of each variable at the beginning


@dataclass(frozen=True)
class CartPole(World):
    """Reward 1 a step until the pole falls or the cart leaves the track (Barto et al. 1983, IEEE SMC-13), with Gymnasium's constants.

    The state is (N, 4) float64: position, velocity, angle (radians) and angular velocity.
    """

    draws: ClassVar[int] = 4

    def begin(self, draws: Tensor) -> Tensor:
        return (2 * draws.double() - 1) * START

    def step(self, state: Tensor, actions: Tensor, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, speed, angle, turn = state.unbind(1)
        sine, cosine = angle.sin(), angle.cos()
        total, moment = CART + POLE, POLE * HALF_LENGTH
        push = (torch.where(actions == 1, FORCE, -FORCE) + moment * turn.square() * sine) / total
        turning = (GRAVITY * sine - cosine * push) / (HALF_LENGTH * (4 / 3 - POLE * cosine.square() / total))
        driving = push - moment * turning * cosine / total
        after = torch.stack([x + SECONDS * speed, speed + SECONDS * driving, angle + SECONDS * turn, turn + SECONDS * turning], 1)
        fallen = (after[:, 0].abs() > EDGE) | (after[:, 2].abs() > TILT)
        return after, torch.ones_like(x), fallen

    def observe(self, state: Tensor) -> Tensor:
        return state.float()
