"""Soft actor-critic."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from agents.actor_critic import ActorCritic, frozen
from agents.base import Draw, head_copies
from agents.data.rewards import Rewards
from agents.gaussian import bounded, explored, squashed
from envs.reinforcement.backends.spaces import Space
from envs.reinforcement.base import ReinforcementBenchmark
from plasticity_rl.checks import Interval, check
from plasticity_rl.networks.layers import HeadSpec, Params
from plasticity_rl.networks.network import Network

TEMPERATURE = "temperature"  # its logarithm, a parameter beside the networks


@dataclass(frozen=True)
class SAC(ActorCritic):
    """Soft actor-critic: a tanh-Gaussian policy, an ensemble of critics, and a temperature that holds the policy's entropy (Haarnoja et al.
    2018, arXiv 1812.05905). Networks `actor`, `critic0`, `critic1` and so on; the logarithm of the temperature is a parameter of its own.

    Defaults are the paper's: batches of 256, a learning rate of 3e-4 for all, tau 0.005, an update per step. One gradient serves the three
    losses, whose parameters are apart: policy and temperature learn from the critics before the update, not after it. Evaluations play the
    mean action.
    """

    num_envs: Annotated[int, Interval("[1, 4096]")] = 1
    """environments per member"""
    batch_size: Annotated[int, Interval("[1, 100_000_000]")] = 256
    train_every: Annotated[int, Interval("[1, 100_000_000]")] = 1
    """environment steps of a member per update"""
    updates_per_step: Annotated[int, Interval("[1, 1024]")] = 1
    """updates per environment step of a member, the replay ratio; above 1 with train_every=1 alone. SR-SAC makes up to 128 (D'Oro et al.
    2023), and resets everything but the replay every 2,560,000 updates"""
    rollout_length: Annotated[int, Interval("[1, 100_000_000]")] = 16
    """steps of each environment between two weights of a remote actor; without remote actors the newest weights act"""
    replay: Annotated[int, Interval("[1, 100_000_000]")] = 1_000_000
    """capacity of the replay, in steps per member"""
    min_replay: Annotated[int, Interval("[1, 100_000_000]")] = 5_000
    """steps in the replay before the first update, and again after the replay is cleared; CleanRL's"""
    replay_at_switch: Literal["clear", "keep"] = "clear"
    """whether a task change clears the replay; with `clear`, a chain differs from the fresh control by its network alone"""
    random_fraction: Annotated[float, Interval("[0, 1]")] = 0.005
    """fraction of each visit, from its start, in which actions are uniformly random; CleanRL's 5,000 of 1,000,000 steps"""
    critics: Annotated[int, Interval("[1, 64]")] = 2
    """critics of the ensemble, whose minimum is the value"""
    tau: Annotated[float, Interval("(0, 1]")] = 0.005
    """share of the critics in the target critics, mixed in after every `target_every` updates"""
    target_every: Annotated[int, Interval("[1, 100_000_000]")] = 1
    """updates between two steps of the target network"""
    target_entropy: float | None = None
    """policy entropy that the temperature holds, in nats; None: minus the numbers of an action, as in the paper"""
    discount: Annotated[float, Interval("[0, 1]")] = 0.99
    n_step: Annotated[int, Interval("[1, 100_000_000]")] = 1
    """n of the n-step return"""
    rewards: Rewards = "raw"
    """transformation of rewards before learning; scores are always the raw returns"""

    def __post_init__(self) -> None:
        check(self)
        self.check_replay()

    def heads(self, benchmark: ReinforcementBenchmark) -> HeadSpec:
        """A policy with means and log standard deviations, and the critics, each in a network of its own; the temperature."""
        actions, names = benchmark.action_space.shape[0], self.critic_names
        return HeadSpec(
            (("actor", 2 * actions), *((name, 1) for name in names)),
            tasks=head_copies(benchmark),
            separate=True,
            actions=actions,
            critics=names,
            constants=((TEMPERATURE, 1, 0.0),),
        )

    def loss(self, network: Network, params: Params, batch: dict[str, Tensor], target: Params) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of ONE network: for each critic, half the squared error to r + discount (min Q'(s', a') - alpha log pi(a'|s')); for the
        policy, alpha log pi(a|s) - min Q(s, a); and for the temperature alpha, -alpha (log pi(a|s) + target entropy). The first axis of
        `batch["normal"]` (2, batch, numbers) is: action in the state, action in the next."""
        alpha, task, states = params[TEMPERATURE].exp(), batch["task"], batch["states"]
        with torch.no_grad():
            action, density = self._policy(network, params, batch["next_states"], batch["normal"][1], task)
            after = self.values(network, target, batch["next_states"], action, task).amin(-1)
            goals = batch["returns"] + batch["discounts"] * (after - alpha * density)
        values = network.apply(params, batch["inputs"], task=task, only=self.critic_names)[0]
        critics = 0.5 * (values - goals[:, None]).square().sum(-1)

        action, density = self._policy(network, params, states, batch["normal"][0], task)
        judged = self.values(network, frozen(params, self.critic_names), states, action, task).amin(-1)
        wanted = -action.shape[-1] if self.target_entropy is None else self.target_entropy
        policy = alpha.detach() * density - judged
        temperature = -alpha * (density.detach() + wanted)
        total = (batch["weights"] * (critics + policy + temperature)).mean()
        return total, {"value": values.detach().mean()}

    def act(self, network: Network, params: Params, observations: Tensor, drawn: dict[str, Tensor], shared: dict[str, Tensor]) -> Params:
        """Sampled `actions` (B, numbers) of ONE network for `observations` (B, ...); uniform ones with probability epsilon."""
        sampled, _ = self._policy(network, params, observations, drawn["normal"], shared["task"])
        return {"actions": explored(sampled, drawn["uniform"], shared["epsilon"])}

    def decode_outputs(self, outputs: Tensor, num_actions: Tensor | None = None) -> dict[str, Tensor]:
        """`means` (n, numbers) of the actions and `log_stds` of the Gaussian before squashing; `values` (n,), the critics' minimum."""
        policy, values = outputs[:, : -self.critics], outputs[:, -self.critics :]
        means, log_stds = policy.chunk(2, -1)
        return {"means": means.tanh(), "log_stds": bounded(log_stds), "values": values.amin(-1)}

    def measure_constants(self, params: Params) -> dict[str, Tensor]:
        """The temperature of ONE network."""
        return {"temperature": params[TEMPERATURE].exp()[0]}

    def loss_draws(self, network: Network, space: Space) -> dict[str, Draw]:
        """Normal numbers of an update: for the actions in states and next states."""
        return {"normal": Draw("normal", "policy", (2, self.batch_size, space.shape[0]))}

    def _policy(self, network: Network, params: Params, states: Tensor, normal: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
        """Actions (n, numbers) and their log-densities (n,)."""
        means, log_stds = network.apply(params, states, task=task, only=("actor",))[0].chunk(2, -1)
        return squashed(means, bounded(log_stds), normal)
