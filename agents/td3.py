"""Twin delayed deep deterministic policy gradients."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from agents.actor_critic import ActorCritic, frozen
from agents.base import Draw, head_copies
from agents.data.rewards import Rewards
from agents.gaussian import explored
from envs.reinforcement.backends.spaces import Space
from envs.reinforcement.base import ReinforcementBenchmark
from plasticity_rl.checks import Interval, check
from plasticity_rl.networks.layers import HeadSpec, Params
from plasticity_rl.networks.network import Network


@dataclass(frozen=True)
class TD3(ActorCritic):
    """Twin delayed DDPG: a deterministic policy with Gaussian exploration, the minimum of two target critics at smoothed actions, and a
    policy and targets that move with every second update (Fujimoto et al. 2018, arXiv 1802.09477). Networks `actor`, `critic0`, `critic1`.

    Defaults are the paper's code's: batches of 256, a learning rate of 3e-4, tau 0.005. The policy learns from the critics before the
    update, not after it. Evaluations are without noise.
    """

    num_envs: Annotated[int, Interval("[1, 4096]")] = 1
    """environments per member"""
    batch_size: Annotated[int, Interval("[1, 100_000_000]")] = 256
    train_every: Annotated[int, Interval("[1, 100_000_000]")] = 1
    """environment steps of a member per update"""
    updates_per_step: Annotated[int, Interval("[1, 1024]")] = 1
    """updates per environment step of a member, the replay ratio; above 1 with train_every=1 alone"""
    rollout_length: Annotated[int, Interval("[1, 100_000_000]")] = 16
    """steps of each environment between two weights of a remote actor; without remote actors the newest weights act"""
    replay: Annotated[int, Interval("[1, 100_000_000]")] = 1_000_000
    """capacity of the replay, in steps per member"""
    min_replay: Annotated[int, Interval("[1, 100_000_000]")] = 25_000
    """steps in the replay before the first update, and again after the replay is cleared"""
    replay_at_switch: Literal["clear", "keep"] = "clear"
    """whether a task change clears the replay; with `clear`, a chain differs from the fresh control by its network alone"""
    random_fraction: Annotated[float, Interval("[0, 1]")] = 0.025
    """fraction of each visit, from its start, in which actions are uniformly random; the paper's code's 25,000 of 1,000,000 steps"""
    exploration: Annotated[float, Interval("[0, inf)")] = 0.1
    """standard deviation of the noise added to actions, which lie within [-1, 1]"""
    smoothing: Annotated[float, Interval("[0, inf)")] = 0.2
    """standard deviation of the noise added to the target policy's actions"""
    smoothing_limit: Annotated[float, Interval("[0, inf)")] = 0.5
    """largest noise added to the target policy's actions"""
    critics: Annotated[int, Interval("[1, 64]")] = 2
    """critics, whose minimum is the target; the policy learns from the first"""
    policy_every: Annotated[int, Interval("[1, 1024]")] = 2
    """updates of the critics per update of the policy"""
    tau: Annotated[float, Interval("(0, 1]")] = 0.005
    """share of the network in its target, mixed in after every `target_every` updates"""
    target_every: Annotated[int, Interval("[1, 100_000_000]")] = 2
    """updates between two steps of the target network"""
    discount: Annotated[float, Interval("[0, 1]")] = 0.99
    n_step: Annotated[int, Interval("[1, 100_000_000]")] = 1
    """n of the n-step return"""
    rewards: Rewards = "raw"
    """transformation of rewards before learning; scores are always the raw returns"""

    def __post_init__(self) -> None:
        check(self)
        self.check_replay()

    def heads(self, benchmark: ReinforcementBenchmark) -> HeadSpec:
        """The policy and the critics, each in a network of its own."""
        actions, names = benchmark.action_space.shape[0], self.critic_names
        heads = (("actor", actions), *((name, 1) for name in names))
        return HeadSpec(heads, tasks=head_copies(benchmark), separate=True, actions=actions, critics=names)

    def loss(self, network: Network, params: Params, batch: dict[str, Tensor], target: Params) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of ONE network: of each critic, the squared error to r + discount min Q'(s', a'), with a' the target policy's action and
        limited noise; and of the policy, -Q0(s, a). `batch["normal"]` is (batch, numbers)."""
        task, states, later = batch["task"], batch["states"], batch["next_states"]
        with torch.no_grad():
            noise = (self.smoothing * batch["normal"]).clamp(-self.smoothing_limit, self.smoothing_limit)
            action = (self._policy(network, target, later, task) + noise).clamp(-1, 1)
            goals = batch["returns"] + batch["discounts"] * self.values(network, target, later, action, task).amin(-1)
        values = network.apply(params, batch["inputs"], task=task, only=self.critic_names)[0]
        critics = (values - goals[:, None]).square().sum(-1)

        first = self.critic_names[:1]
        chosen = torch.cat([states, self._policy(network, params, states, task)], -1)
        policy = -network.apply(frozen(params, first), chosen, task=task, only=first)[0][:, 0]
        return (batch["weights"] * (critics + policy)).mean(), {"value": values.detach().mean()}

    def act(self, network: Network, params: Params, observations: Tensor, drawn: dict[str, Tensor], shared: dict[str, Tensor]) -> Params:
        """`actions` (B, numbers) of ONE network for `observations` (B, ...), with noise; uniform ones with probability epsilon."""
        actions = self._policy(network, params, observations, shared["task"]) + self.exploration * drawn["normal"]
        return {"actions": explored(actions.clamp(-1, 1), drawn["uniform"], shared["epsilon"])}

    def decode_outputs(self, outputs: Tensor, num_actions: Tensor | None = None) -> dict[str, Tensor]:
        """Actions as `means` (n, numbers); `values` (n,), the critics' minimum."""
        return {"means": outputs[:, : -self.critics].tanh(), "values": outputs[:, -self.critics :].amin(-1)}

    def loss_draws(self, network: Network, space: Space) -> dict[str, Draw]:
        """Normal numbers of an update, that smooth the target policy."""
        return {"normal": Draw("normal", "smoothing", (self.batch_size, space.shape[0]))}

    def _policy(self, network: Network, params: Params, states: Tensor, task: Tensor) -> Tensor:
        """Actions (n, numbers)."""
        return network.apply(params, states, task=task, only=("actor",))[0].tanh()
