"""Deep Q-learning."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from agents.off_policy import Training
from plasticity_rl.checkpoint import Event, Snapshot
from plasticity_rl.checks import UsageError, check
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks import Network, Params


@dataclass(frozen=True)
class DQN:
    """Q-learning with a target network and uniform replay (Mnih et al. 2015, Nature 518), with double (van Hasselt et al. 2016,
    arXiv 1509.06461) and n-step targets as fields.

    Defaults are those that DQN Zoo gives its agents, per member: batch 32, an update every 4 steps, discount 0.99, replay of 1e6;
    `min_replay` (2% of it) and `target_every` (32,000 frames) are its Rainbow's. Exploration falls linearly and starts again at every
    visit, for every chain alike,
    so that nobody arrives at a new game with the old one's certainty.
    """

    environments: int = 8
    """of each member"""
    batch: int = 32
    train_every: int = 4
    """steps of a member per update"""
    replay: int = 1_000_000
    """steps kept, of each member"""
    min_replay: int = 20_000
    """steps gathered before the first update, and again after the replay is cleared"""
    replay_at_switch: Literal["clear", "keep"] = "clear"
    """what happens to the data when the task changes; with `clear`, a chain differs from the fresh control by its network alone"""
    target_every: int = 2_000
    """updates between copies to the target network"""
    discount: float = 0.99
    steps: int = 1
    """of the n-step return"""
    double: bool = False
    clip_rewards: bool = True
    """learn from rewards clipped to [-1, 1]; scores never are"""
    final_epsilon: float = 0.1
    """chance of a random action after exploration; 0.1 as in Mnih et al. 2015"""
    exploration: float = 0.1
    """share of each visit in which it falls from 1 to `final_epsilon`"""

    learns_from: ClassVar[str] = "rewards"

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("batch", "train_every", "replay", "min_replay", "target_every", "steps"), "[1, 100_000_000]")
        check(self, **counts, environments="[1, 4096]", discount="[0, 1]", final_epsilon="[0, 1]", exploration="(0, 1]")
        room = (self.replay // self.environments - 1) * self.environments  # the newest step of each has no outcome yet
        if self.min_replay > room:
            raise UsageError(f"DQN: min_replay can be {max(room, 0)} at most, not {self.min_replay}, with a replay of {self.replay}")

    def fit(self, benchmark: Any) -> None:
        """Raises UsageError where the visits are no whole steps of the pool, or too short to learn in."""
        whole = benchmark.frame_skip * self.environments
        for visit in benchmark.visits():
            if visit.budget % whole:
                near = max(round(visit.budget / whole), 1) * whole
                raise UsageError(
                    f"visits of {visit.budget} frames are no multiple of {whole}, a step of {self.environments} environments; {near} is"
                )
            if visit.budget // benchmark.frame_skip <= self.min_replay + self.train_every:
                raise UsageError(f"nothing is learned in a visit of {visit.budget} frames: min_replay takes {self.min_replay} steps of it")

    def loss(self, network: Network, params: Params, batch: dict[str, Tensor], target: Params) -> tuple[Tensor, dict[str, Tensor]]:
        """Of ONE network: the Huber loss of the n-step temporal-difference error, mean over the batch."""
        values = network.apply(params, batch["inputs"])[0].gather(1, batch["actions"][:, None])[:, 0]
        after = network.apply(target, batch["next_inputs"])[0]
        if self.double:
            best = network.apply(params, batch["next_inputs"])[0].argmax(-1, keepdim=True)
            after = after.gather(1, best)[:, 0]
        else:
            after = after.amax(-1)
        goal = (batch["returns"] + batch["discounts"] * after).detach()
        losses = F.huber_loss(values, goal, reduction="none")
        return (batch["weights"] * losses).mean(), {"value": values.mean()}

    def act(self, network: Network, params: Params, observations: Tensor, epsilon: Tensor, uniform: Tensor, other: Tensor) -> Tensor:
        """Of ONE network: the greedy action for each of `observations` (B, ...), or `other` (B,) where `uniform` (B,) is below epsilon."""
        greedy = network.apply(params, observations)[0].argmax(-1)
        return torch.where(uniform < epsilon, other, greedy)

    def train(self, experiment: Experiment, device: str, compile: bool, resume: Snapshot | None) -> Iterator[Event]:
        """The run, as what it reports. Raises FloatingPointError where a loss is not finite."""
        training = Training(self, experiment, device, compile)
        if resume:
            training.load(resume)
        return training.run()
