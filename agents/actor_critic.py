"""Parts that agents with a policy network and critics of its actions share."""

from collections.abc import Iterator
from typing import ClassVar, Protocol, cast, final

import torch
from torch import Tensor

from agents.base import ReplayAgent, refuse_actors, refuse_space, refuse_untold, refuse_visits
from agents.loops.replay import ReplayLoop
from envs.reinforcement.backends.spaces import Box, Space
from envs.reinforcement.base import ReinforcementBenchmark
from plasticity_rl.checks import UsageError
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
    samples: ClassVar[bool] = True
    separable: ClassVar[bool] = False  # random actions of a batch are no rows of it
    tolerates_lag: ClassVar[bool] = True  # replay holds transitions of older policies anyway
    acts_in: ClassVar[tuple[type[Space], ...]] = (Box,)
    evaluates_mean: ClassVar[bool] = True

    @property
    def critic_names(self) -> tuple[str, ...]:
        """Names of the critics' networks."""
        return tuple(f"critic{number}" for number in range(self.critics))

    @final
    def fit(self, experiment: Experiment) -> None:
        """Raise UsageError if a visit is too short to fill the replay and learn, or benchmark, network or actors do not suit."""
        benchmark, name = cast(ReinforcementBenchmark, experiment.benchmark), type(self).__name__
        refuse_space(self, benchmark)
        if len(benchmark.inputs) > 1:
            shape = " x ".join(map(str, benchmark.inputs))
            raise UsageError(
                f"{name} learns from vectors, and observations of {type(benchmark).__name__} are {shape}: take ppo:policy=gaussian"
            )
        refuse_visits(self.num_envs, benchmark)
        for visit in benchmark.visits():
            if visit.budget // benchmark.frame_skip <= self.min_replay + self.train_every:
                raise UsageError(f"a visit of {visit.budget} frames is too short to learn: min_replay takes {self.min_replay} steps")
        refuse_actors(self, experiment)
        refuse_untold(experiment)

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
