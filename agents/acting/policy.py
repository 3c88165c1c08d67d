"""Acting code shared by the learner's process and remote actors: the lifted policy, its random numbers, and the seeds of pools."""

from collections.abc import Callable
from itertools import count

import numpy as np
import torch
from torch import Tensor

from agents.acting.random_streams import RandomStreams
from agents.base import ActingAgent
from envs.reinforcement.backends.spaces import Space
from envs.reinforcement.base import ReinforcementBenchmark, num_actions
from plasticity_rl.experiment import MAX_SEED
from plasticity_rl.networks.layers import Params
from plasticity_rl.networks.network import Network
from plasticity_rl.seeds import derive
from plasticity_rl.training.compilation import compiled
from plasticity_rl.training.lift import chunked, lift


def lifted_act(
    agent: ActingAgent, network: Network, chunk_size: int, compile: bool, judged: bool = False
) -> Callable[..., dict[str, Tensor]]:
    """Lift `agent.act` over members: (params, observations, drawn, shared) -> outputs, with the `values` of the observations if `judged`.

    `chunk_size` is the number of members per call.
    """

    def one(params: Params, observations: Tensor, drawn: dict[str, Tensor], shared: dict[str, Tensor]) -> dict[str, Tensor]:
        said = agent.act(network, params, observations, drawn, shared)
        return said if not judged or "values" in said else said | {"values": agent.judge(network, params, observations, said, shared)}

    act = lift(one, in_dims=(0, 0, 0, None))
    act = compiled(act) if compile else act
    return chunked(act, chunk_size, shared=1)


def draw(
    streams: RandomStreams, agent: ActingAgent, network: Network, space: Space, at: int, num_envs: int, suffix: str = ""
) -> dict[str, Tensor]:
    """Random numbers of decision `at` in a space of actions, (S, environments, ...) each; a `suffix` selects separate streams."""
    drawn = draw_actions(streams, agent, space, at, num_envs, f"explore{suffix}")
    if network.noise:
        drawn["noise"] = streams.normal(at, f"acting noise{suffix}", num_envs, network.noise)
    return drawn


def draw_actions(
    streams: RandomStreams, agent: ActingAgent, space: Space, at: int, num_envs: int, purpose: str, evaluates: bool = False
) -> dict[str, Tensor]:
    """Random numbers from which `act` makes actions, `uniform` and `normal`, (S, environments, ...) each."""
    counts = agent.draws(space)
    drawn = {"uniform": streams.uniform(at, purpose, num_envs, counts["uniform"])} if "uniform" in counts else {}
    if "normal" in counts:
        normal = streams.normal(at, f"{purpose} normal", num_envs, counts["normal"])
        drawn["normal"] = torch.zeros_like(normal) if evaluates and agent.evaluates_mean else normal
    return drawn


def shared(benchmark: ReinforcementBenchmark, task: str, epsilon: float, device: str) -> dict[str, Tensor]:
    """Inputs of `act` that all members share: `epsilon`, the index of the `task`, and its `num_actions` if tasks differ in it."""
    index, counts = benchmark.names.index(task), num_actions(benchmark)
    given = {"epsilon": torch.tensor(epsilon, device=device), "task": torch.tensor(index, device=device)}
    return given | ({"num_actions": torch.tensor(counts[index], device=device)} if counts else {})


def pool_seeds(seed: int, members: int, num_envs: int, step: int, purpose: str) -> np.ndarray:
    """Distinct seeds of the environments created at a step of the run, (S, environments)."""
    seeds: dict[int, None] = {}
    for member in range(members):
        for environment in range(num_envs):
            tries = (derive(seed, member, purpose, environment, step, again) % MAX_SEED for again in count())
            seeds[next(each for each in tries if each not in seeds)] = None
    return np.array(list(seeds)).reshape(members, num_envs)
