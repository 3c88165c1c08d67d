"""IMPALA: actor-critic on rollouts of a slightly older policy."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from agents.base import Rollout, head_copies, refuse_shapes
from agents.data.returns import vtrace
from agents.data.rewards import Rewards
from agents.heads import among, entropy, log_probability, sample
from agents.loops.rollout import TrainsOnRollouts
from envs.reinforcement.base import ReinforcementBenchmark
from plasticity_rl.checks import Interval, check
from plasticity_rl.networks.layers import HeadSpec, Params
from plasticity_rl.networks.network import Network


@dataclass(frozen=True)
class IMPALA(TrainsOnRollouts):
    """V-trace actor-critic (Espeholt et al. 2018, arXiv 1802.01561): while the environments play one rollout, the learner learns from the
    previous one, held in a queue of size one; V-trace corrects for the policy updates in between.

    Defaults are the paper's for Atari (rollouts of 20, batches of 32, entropy 0.01, baseline 0.5, losses summed over the batch), with one
    environment per rollout of a batch. Evaluations sample from the policy.
    """

    num_envs: Annotated[int, Interval("[1, 100_000]")] = 32
    """environments per member"""
    rollout_length: Annotated[int, Interval("[1, 100_000]")] = 20
    """steps of each environment per rollout"""
    minibatches: Annotated[int, Interval("[1, 100_000]")] = 1
    """minibatches of whole rollouts, one update each"""
    num_pools: Annotated[int, Interval("[1, 100_000]")] = 1
    """pools that the environments are divided into; with 2, one steps while the policy acts for the other"""
    discount: Annotated[float, Interval("[0, 1]")] = 0.99
    rewards: Rewards = "clip"
    """transformation of rewards before learning; scores are always the raw returns"""
    entropy_coef: Annotated[float, Interval("[0, inf)")] = 0.01
    """coefficient of the policy entropy"""
    value_coef: Annotated[float, Interval("[0, inf)")] = 0.5
    """coefficient of the value loss, half the squared error"""

    supervision: ClassVar[str] = "rewards"
    tolerates_lag: ClassVar[bool] = True  # V-trace corrects for it
    queued: ClassVar[bool] = True
    samples: ClassVar[bool] = True
    separable: ClassVar[bool] = False  # examples are steps of rollouts, which depend on each other
    epochs: ClassVar[int] = 1  # type: ignore[override]

    def __post_init__(self) -> None:
        check(self)
        refuse_shapes(self, self.num_envs, "environments")

    def heads(self, benchmark: ReinforcementBenchmark) -> HeadSpec:
        """Heads of the policy logits and of the state value."""
        return HeadSpec((("policy", benchmark.action_space.size), ("value", 1)), tasks=head_copies(benchmark))

    def prepare(self, rollout: Rollout) -> Rollout:
        """Return the rollout unchanged: V-trace targets need the policy at the time of the update."""
        return rollout

    def loss(self, network: Network, params: Params, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of ONE network, summed over (T, n) steps whose action took effect; `batch["inputs"]` is ((T + 1) x n, ...), time first."""
        steps, columns = batch["rewards"].shape
        outputs = network.apply(params, batch["inputs"], task=batch["task"])[0].view(steps + 1, columns, -1)
        logits, values = among(outputs[:-1, :, :-1], batch.get("num_actions")), outputs[..., -1]
        log_probabilities = log_probability(logits, batch["actions"])
        past = values.detach()
        ratios = (log_probabilities - batch["log_probabilities"]).detach()
        targets, gains = vtrace(ratios, batch["rewards"], batch["discounts"], batch["continues"], past[:-1], past[1:])
        policy = -gains * log_probabilities
        critic = 0.5 * (targets - values[:-1]).square()
        spread = entropy(logits)
        total = (batch["real"] * (policy + self.value_coef * critic - self.entropy_coef * spread)).sum()
        return total, {"value": past.mean(), "entropy": spread.detach().mean()}

    def act(self, network: Network, params: Params, observations: Tensor, drawn: dict[str, Tensor], shared: dict[str, Tensor]) -> Params:
        """Sampled `actions` (B,) of ONE network for `observations` (B, ...), and their `log_probabilities`."""
        logits = among(network.apply(params, observations, task=shared["task"])[0][:, :-1], shared.get("num_actions"))
        actions = sample(logits, drawn["uniform"])
        return {"actions": actions, "log_probabilities": log_probability(logits, actions)}

    def decode_outputs(self, outputs: Tensor, num_actions: Tensor | None = None) -> dict[str, Tensor]:
        """Policy `logits` (n, actions) and state `values` (n,) of ONE network."""
        return {"logits": among(outputs[:, :-1], num_actions), "values": outputs[:, -1]}
