"""Proximal policy optimisation."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from agents.base import Rollout, head_copies, refuse_shapes
from agents.data.returns import advantages
from agents.data.rewards import Rewards
from agents.heads import entropy, log_probability, sample
from agents.loops.rollout import TrainsOnRollouts
from envs.reinforcement.base import ReinforcementBenchmark
from plasticity_rl.checks import Interval, check
from plasticity_rl.networks.layers import HeadSpec, Params
from plasticity_rl.networks.network import Network


@dataclass(frozen=True)
class PPO(TrainsOnRollouts):
    """Actor and critic in one network, by clipped surrogate objectives (Schulman et al. 2017, arXiv 1707.06347) on generalised advantages.

    Defaults are the paper's for Atari, with details of its code from "The 37 implementation details" (Huang et al. 2022): advantages
    normalised per minibatch, values clipped like the policy. Evaluations sample from the policy.
    """

    num_envs: Annotated[int, Interval("[1, 100_000]")] = 8
    """environments per member"""
    rollout_length: Annotated[int, Interval("[1, 100_000]")] = 128
    """steps of each environment per rollout"""
    epochs: Annotated[int, Interval("[1, 100_000]")] = 4
    """passes over a rollout"""
    minibatches: Annotated[int, Interval("[1, 100_000]")] = 4
    """updates per pass"""
    num_pools: Annotated[int, Interval("[1, 100_000]")] = 1
    """pools that the environments are divided into; with 2, one steps while the policy acts for the other"""
    discount: Annotated[float, Interval("[0, 1]")] = 0.99
    gae_lambda: Annotated[float, Interval("[0, 1]")] = 0.95
    """lambda of generalised advantage estimation"""
    rewards: Rewards = "clip"
    """transformation of rewards before learning; scores are always the raw returns"""
    clip_range: Annotated[float, Interval("(0, inf)")] = 0.1
    """clip range of the probability ratio and of the value"""
    entropy_coef: Annotated[float, Interval("[0, inf)")] = 0.01
    """coefficient of the policy entropy"""
    value_coef: Annotated[float, Interval("[0, inf)")] = 0.5
    """coefficient of the value loss"""

    supervision: ClassVar[str] = "rewards"
    queued: ClassVar[bool] = False
    samples: ClassVar[bool] = True
    separable: ClassVar[bool] = False  # advantages are centred over the minibatch

    def __post_init__(self) -> None:
        check(self)
        refuse_shapes(self, self.num_envs * self.rollout_length, "steps")

    def heads(self, benchmark: ReinforcementBenchmark) -> HeadSpec:
        """Heads of the policy logits and of the state value."""
        return HeadSpec((("policy", benchmark.action_space.n), ("value", 1)), tasks=head_copies(benchmark))

    def prepare(self, rollout: Rollout) -> Rollout:
        """Add `advantages`, and `goals`, the targets of the values."""
        values = rollout["values"]
        found = advantages(rollout["rewards"], rollout["discounts"], rollout["continues"], values[:-1], values[1:], self.gae_lambda)
        kept = {name: rollout[name] for name in ("actions", "log_probabilities", "real")}
        return kept | {"values": values[:-1], "advantages": found, "goals": found + values[:-1]}

    def loss(self, network: Network, params: Params, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of ONE network: policy, value and entropy terms, means over the steps whose action took effect."""
        logits, values = _heads(network, params, batch["inputs"], batch["task"])
        real = batch["real"] / batch["real"].sum().clamp(min=1)
        centred = batch["advantages"] - (real * batch["advantages"]).sum()
        scaled = centred / ((real * centred.square()).sum().sqrt() + 1e-8)
        ratio = (log_probability(logits, batch["actions"]) - batch["log_probabilities"]).exp()
        policy = -torch.minimum(ratio * scaled, ratio.clamp(1 - self.clip_range, 1 + self.clip_range) * scaled)
        near = batch["values"] + (values - batch["values"]).clamp(-self.clip_range, self.clip_range)
        critic = 0.5 * torch.maximum((values - batch["goals"]).square(), (near - batch["goals"]).square())
        spread = entropy(logits)
        total = (real * (policy + self.value_coef * critic - self.entropy_coef * spread)).sum()
        return total, {"value": values.detach().mean(), "entropy": (real * spread).sum().detach()}

    def act(self, network: Network, params: Params, observations: Tensor, drawn: dict[str, Tensor], shared: dict[str, Tensor]) -> Params:
        """Sampled `actions` (B,) of ONE network for `observations` (B, ...), their `log_probabilities`, and state `values`."""
        logits, values = _heads(network, params, observations, shared["task"])
        actions = sample(logits, drawn["uniform"])
        return {"actions": actions, "log_probabilities": log_probability(logits, actions), "values": values}

    def decode_outputs(self, outputs: Tensor) -> dict[str, Tensor]:
        """Policy `logits` (n, actions) and state `values` (n,) of ONE network."""
        return {"logits": outputs[:, :-1], "values": outputs[:, -1]}


def _heads(network: Network, params: Params, inputs: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (batch, actions) and values (batch,)."""
    outputs = network.apply(params, inputs, task=task)[0]
    return outputs[:, :-1], outputs[:, -1]
