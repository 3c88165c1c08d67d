"""Deep Q-learning, from DQN to Rainbow: what Rainbow adds are fields."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from agents.base import ReplayAgent, head_copies, linear_epsilon, refuse_actors, refuse_visits
from agents.data.rewards import Rewards
from agents.data.transitions import n_step
from agents.heads import Categorical, Quantiles, Scalar, ValueHead
from agents.loops.replay import ReplayLoop
from envs.reinforcement.base import ReinforcementBenchmark
from plasticity_rl.checks import Interval, UsageError, check
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks.heads import midpoints
from plasticity_rl.networks.layers import HeadSpec, Params
from plasticity_rl.networks.network import Network
from plasticity_rl.records.events import Event, Snapshot

COSINES = 64  # of IQN's embedding, the paper's


@dataclass(frozen=True)
class DQN(ReplayAgent):
    """Q-learning with a target network and replay (Mnih et al. 2015, Nature 518). Its fields add double (van Hasselt et al. 2016, arXiv
    1509.06461), dueling (1511.06581), n-step, prioritised (1511.05952), distributional (1707.06887, 1806.06923) and noisy (1706.10295)
    learning; all of them are Rainbow (Hessel et al. 2018, 1710.02298).

    Defaults are those that DQN Zoo gives its agents, per member: batch 32, an update every 4 steps, discount 0.99, replay of 1e6;
    `min_replay` (2% of it) and `target_every` (32,000 frames) are its Rainbow's. Exploration falls linearly and starts again at every
    visit, for every chain alike, so that nobody arrives at a new game with the old one's certainty. Evaluated without noise.
    """

    num_envs: Annotated[int, Interval("[1, 4096]")] = 8
    """of each member"""
    batch_size: Annotated[int, Interval("[1, 100_000_000]")] = 32
    train_every: Annotated[int, Interval("[1, 100_000_000]")] = 4
    """steps of a member per update"""
    rollout_length: Annotated[int, Interval("[1, 100_000_000]")] = 16
    """steps that a remote actor plays with the same weights; without remote actors the newest are always used"""
    replay: Annotated[int, Interval("[1, 100_000_000]")] = 1_000_000
    """steps kept, of each member"""
    min_replay: Annotated[int, Interval("[1, 100_000_000]")] = 20_000
    """steps gathered before the first update, and again after the replay is cleared"""
    replay_at_switch: Literal["clear", "keep"] = "clear"
    """what happens to the data when the task changes; with `clear`, a chain differs from the fresh control by its network alone"""
    target_every: Annotated[int, Interval("[1, 100_000_000]")] = 2_000
    """updates between copies to the target network"""
    discount: Annotated[float, Interval("[0, 1]")] = 0.99
    n_step: Annotated[int, Interval("[1, 100_000_000]")] = 1
    """of the n-step return"""
    rewards: Rewards = "clip"
    """what is learned from; scores are always the game's own"""
    final_epsilon: Annotated[float, Interval("[0, 1]")] = 0.1
    """chance of a random action after exploration; 0.1 as in Mnih et al. 2015"""
    exploration_fraction: Annotated[float, Interval("[0, 1]")] = 0.1
    """share of each visit in which it falls from 1 to `final_epsilon`; 0 starts there"""
    evaluation_epsilon: Annotated[float, Interval("[0, 1]")] = 0.0
    """chance of a random action in evaluations; DQN Zoo's Rainbow has none"""
    double: bool = False
    """let the learning network choose the action whose value the target network gives"""
    dueling: bool = False
    """a stream, hidden layer and head, for the state's value and one for the actions' advantages"""
    value: Literal["scalar", "c51", "two-hot", "iqn"] = "scalar"
    """what the network says of an action: see `agents.heads`"""
    num_atoms: Annotated[int, Interval("[2, 10_000]")] = 51
    """of c51 and two-hot"""
    v_max: Annotated[float, Interval("(0, inf)")] = 10.0
    """their atoms lie between -limit and limit; DQN Zoo's, for clipped rewards"""
    fractions: Annotated[int, Interval("[1, 1024]")] = 64
    """of iqn, drawn for each example; the paper's N and N'"""
    priority_exponent: Annotated[float, Interval("[0, 10]")] = 0.0
    """exponent of the loss in the chance to be replayed; 0 is uniform, DQN Zoo's Rainbow has 0.5"""
    importance_exponent: Annotated[float, Interval("[0, 1]")] = 0.4
    """exponent of the importance weights, from here to 1 linearly over the run; without effect on uniform replay"""
    uniform: Annotated[float, Interval("[0, 1]")] = 1e-3
    """share of the draws that is uniform all the same (DQN Zoo)"""
    noise: Annotated[float | None, Interval("(0, inf)")] = None
    """sigma0 of noisy last hidden layers and heads; 0.5 in Fortunato et al., 0.1 in DQN Zoo's Rainbow, with no epsilon beside it"""

    supervision: ClassVar[str] = "rewards"
    samples: ClassVar[bool] = False
    tolerates_lag: ClassVar[bool] = True  # replay holds what older policies did anyway

    def __post_init__(self) -> None:
        check(self)
        room = (self.replay // self.num_envs - 1) * self.num_envs  # the newest step of each has no outcome yet
        if self.min_replay > room:
            raise UsageError(f"DQN: min_replay can be {max(room, 0)} at most, not {self.min_replay}, with a replay of {self.replay}")

    def fit(self, experiment: Experiment) -> None:
        """Raise UsageError if a visit is too short to fill the replay and learn, or the network or the actors do not suit."""
        benchmark = experiment.benchmark
        refuse_visits(self.num_envs, benchmark)
        for visit in benchmark.visits():
            if visit.budget // benchmark.frame_skip <= self.min_replay + self.train_every:
                raise UsageError(f"nothing is learned in a visit of {visit.budget} frames: min_replay takes {self.min_replay} steps of it")
        refuse_actors(self, experiment)

    @property
    def head(self) -> ValueHead:
        """What is said of each action."""
        if self.value == "scalar":
            return Scalar()
        return Quantiles(self.fractions) if self.value == "iqn" else Categorical(self.num_atoms, self.v_max, whole=self.value == "c51")

    def heads(self, benchmark: ReinforcementBenchmark) -> HeadSpec:
        """The network's heads."""
        size, actions = self.head.outputs, benchmark.action_space.n
        heads = (("value", size), ("advantage", size * actions)) if self.dueling else (("head", size * actions),)
        return HeadSpec(
            heads, streams=self.dueling, noise=self.noise, cosines=COSINES if self.value == "iqn" else 0, tasks=head_copies(benchmark)
        )

    def outputs(self, network: Network, params: Params, inputs: Tensor, given: dict[str, Tensor]) -> Tensor:
        """Of ONE network: (batch, actions, outputs of the head), or (batch, K, actions, 1) of quantiles; `given` as for Network.apply."""
        return self.of_actions(network.apply(params, inputs, given.get("noise"), given.get("fractions"), given.get("task"))[0])

    def of_actions(self, found: Tensor) -> Tensor:
        """The same of what the network said."""
        size = self.head.outputs
        if not self.dueling:
            return found.unflatten(-1, (-1, size))
        value, advantage = found.split([size, found.shape[-1] - size], -1)
        advantage = advantage.unflatten(-1, (-1, size))
        return value.unsqueeze(-2) + advantage - advantage.mean(-2, keepdim=True)

    def loss(self, network: Network, params: Params, batch: dict[str, Tensor], target: Params) -> tuple[Tensor, dict[str, Tensor]]:
        """Of ONE network: the weighted mean of the losses over the batch; `errors` are the losses themselves, for priorities.

        `batch["noise"]` (3, 1, numbers) and `batch["fractions"]` (3, batch, K) are of the network, its choice and the target network.
        """
        head = self.head
        now, choice, later = (
            {"task": batch["task"]} | {name: batch[name][which] for name in ("noise", "fractions") if name in batch} for which in range(3)
        )
        outputs = self.outputs(network, params, batch["inputs"], now)
        with torch.no_grad():
            after = self.outputs(network, target, batch["next_inputs"], later)
            judge = self.outputs(network, params, batch["next_inputs"], choice) if self.double else after
            after = _at(after, head.expected(judge).argmax(-1))
        losses = head.losses(_at(outputs, batch["actions"]), after, batch["returns"], batch["discounts"], now.get("fractions"))
        value = head.expected(outputs).gather(1, batch["actions"][:, None]).mean()
        return (batch["weights"] * losses).mean(), {"value": value.detach(), "errors": losses.detach()}

    def act(self, network: Network, params: Params, observations: Tensor, drawn: dict[str, Tensor], shared: dict[str, Tensor]) -> Params:
        """Of ONE network: `actions` (B,), greedy for `observations` (B, ...), or any where `drawn["uniform"]` (B, 2) says so; and, where
        replay is prioritised, the `outputs` that they were chosen by."""
        outputs = self.outputs(network, params, observations, {"task": shared["task"]} | drawn)
        values = self.head.expected(outputs)
        explore, which = drawn["uniform"].unbind(-1)
        said = {"actions": torch.where(explore < shared["epsilon"], (which * values.shape[-1]).long(), values.argmax(-1))}
        return said | {"outputs": outputs} if self.prioritised else said

    def first_errors(self, outputs: Tensor, actions: Tensor, rewards: Tensor, step_types: Tensor) -> Tensor:
        """Of ONE network: the loss of each step of an unroll, (T, B), by what the network said as it played: a remote actor's first
        priorities, so that a new transition need not wait for the learner to be weighed (Ape-X; Horgan et al. 2018, arXiv 1803.00933).

        `outputs` (T + 1, B, ...) and `actions` (T, B) are what `act` said, `rewards` and `step_types` (T, B) the results. The last n-step
        returns reach no further than the unroll. There is no target network: the one that acts stands for both, as in Ape-X.
        """
        steps, width = actions.shape
        columns = torch.arange(width, device=actions.device).expand(steps, width)
        start = torch.arange(steps, device=actions.device)[:, None].expand(steps, width)

        def read(position: Tensor) -> tuple[Tensor, Tensor]:
            at = position.clamp(max=steps - 1), columns
            return rewards[at], step_types[at]

        returns, discounts, reached = n_step(start, self.n_step, self.discount, lambda position: position < steps, read)
        later = outputs[reached, columns].flatten(0, 1)
        after = _at(later, self.head.expected(later).argmax(-1))
        chosen = _at(outputs[:-1].flatten(0, 1), actions.flatten())
        asked, fractions = self.head.fractions, None
        if asked:  # who acts asks at fewer fractions, over which the loss is a sum
            fractions = midpoints(chosen.shape[1], chosen).expand(len(chosen), -1)
        losses = self.head.losses(chosen, after, returns.flatten(), discounts.flatten(), fractions)
        return (losses * (asked / chosen.shape[1]) if asked else losses).view(steps, width)

    def decode_outputs(self, outputs: Tensor) -> dict[str, Tensor]:
        """What ONE network's outputs say of n inputs: `preferences` (n, actions), which are expected values, and the largest, `values`."""
        values = self.head.expected(self.of_actions(outputs))
        return {"logits": values, "values": values.max(-1).values}

    @property
    def prioritised(self) -> bool:  # type: ignore[override]
        """Whether transitions are replayed in proportion to a power of their loss."""
        return self.priority_exponent > 0

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """Is the loss a mean of losses of single examples, each with its own part of the batch?"""
        return self.noise is None and self.value != "iqn"

    def epsilon(self, progress: float) -> float:
        """Chance of a random action when `progress` of a visit is over."""
        return linear_epsilon(progress, self.exploration_fraction, self.final_epsilon)

    def train(self, experiment: Experiment, device: str, compile: bool, resume: Snapshot | None) -> Iterator[Event]:
        """The run, as what it reports. Raises FloatingPointError where a loss is not finite."""
        return ReplayLoop(self, experiment, device, compile).run(resume)


def _at(outputs: Tensor, actions: Tensor) -> Tensor:
    """The outputs of one action of each example: (batch, [K,] actions, size) -> (batch, [K,] size)."""
    index = actions.view(-1, *(1,) * (outputs.ndim - 1)).expand(*outputs.shape[:-2], 1, outputs.shape[-1])
    return outputs.gather(-2, index).squeeze(-2)
