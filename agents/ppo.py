"""Proximal policy optimisation."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from agents.base import Rollout, head_copies, refuse_shapes
from agents.data.returns import advantages
from agents.data.rewards import Rewards
from agents.heads import policy_logits
from agents.loops.rollout import TrainsOnRollouts
from agents.policies import Choice, Gaussian, Policy
from envs.reinforcement.backends.spaces import Box, Discrete, Space
from envs.reinforcement.base import ReinforcementBenchmark
from plasticity_rl.checks import ADDED, Interval, UsageError, check
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
    """coefficient of the value loss, half the squared error"""
    separate: bool = False
    """separate networks for policy and value, whose layers are named `policy.hidden0`, `value.hidden0` and so on; otherwise two heads of
    one network"""
    advantage_norm: Literal["minibatch", "rollout"] = "minibatch"
    """steps over which advantages get mean 0 and variance 1"""
    value_targets: Literal["lambda", "returns"] = "lambda"
    """targets of the values: lambda-returns, with the lambda of the advantages; or discounted returns up to the end of the episode or
    rollout"""
    value_clip: bool = True
    """clip the change of a value by `clip_range`, as the probability ratio"""
    reward_divisor: Annotated[float, Interval("(0, inf)")] = 1.0
    """divisor of rewards before learning, after their transformation"""
    entropy_floor: Annotated[float, Interval("[0, inf)")] = 0.0
    """nats of entropy per observation whose shortfall is added to the loss; 0 adds nothing"""
    logit_limit: Annotated[float, Interval("[0, inf)")] = 0.0
    """bound L of the logits' distance from their mean, by L tanh(x / L) (Bello et al. 2017, arXiv 1611.09940, whose L is 10); 0 for none"""
    mixture_epsilon: Annotated[float, Interval("[0, 1)")] = 0.0
    """share of the uniform policy in the policy that acts, learns and is evaluated: with probability epsilon, a uniformly random action"""
    policy: Literal["categorical", "gaussian"] = field(default="categorical", metadata=ADDED)
    """`categorical` chooses one of n actions. `gaussian` is for actions of several numbers: means by the network, and standard deviations
    that are parameters of their own, 1 at first, equal in all states; samples are clipped to [-1, 1] where they are played, not where they
    are learned from (Andrychowicz et al. 2021, arXiv 2006.05990; CleanRL)"""

    supervision: ClassVar[str] = "rewards"
    queued: ClassVar[bool] = False
    samples: ClassVar[bool] = True
    separable: ClassVar[bool] = False  # advantages are centred over the minibatch

    def __post_init__(self) -> None:
        check(self)
        refuse_shapes(self, self.num_envs * self.rollout_length, "steps")
        for name in ("logit_limit", "mixture_epsilon"):
            if self.policy == "gaussian" and getattr(self, name):
                raise UsageError(f"PPO: {name} is for policy=categorical, a choice among actions; leave it at 0 with policy=gaussian")

    @property
    def acts_in(self) -> tuple[type[Space], ...]:  # type: ignore[override]
        """Kind of action spaces that it can act in."""
        return (Box,) if self.policy == "gaussian" else (Discrete,)

    def heads(self, benchmark: ReinforcementBenchmark) -> HeadSpec:
        """Heads of the policy's logits or means, and of the state value."""
        size = benchmark.action_space.size
        constants = ((self._log_std, size, 0.0),) if self.policy == "gaussian" else ()
        return HeadSpec((("policy", size), ("value", 1)), tasks=head_copies(benchmark), separate=self.separate, constants=constants)

    def prepare(self, rollout: Rollout) -> Rollout:
        """Add `advantages`, and `goals`, the targets of the values."""
        values, real = rollout["values"], rollout["real"]
        given = (rollout["rewards"] / self.reward_divisor, rollout["discounts"], rollout["continues"], values[:-1], values[1:])
        found = advantages(*given, self.gae_lambda)
        goals = (advantages(*given, 1.0) if self.value_targets == "returns" else found) + values[:-1]
        if self.advantage_norm == "rollout":
            found = _standardised(found, real / real.sum((0, 2), keepdim=True).clamp(min=1), (0, 2))
        kept = {name: rollout[name] for name in ("log_probabilities", "real")} | {"actions": rollout.get("chosen", rollout["actions"])}
        return kept | {"values": values[:-1], "advantages": found, "goals": goals}

    def loss(self, network: Network, params: Params, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of ONE network: policy, value and entropy terms, means over the steps whose action took effect."""
        acting, values = self._heads(network, params, batch["inputs"], batch)
        real = batch["real"] / batch["real"].sum().clamp(min=1)
        scaled = batch["advantages"] if self.advantage_norm == "rollout" else _standardised(batch["advantages"], real, (0,))
        ratio = (acting.log_probability(batch["actions"]) - batch["log_probabilities"]).exp()
        policy = -torch.minimum(ratio * scaled, ratio.clamp(1 - self.clip_range, 1 + self.clip_range) * scaled)
        errors = (values - batch["goals"]).square()
        if self.value_clip:
            near = batch["values"] + (values - batch["values"]).clamp(-self.clip_range, self.clip_range)
            errors = torch.maximum(errors, (near - batch["goals"]).square())
        critic, spread = 0.5 * errors, acting.entropy
        each = policy + self.value_coef * critic - self.entropy_coef * spread
        if self.entropy_floor:
            each = each + (self.entropy_floor - spread).clamp(min=0)
        total = (real * each).sum()
        return total, {"value": values.detach().mean(), "entropy": (real * spread).sum().detach()}

    def act(self, network: Network, params: Params, observations: Tensor, drawn: dict[str, Tensor], shared: dict[str, Tensor]) -> Params:
        """Sampled `actions` (B, ...) of ONE network for `observations` (B, ...), their `log_probabilities`, and state `values`. Gaussian
        actions are clipped to [-1, 1] where they are played; the `chosen` ones are learned from.
        """
        acting, values = self._heads(network, params, observations, shared)
        chosen = acting.sample(drawn)
        acted = {"actions": chosen, "log_probabilities": acting.log_probability(chosen), "values": values}
        return acted | {"actions": chosen.clamp(-1, 1), "chosen": chosen} if self.policy == "gaussian" else acted

    def decode_outputs(self, outputs: Tensor, num_actions: Tensor | None = None) -> dict[str, Tensor]:
        """`logits` (n, actions) of the policy that acts, or its `means` (n, numbers), and state `values` (n,) of ONE network."""
        values = outputs[:, -1]
        if self.policy == "gaussian":
            return {"means": outputs[:, :-1], "values": values}
        return {"logits": policy_logits(outputs[:, :-1], self.logit_limit, self.mixture_epsilon, num_actions), "values": values}

    def measure_constants(self, params: Params) -> dict[str, Tensor]:
        """The mean standard deviation of ONE network's Gaussian policy."""
        return {"policy_std": params[self._log_std].exp().mean()} if self.policy == "gaussian" else {}

    def draws(self, space: Space) -> dict[str, int]:
        """A uniform number per action that can be chosen, or a normal one per number of an action."""
        return {"normal": space.size} if self.policy == "gaussian" else {"uniform": space.size}

    @property
    def _log_std(self) -> str:
        """Name of the parameter."""
        return "policy.log_std" if self.separate else "log_std"

    def _heads(self, network: Network, params: Params, inputs: Tensor, given: dict[str, Tensor]) -> tuple[Policy, Tensor]:
        """Policy that acts, and values (batch,); `given` has `task`, and `num_actions` where needed."""
        found = self.decode_outputs(network.apply(params, inputs, task=given["task"])[0], given.get("num_actions"))
        if self.policy == "gaussian":
            return Gaussian(found["means"], params[self._log_std]), found["values"]
        return Choice(found["logits"]), found["values"]


def _standardised(advantages: Tensor, weights: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Advantages with mean 0 and variance 1 over `dims`, under `weights` that sum to 1 over them."""
    centred = advantages - (weights * advantages).sum(dims, keepdim=True)
    return centred / ((weights * centred.square()).sum(dims, keepdim=True).sqrt() + 1e-8)
