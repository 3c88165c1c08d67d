"""Parallelised Q-learning: no replay, no target network."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from agents.base import Rollout, head_copies, linear_epsilon, refuse_shapes
from agents.data.returns import lambda_returns
from agents.data.rewards import Rewards
from agents.loops.rollout import TrainsOnRollouts
from envs.reinforcement.base import ReinforcementBenchmark
from plasticity_rl.checks import Interval, check
from plasticity_rl.networks.layers import HeadSpec, Params
from plasticity_rl.networks.network import Network


@dataclass(frozen=True)
class PQN(TrainsOnRollouts):
    """Q(lambda) on unrolls of parallel environments, in a network with layer norm (Gallici et al. 2024, arXiv 2407.04811).

    The norm is a field of the network, or an intervention, and PQN is not stable without. Defaults are CleanRL's pqn_atari_envpool's,
    for 8 environments; the paper has 128 environments, unrolls of 32, 2 epochs of 32 minibatches and a final epsilon of 0.001.
    """

    num_envs: Annotated[int, Interval("[1, 100_000]")] = 8
    """of each member"""
    rollout_length: Annotated[int, Interval("[1, 100_000]")] = 128
    """steps of each environment between two times of learning"""
    epochs: Annotated[int, Interval("[1, 100_000]")] = 4
    """times that an unroll is learned from"""
    minibatches: Annotated[int, Interval("[1, 100_000]")] = 4
    """in which each of them is done"""
    num_pools: Annotated[int, Interval("[1, 100_000]")] = 1
    """into which the environments are divided; with 2, one steps while the other is decided for"""
    discount: Annotated[float, Interval("[0, 1]")] = 0.99
    q_lambda: Annotated[float, Interval("[0, 1]")] = 0.65
    """lambda of the returns"""
    rewards: Rewards = "clip"
    """what is learned from; scores are always the game's own"""
    final_epsilon: Annotated[float, Interval("[0, 1]")] = 0.01
    """chance of a random action after exploration"""
    exploration_fraction: Annotated[float, Interval("[0, 1]")] = 0.1
    """share of each visit in which it falls from 1 to `final_epsilon`; 0 starts there"""
    evaluation_epsilon: Annotated[float, Interval("[0, 1]")] = 0.0
    """chance of a random action in evaluations"""

    supervision: ClassVar[str] = "rewards"
    queued: ClassVar[bool] = False
    samples: ClassVar[bool] = False
    separable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)
        refuse_shapes(self, self.num_envs * self.rollout_length, "steps")

    def heads(self, benchmark: ReinforcementBenchmark) -> HeadSpec:
        """One head, of action values."""
        return HeadSpec((("head", benchmark.action_space.n),), tasks=head_copies(benchmark))

    def prepare(self, rollout: Rollout) -> Rollout:
        """Adds `goals`, the returns to learn; `values` are the largest at the time of acting."""
        goals = lambda_returns(rollout["rewards"], rollout["discounts"], rollout["continues"], rollout["values"][1:], self.q_lambda)
        return {"actions": rollout["actions"], "real": rollout["real"], "goals": goals}

    def loss(self, network: Network, params: Params, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Of ONE network: half the mean squared error of the chosen actions' values, over steps whose action was heeded."""
        values = network.apply(params, batch["inputs"], task=batch["task"])[0].gather(1, batch["actions"][:, None])[:, 0]
        errors = 0.5 * (values - batch["goals"]).square()
        return (batch["real"] * errors).sum() / batch["real"].sum().clamp(min=1), {"value": values.detach().mean()}

    def act(self, network: Network, params: Params, observations: Tensor, drawn: dict[str, Tensor], shared: dict[str, Tensor]) -> Params:
        """Of ONE network: `actions` (B,), greedy for `observations` (B, ...) or any where `drawn["uniform"]` (B, 2) says so, and the
        largest of its `values` (B,)."""
        values, greedy = network.apply(params, observations, task=shared["task"])[0].max(-1)
        explore, which = drawn["uniform"].unbind(-1)
        return {"actions": torch.where(explore < shared["epsilon"], (which * network.outputs).long(), greedy), "values": values}

    def decode_outputs(self, outputs: Tensor) -> dict[str, Tensor]:
        """What ONE network's outputs say of n inputs: `preferences` (n, actions), which are values, and the largest, `values` (n,)."""
        return {"logits": outputs, "values": outputs.max(-1).values}

    def epsilon(self, progress: float) -> float:
        """Chance of a random action when `progress` of a visit is over."""
        return linear_epsilon(progress, self.exploration_fraction, self.final_epsilon)
