"""Transitions: step types, rewards to learn from, and n-step returns."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from agents.data.rewards import Rewards
from envs.reinforcement.backends.pool import Step
from envs.reinforcement.worlds.pool import TensorStep


class StepType(IntEnum):
    """Type of a step, by the value that follows it."""

    CONTINUES = 0
    """the episode continues"""
    TERMINATED = 1
    """the episode ended: the next value is 0"""
    TRUNCATED = 2
    """the episode was cut: the next value is estimated"""


@overload
def outcome(step: Step, life_loss: bool) -> np.ndarray: ...
@overload
def outcome(step: TensorStep, life_loss: bool) -> Tensor: ...
def outcome(step: Any, life_loss: bool) -> Any:
    """StepType of each environment's step, in the shape of the flags; with `life_loss`, a lost life terminates the episode."""
    terminated = step.terminated | (step.life_lost & life_loss)  # products and sums, which arrays and tensors share
    return int(StepType.TERMINATED) * terminated + int(StepType.TRUNCATED) * (step.truncated & ~terminated)


@overload
def learned_rewards(step: Step, rewards: Rewards) -> np.ndarray: ...
@overload
def learned_rewards(step: TensorStep, rewards: Rewards) -> Tensor: ...
def learned_rewards(step: Any, rewards: Rewards) -> Any:
    """Rewards to learn from, before scaling."""
    return step.clipped_rewards if rewards == "clip" else step.rewards


def n_step(
    start: Tensor, steps: int, discount: float, known: Callable[[Tensor], Tensor], read: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum up to `steps` discounted rewards from positions `start`, stopping at an episode's end or after the last `known` position.

    `read(position)` returns rewards and step types; its results at unknown positions are ignored. Returns the sums, the discounts of the
    next value (0 after a termination), and the position of that value.
    """
    returns, position = torch.zeros(start.shape, device=start.device), start
    discounts, alive = torch.ones_like(returns), torch.ones_like(returns)
    for _ in range(steps):
        rewards, step_types = read(position)
        alive = alive * known(position)  # an unknown outcome ends the sum like a cut
        returns = returns + alive * discounts * rewards
        discounts = torch.where(alive > 0, discounts * discount * (step_types != StepType.TERMINATED), discounts)
        position = torch.where(alive > 0, position + 1, position)
        alive = alive * (step_types == StepType.CONTINUES)
    return returns, discounts, position
