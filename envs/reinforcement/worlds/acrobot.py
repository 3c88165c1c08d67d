"""Acrobot-v1: two links, of which the second joint is turned."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from envs.reinforcement.worlds.base import World

SECONDS, GRAVITY = 0.2, 9.8
CENTRE = 0.5  # of a link; its length, mass and moment of inertia are 1
FASTEST = 4 * math.pi, 9 * math.pi  # of either joint, radians a second
START = 0.1  # largest size of each variable at the beginning


@dataclass(frozen=True)
class Acrobot(World):
    """Reward -1 a step until the tip is higher than one link above the base (Sutton 1996, NeurIPS 8), with Gymnasium's constants.

    The state is (N, 4) float64: both joints' angles (radians) and their angular velocities. A step is one of Runge and Kutta's.
    """

    draws: ClassVar[int] = 4

    def begin(self, draws: Tensor) -> Tensor:
        return (2 * draws.double() - 1) * START

    def step(self, state: Tensor, actions: Tensor, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        torque = actions.double() - 1
        first = _motion(state, torque)
        second = _motion(state + SECONDS / 2 * first, torque)
        third = _motion(state + SECONDS / 2 * second, torque)
        fourth = _motion(state + SECONDS * third, torque)
        one, two, turn, other = (state + SECONDS / 6 * (first + 2 * second + 2 * third + fourth)).unbind(1)
        turns = [speed.clamp(-most, most) for speed, most in zip((turn, other), FASTEST, strict=True)]
        after = torch.stack([_wrapped(one), _wrapped(two), *turns], 1)
        high = -after[:, 0].cos() - (after[:, 0] + after[:, 1]).cos() > 1
        return after, high.double() - 1, high

    def observe(self, state: Tensor) -> Tensor:
        one, two, turn, other = state.unbind(1)
        return torch.stack([one.cos(), one.sin(), two.cos(), two.sin(), turn, other], 1).float()


def _motion(state: Tensor, torque: Tensor) -> Tensor:
    """Derivative of the state, (N, 4): the equations of Sutton & Barto's book."""
    one, two, turn, other = state.unbind(1)
    inertia = CENTRE**2 + (1 + CENTRE**2 + 2 * CENTRE * two.cos()) + 2
    coupling = CENTRE**2 + CENTRE * two.cos() + 1
    lower = CENTRE * GRAVITY * (one + two - math.pi / 2).cos()
    upper = -CENTRE * two.sin() * (other.square() + 2 * other * turn) + (CENTRE + 1) * GRAVITY * (one - math.pi / 2).cos() + lower
    free = torque + coupling / inertia * upper - CENTRE * turn.square() * two.sin() - lower
    bending = free / (CENTRE**2 + 1 - coupling.square() / inertia)
    return torch.stack([turn, other, -(coupling * bending + upper) / inertia, bending], 1)


def _wrapped(angle: Tensor) -> Tensor:
    """The same angle in [-pi, pi)."""
    return angle - 2 * math.pi * ((angle + math.pi) / (2 * math.pi)).floor()
