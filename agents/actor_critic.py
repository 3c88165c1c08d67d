"""Parts that agents with a policy network and critics of its actions share."""

from collections.abc import Iterator
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from agents.base import ReplayAgent
from agents.loops.replay import ReplayLoop
from envs.reinforcement.backends.spaces import Box, Space
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks.layers import Params, network_of
from plasticity_rl.networks.network import Network
from plasticity_rl.records.events import Event, Snapshot


class ActorCritic(ReplayAgent, Protocol):
    """A replay agent with a network `actor`, and critics `critic0`, `critic1` and so on that read state and action. Observations are
    vectors."""

    critics: int
    """number of critics"""
    random_fraction: float
    """fraction of each visit, from its start, in which actions are uniformly random"""

    supervision: ClassVar[str] = "rewards"
    samples: ClassVar[bool] = False  # there are no logits to sample from
    separable: ClassVar[bool] = False  # random actions of a batch are no rows of it
    tolerates_lag: ClassVar[bool] = True  # replay holds transitions of older policies anyway
    acts_in: ClassVar[tuple[type[Space], ...]] = (Box,)
    reads_images: ClassVar[bool] = False
    evaluates_mean: ClassVar[bool] = True

    @property
    def critic_names(self) -> tuple[str, ...]:
        """Names of the critics' networks."""
        return tuple(f"critic{number}" for number in range(self.critics))

    def values(self, network: Network, params: Params, states: Tensor, actions: Tensor, task: Tensor) -> Tensor:
        """Each critic's value (n, critics) of actions (n, numbers) in states (n, numbers)."""
        return network.apply(params, torch.cat([states, actions], -1), task=task, only=self.critic_names)[0]

    def judge(self, network: Network, params: Params, observations: Tensor, acted: Params, shared: dict[str, Tensor]) -> Tensor:
        """Values (B,) by ONE network of the actions played in observations (B, ...), the critics' minimum."""
        return self.values(network, params, observations, acted["actions"], shared["task"]).amin(-1)

    def draws(self, space: Space) -> dict[str, int]:
        """A normal number per number of an action, and for uniformly random actions as many and one, for the choice of them."""
        return {"uniform": 1 + space.size, "normal": space.size}

    def epsilon(self, progress: float) -> float:
        """Probability of a uniformly random action at `progress` of a visit, in [0, 1]."""
        return 1.0 if progress < self.random_fraction else 0.0

    def train(self, experiment: Experiment, device: str, compile: bool, resume: Snapshot | None) -> Iterator[Event]:
        """Events of the run, in order. Raises FloatingPointError if a loss is not finite."""
        return ReplayLoop(self, experiment, device, compile).run(resume)


def frozen(params: Params, networks: tuple[str, ...]) -> Params:
    """The parameters, those of some networks without a gradient."""
    return {name: param.detach() if network_of(name) in networks else param for name, param in params.items()}
