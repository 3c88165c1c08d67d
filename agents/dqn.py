"""Deep Q-learning, from DQN to Rainbow: each extension is a field."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from agents.base import Draw, PrioritisedAgent, head_copies, linear_epsilon
from agents.data.rewards import Rewards
from agents.data.transitions import n_step
from agents.heads import Categorical, Quantiles, Scalar, ValueHead, among, centre, epsilon_greedy
from agents.loops.replay import ReplayLoop
from envs.reinforcement.backends.spaces import Space
from envs.reinforcement.base import ReinforcementBenchmark
from plasticity_rl.checks import ADDED, Interval, UsageError, check
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks.heads import midpoints
from plasticity_rl.networks.layers import HeadSpec, Params
from plasticity_rl.networks.network import Network
from plasticity_rl.records.events import Event, Snapshot

COSINES = 64  # of IQN's embedding, the paper's


@dataclass(frozen=True)
class DQN(PrioritisedAgent):
    """Q-learning with a target network and replay (Mnih et al. 2015, Nature 518). Its fields add double (van Hasselt et al. 2016, arXiv
    1509.06461), dueling (1511.06581), n-step, prioritised (1511.05952), distributional (1707.06887, 1806.06923) and noisy (1706.10295)
    learning; all of them are Rainbow (Hessel et al. 2018, 1710.02298).

    Defaults are DQN Zoo's, per member: batch 32, an update every 4 steps, discount 0.99, replay of 1e6; `min_replay` (2% of it) and
    `target_every` (32,000 frames) are those of its Rainbow. Epsilon falls linearly and restarts at every visit, for every chain alike, so
    that no chain plays a new game greedily from the start. Evaluations are without noise.
    """

    num_envs: Annotated[int, Interval("[1, 4096]")] = 8
    """environments per member"""
    batch_size: Annotated[int, Interval("[1, 100_000_000]")] = 32
    train_every: Annotated[int, Interval("[1, 100_000_000]")] = 4
    """environment steps of a member per update"""
    updates_per_step: Annotated[int, Interval("[1, 1024]")] = field(default=1, metadata=ADDED)
    """updates per environment step of a member, the replay ratio; above 1 with train_every=1 alone. Each step of `num_envs` environments
    is followed by `num_envs` times as many updates; Nikishin et al. 2022 and D'Oro et al. 2023 step one environment"""
    rollout_length: Annotated[int, Interval("[1, 100_000_000]")] = 16
    """steps of each environment between two weights of a remote actor; without remote actors the newest weights act"""
    replay: Annotated[int, Interval("[1, 100_000_000]")] = 1_000_000
    """capacity of the replay, in steps per member"""
    min_replay: Annotated[int, Interval("[1, 100_000_000]")] = 20_000
    """steps in the replay before the first update, and again after the replay is cleared"""
    replay_at_switch: Literal["clear", "keep"] = "clear"
    """whether a task change clears the replay; with `clear`, a chain differs from the fresh control by its network alone"""
    target_every: Annotated[int, Interval("[1, 100_000_000]")] = 2_000
    """updates between copies to the target network"""
    discount: Annotated[float, Interval("[0, 1]")] = 0.99
    n_step: Annotated[int, Interval("[1, 100_000_000]")] = 1
    """n of the n-step return"""
    rewards: Rewards = "clip"
    """transformation of rewards before learning; scores are always the raw returns"""
    final_epsilon: Annotated[float, Interval("[0, 1]")] = 0.1
    """final probability of a random action; 0.1 as in Mnih et al. 2015"""
    exploration_fraction: Annotated[float, Interval("[0, 1]")] = 0.1
    """fraction of each visit over which epsilon falls from 1 to `final_epsilon`; 0 starts at `final_epsilon`"""
    evaluation_epsilon: Annotated[float, Interval("[0, 1]")] = 0.0
    """probability of a random action in evaluations; 0 in DQN Zoo's Rainbow"""
    double: bool = False
    """double Q-learning: the online network chooses the action that the target network evaluates"""
    dueling: bool = False
    """dueling network: one stream (hidden layer and head) for the state value, one for the advantages"""
    value: Literal["scalar", "c51", "two-hot", "iqn"] = "scalar"
    """representation of action values: see `agents.heads`"""
    num_atoms: Annotated[int, Interval("[2, 10_000]")] = 51
    """number of atoms of c51 and two-hot"""
    v_max: Annotated[float, Interval("(0, inf)")] = 10.0
    """largest atom of c51 and two-hot; the smallest is -v_max. DQN Zoo's, for clipped rewards"""
    fractions: Annotated[int, Interval("[1, 1024]")] = 64
    """quantile fractions that iqn draws per example; the paper's N and N'"""
    priority_exponent: Annotated[float, Interval("[0, 10]")] = 0.0
    """exponent of the loss in the replay probability; 0 is uniform, 0.5 in DQN Zoo's Rainbow"""
    importance_exponent: Annotated[float, Interval("[0, 1]")] = 0.4
    """initial exponent of the importance weights, rising linearly to 1 over the run; no effect on uniform replay"""
    uniform: Annotated[float, Interval("[0, 1]")] = 1e-3
    """fraction of prioritised draws that is uniform (DQN Zoo)"""
    age_decay: Annotated[int | None, Interval("[1, inf)")] = field(default=None, metadata=ADDED)
    """steps of a member after which a transition is drawn least often: sample weight decay (Wu et al., ICLR 2026, arXiv 2604.01913), the
    weight max(age_floor, 1 - age / age_decay) in place of uniform draws. Formula from a second reading, whose values were not given; the
    paper finds it insensitive to both. None draws uniformly"""
    age_floor: Annotated[float, Interval("[0, 1]")] = field(default=0.1, metadata=ADDED)
    """smallest weight under age_decay, relative to the newest transition's; ours"""
    noise: Annotated[float | None, Interval("(0, inf)")] = None
    """sigma0 of noisy last hidden layers and heads; 0.5 in Fortunato et al., 0.1 in DQN Zoo's Rainbow, which uses no epsilon"""

    supervision: ClassVar[str] = "rewards"
    samples: ClassVar[bool] = False
    tolerates_lag: ClassVar[bool] = True  # replay holds transitions of older policies anyway

    def __post_init__(self) -> None:
        check(self)
        self.check_replay()
        if self.age_decay is not None and self.priority_exponent > 0:
            raise UsageError("DQN: age_decay and priority_exponent both set how transitions are drawn; take one of the two")

    @property
    def head(self) -> ValueHead:
        """Kind of action values."""
        if self.value == "scalar":
            return Scalar()
        return Quantiles(self.fractions) if self.value == "iqn" else Categorical(self.num_atoms, self.v_max, whole=self.value == "c51")

    def heads(self, benchmark: ReinforcementBenchmark) -> HeadSpec:
        """Heads of the network."""
        size, actions = self.head.outputs, benchmark.action_space.size
        heads = (("value", size), ("advantage", size * actions)) if self.dueling else (("head", size * actions),)
        return HeadSpec(
            heads, streams=self.dueling, noise=self.noise, cosines=COSINES if self.value == "iqn" else 0, tasks=head_copies(benchmark)
        )

    def outputs(self, network: Network, params: Params, inputs: Tensor, given: dict[str, Tensor]) -> Tensor:
        """Outputs per action of ONE network: (batch, actions, outputs of the head), or (batch, K, actions, 1) for quantiles.

        `given` holds arguments of `Network.apply`, and `num_actions`.
        """
        found = network.apply(params, inputs, given.get("noise"), given.get("fractions"), given.get("task"))[0]
        return self.of_actions(found, given.get("num_actions"))

    def of_actions(self, found: Tensor, num_actions: Tensor | None = None) -> Tensor:
        """Outputs per action from raw network outputs; those of actions that a task does not have are for no use."""
        size = self.head.outputs
        if not self.dueling:
            return found.unflatten(-1, (-1, size))
        value, advantage = found.split([size, found.shape[-1] - size], -1)
        advantage = advantage.unflatten(-1, (-1, size))
        if num_actions is None:
            return value.unsqueeze(-2) + advantage - advantage.mean(-2, keepdim=True)
        own = num_actions.view(*num_actions.shape, *(1,) * (advantage.ndim - 1 - num_actions.ndim))
        return value.unsqueeze(-2) + advantage - centre(advantage.transpose(-2, -1), own).transpose(-2, -1)

    def loss(self, network: Network, params: Params, batch: dict[str, Tensor], target: Params) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted mean loss of ONE network over the batch; reports `errors`, the unweighted losses, for priorities.

        The first axis of `batch["noise"]` (3, 1, numbers) and `batch["fractions"]` (3, batch, K) is: online network, its choice of the next
        action, target network.
        """
        head = self.head
        own = {name: batch[name] for name in ("task", "num_actions") if name in batch}
        now, choice, later = (own | {name: batch[name][which] for name in ("noise", "fractions") if name in batch} for which in range(3))
        outputs = self.outputs(network, params, batch["inputs"], now)
        with torch.no_grad():
            after = self.outputs(network, target, batch["next_inputs"], later)
            judge = self.outputs(network, params, batch["next_inputs"], choice) if self.double else after
            after = _at(after, among(head.expected(judge), batch.get("num_actions")).argmax(-1))
        losses = head.losses(_at(outputs, batch["actions"]), after, batch["returns"], batch["discounts"], now.get("fractions"))
        value = head.expected(outputs).gather(1, batch["actions"][:, None]).mean()
        return (batch["weights"] * losses).mean(), {"value": value.detach(), "errors": losses.detach()}

    def act(self, network: Network, params: Params, observations: Tensor, drawn: dict[str, Tensor], shared: dict[str, Tensor]) -> Params:
        """Epsilon-greedy `actions` (B,) of ONE network for `observations` (B, ...), from `drawn["uniform"]` (B, 2); with prioritised
        replay, also the `outputs` per action."""
        outputs = self.outputs(network, params, observations, shared | drawn)
        values, num_actions = self.head.expected(outputs), shared.get("num_actions")
        greedy = among(values, num_actions).argmax(-1)
        count = values.shape[-1] if num_actions is None else num_actions
        said = {"actions": epsilon_greedy(greedy, drawn["uniform"], shared["epsilon"], count)}
        return said | {"outputs": outputs} if self.prioritised else said

    def first_errors(
        self, outputs: Tensor, actions: Tensor, rewards: Tensor, step_types: Tensor, num_actions: Tensor | None = None
    ) -> Tensor:
        """Losses (T, B) of the steps of ONE network's rollout, from its outputs as it played.

        They give a remote actor's new transitions their initial priorities (Ape-X; Horgan et al. 2018, arXiv 1803.00933). `outputs`
        (T + 1, B, ...) and `actions` (T, B) come from `act`; `rewards` and `step_types` (T, B) from the environments. N-step returns stop
        at the end of the rollout. The acting network also serves as target network, as in Ape-X.
        """
        steps, width = actions.shape
        columns = torch.arange(width, device=actions.device).expand(steps, width)
        start = torch.arange(steps, device=actions.device)[:, None].expand(steps, width)

        def read(position: Tensor) -> tuple[Tensor, Tensor]:
            at = position.clamp(max=steps - 1), columns
            return rewards[at], step_types[at]

        returns, discounts, reached = n_step(start, self.n_step, self.discount, lambda position: position < steps, read)
        later = outputs[reached, columns].flatten(0, 1)
        after = _at(later, among(self.head.expected(later), num_actions).argmax(-1))
        chosen = _at(outputs[:-1].flatten(0, 1), actions.flatten())
        asked, fractions = self.head.fractions, None
        if asked:  # acting uses fewer fractions, over which the loss is a sum
            fractions = midpoints(chosen.shape[1], chosen).expand(len(chosen), -1)
        losses = self.head.losses(chosen, after, returns.flatten(), discounts.flatten(), fractions)
        return (losses * (asked / chosen.shape[1]) if asked else losses).view(steps, width)

    def decode_outputs(self, outputs: Tensor, num_actions: Tensor | None = None) -> dict[str, Tensor]:
        """Expected action values of ONE network as `logits` (n, actions), and their maxima as `values` (n,)."""
        values = among(self.head.expected(self.of_actions(outputs, num_actions)), num_actions)
        return {"logits": values, "values": values.max(-1).values}

    @property
    def prioritised(self) -> bool:  # type: ignore[override]
        """True if transitions are replayed in proportion to a power of their loss."""
        return self.priority_exponent > 0

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """True if the loss is a mean over examples, each with its own rows of the batch."""
        return self.noise is None and self.value != "iqn"

    def epsilon(self, progress: float) -> float:
        """Probability of a random action at `progress` of a visit, in [0, 1]."""
        return linear_epsilon(progress, self.exploration_fraction, self.final_epsilon)

    def loss_draws(self, network: Network, space: Space) -> dict[str, Draw]:
        """Random numbers of an update: for noisy layers and quantile fractions, of the three networks that the loss reads."""
        noise = {"noise": Draw("normal", "learning noise", (3, 1, network.noise))} if network.noise else {}
        size = self.head.fractions
        return noise | ({"fractions": Draw("uniform", "fractions", (3, self.batch_size, size))} if size else {})

    def train(self, experiment: Experiment, device: str, compile: bool, resume: Snapshot | None) -> Iterator[Event]:
        """Events of the run, in order. Raises FloatingPointError if a loss is not finite."""
        return ReplayLoop(self, experiment, device, compile).run(resume)


def _at(outputs: Tensor, actions: Tensor) -> Tensor:
    """Outputs of the chosen action per example: (batch, [K,] actions, size) -> (batch, [K,] size)."""
    index = actions.view(-1, *(1,) * (outputs.ndim - 1)).expand(*outputs.shape[:-2], 1, outputs.shape[-1])
    return outputs.gather(-2, index).squeeze(-2)
