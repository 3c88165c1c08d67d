"""What acting takes besides environments and a policy's parameters, the same in the learner's process and in a remote actor's."""

from collections.abc import Callable
from itertools import count

import numpy as np
import torch
from torch import Tensor

from agents.acting.random_streams import RandomStreams
from agents.base import ActingAgent
from envs.reinforcement.base import ReinforcementBenchmark
from envs.sequences import Visit
from plasticity_rl.experiment import MAX_SEED
from plasticity_rl.networks.layers import Params
from plasticity_rl.networks.network import Network
from plasticity_rl.seeds import derive
from plasticity_rl.training.compilation import compiled
from plasticity_rl.training.lift import chunked, lift


def lifted_act(
    agent: ActingAgent, network: Network, chunk_size: int, compile: bool, judged: bool = False
) -> Callable[..., dict[str, Tensor]]:
    """`agent.act` of all members: (params, observations, drawn, shared) -> what it says, and where it is `judged` the `values` of what is
    observed. `chunk_size`: members of one call."""

    def one(params: Params, observations: Tensor, drawn: dict[str, Tensor], shared: dict[str, Tensor]) -> dict[str, Tensor]:
        said = agent.act(network, params, observations, drawn, shared)
        if not judged or "values" in said:
            return said
        return said | {"values": agent.decode_outputs(network.apply(params, observations, task=shared["task"])[0])["values"]}

    act = lift(one, in_dims=(0, 0, 0, None))
    act = compiled(act) if compile else act
    return chunked(act, chunk_size, shared=1)


def draw(
    streams: RandomStreams, agent: ActingAgent, network: Network, outputs: int, at: int, environments: int, suffix: str = ""
) -> dict[str, Tensor]:
    """The random numbers of decision `at` among so many `outputs`, (S, environments, ...) each; a `suffix` names streams of one's own."""
    drawn = {"uniform": streams.uniform(at, f"explore{suffix}", environments, agent.draws(outputs))}
    if network.noise:
        drawn["noise"] = streams.normal(at, f"acting noise{suffix}", environments, network.noise)
    return drawn


def shared(benchmark: ReinforcementBenchmark, visit: Visit, epsilon: float, device: str) -> dict[str, Tensor]:
    """What all members' decisions have in common: the chance of a random action, and which task it is."""
    return {"epsilon": torch.tensor(epsilon, device=device), "task": torch.tensor(benchmark.names.index(visit.task), device=device)}


def pool_seeds(seed: int, members: int, environments: int, step: int, purpose: str) -> np.ndarray:
    """A seed for each environment that is made at a step of the run, (S, environments), all different."""
    seeds: dict[int, None] = {}
    for member in range(members):
        for environment in range(environments):
            tries = (derive(seed, member, purpose, environment, step, again) % MAX_SEED for again in count())
            seeds[next(each for each in tries if each not in seeds)] = None
    return np.array(list(seeds)).reshape(members, environments)
