"""Parallelised Q-learning: no replay, no target network."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from agents.base import Rollout, head_copies, linear_epsilon, refuse_shapes
from agents.data.returns import lambda_returns
from agents.data.rewards import Rewards
from agents.heads import among, epsilon_greedy
from agents.loops.rollout import TrainsOnRollouts
from envs.reinforcement.base import ReinforcementBenchmark
from plasticity_rl.checks import Interval, check
from plasticity_rl.networks.layers import HeadSpec, Params
from plasticity_rl.networks.network import Network


@dataclass(frozen=True)
class PQN(TrainsOnRollouts):
    """Q(lambda) on rollouts of parallel environments, in a network with layer norm (Gallici et al. 2024, arXiv 2407.04811).

    The norm is a field of the network, or an intervention; PQN is unstable without it. Defaults are those of CleanRL's pqn_atari_envpool,
    for 8 environments; the paper has 128 environments, rollouts of 32, 2 epochs of 32 minibatches and a final epsilon of 0.001.
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
    q_lambda: Annotated[float, Interval("[0, 1]")] = 0.65
    """lambda of the Q(lambda) returns"""
    rewards: Rewards = "clip"
    """transformation of rewards before learning; scores are always the raw returns"""
    final_epsilon: Annotated[float, Interval("[0, 1]")] = 0.01
    """final probability of a random action"""
    exploration_fraction: Annotated[float, Interval("[0, 1]")] = 0.1
    """fraction of each visit over which epsilon falls from 1 to `final_epsilon`; 0 starts at `final_epsilon`"""
    evaluation_epsilon: Annotated[float, Interval("[0, 1]")] = 0.0
    """probability of a random action in evaluations"""

    supervision: ClassVar[str] = "rewards"
    queued: ClassVar[bool] = False
    samples: ClassVar[bool] = False
    separable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)
        refuse_shapes(self, self.num_envs * self.rollout_length, "steps")

    def heads(self, benchmark: ReinforcementBenchmark) -> HeadSpec:
        """One head of action values."""
        return HeadSpec((("head", benchmark.action_space.size),), tasks=head_copies(benchmark))

    def prepare(self, rollout: Rollout) -> Rollout:
        """Compute `goals`, the target returns; `values` are the maximal action values at the time of acting."""
        goals = lambda_returns(rollout["rewards"], rollout["discounts"], rollout["continues"], rollout["values"][1:], self.q_lambda)
        return {"actions": rollout["actions"], "real": rollout["real"], "goals": goals}

    def loss(self, network: Network, params: Params, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of ONE network: half the mean squared error of the chosen actions' values, over the steps whose action took effect."""
        values = network.apply(params, batch["inputs"], task=batch["task"])[0].gather(1, batch["actions"][:, None])[:, 0]
        errors = 0.5 * (values - batch["goals"]).square()
        return (batch["real"] * errors).sum() / batch["real"].sum().clamp(min=1), {"value": values.detach().mean()}

    def act(self, network: Network, params: Params, observations: Tensor, drawn: dict[str, Tensor], shared: dict[str, Tensor]) -> Params:
        """Epsilon-greedy `actions` (B,) of ONE network for `observations` (B, ...), from `drawn["uniform"]` (B, 2), and the maximal action
        `values` (B,)."""
        num_actions = shared.get("num_actions")
        values, greedy = among(network.apply(params, observations, task=shared["task"])[0], num_actions).max(-1)
        count = network.outputs if num_actions is None else num_actions
        return {"actions": epsilon_greedy(greedy, drawn["uniform"], shared["epsilon"], count), "values": values}

    def decode_outputs(self, outputs: Tensor, num_actions: Tensor | None = None) -> dict[str, Tensor]:
        """Action values of ONE network as `logits` (n, actions), and their maxima as `values` (n,)."""
        values = among(outputs, num_actions)
        return {"logits": values, "values": values.max(-1).values}

    def epsilon(self, progress: float) -> float:
        """Probability of a random action at `progress` of a visit, in [0, 1]."""
        return linear_epsilon(progress, self.exploration_fraction, self.final_epsilon)
