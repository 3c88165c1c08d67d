"""Messages between a learner and its remote actors, and the interface of an actor backend."""

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from envs.reinforcement.backends.pool import Step
from envs.sequences import Visit
from plasticity_rl.networks.layers import Params

FLAGS = ("terminated", "truncated", "life_lost", "first")
"""flags of a Step, one bit each"""


class ActorsLost(RuntimeError):
    """Raised if the run cannot continue: an actor died too often, or failed in a way that would recur."""


class Weights(NamedTuple):
    """Parameters of all members."""

    version: int
    """updates made so far"""
    values: np.ndarray
    """concatenated parameters, sorted by name"""
    scale: np.ndarray
    """divisor of rewards, (S,)"""


class RolloutId(NamedTuple):
    """Identity of a rollout; each rollout is learned from once."""

    actor: int
    incarnation: int
    """number of earlier actors with this index"""
    sequence: int
    """pool step of the run at which it begins"""
    version: int
    """version of the weights that played it, in updates"""


class RolloutRequest(NamedTuple):
    """A request for a rollout; steps of the run are per member."""

    id: RolloutId
    """filled in for each actor"""
    visit: Visit
    start: int
    """step at which exploration begins: the visit's first, or the run's if the agent is not told of visits"""
    end: int
    """step at which exploration ends"""
    segment: int
    """step at which the segment began"""
    steps: int
    """pool steps to play"""
    follows: bool
    """True if it is not the first rollout of the segment"""
    last: bool
    """True if it is the last rollout of the segment, after which the pool is closed"""
    scale: np.ndarray
    """divisor of rewards at the time of the request, (S,), for agents that scale rewards"""


class RemoteRollout(NamedTuple):
    """T steps of S members x b environments, time first."""

    id: RolloutId
    frames: np.ndarray
    """single frames in one contiguous array, (T + 1, S, b, *frame)"""
    ages: np.ndarray
    """frames of the episode before each, at most stack - 1, (T + 1, S, b)"""
    outputs: dict[str, np.ndarray]
    """outputs of `act`, (T, S, b) each, or (T + 1, S, b) for a loop that bootstraps; for prioritised agents, `errors` (T, S, b) under the
    actor's weights replace the network's `outputs`"""
    rewards: np.ndarray
    """unscaled, unclipped rewards, (T, S, b) float32"""
    flags: np.ndarray
    """bits of `FLAGS`, (T, S, b) uint8"""
    scores: np.ndarray
    """contributions to the episodes' scores, (T, S, b) float32"""


class Died(NamedTuple):
    """Report that an actor died."""

    actor: int
    incarnation: int
    reason: str


class ActorBackend(Protocol):
    """Interface that starts actors and exchanges messages with them."""

    def start(self, actor: int, incarnation: int) -> None:
        """Start an actor, replacing a running one with the same index."""
        ...

    def cramped(self) -> list[int]:
        """Actors that share a CPU although each could now have its own."""
        ...

    def publish(self, weights: np.ndarray) -> Any:
        """Store weights where all actors can read them; return the handle that `ask` takes."""
        ...

    def ask(self, weights: Any, request: RolloutRequest) -> None:
        """Request a rollout of an actor."""
        ...

    def next(self) -> RemoteRollout | Died:
        """Wait for the next answer to any request."""
        ...

    def close(self) -> None:
        """End all actors."""
        ...


def flat(params: Params) -> np.ndarray:
    """Concatenate all parameters, sorted by name."""
    return torch.cat([params[name].detach().reshape(-1) for name in sorted(params)]).cpu().numpy()


def pack_flags(step: Step) -> np.ndarray:
    """Pack the flags of a step into bits, (N,) uint8."""
    bits = np.zeros(step.terminated.shape, np.uint8)
    for bit, flag in enumerate((step.terminated, step.truncated, step.life_lost, step.first)):
        bits |= flag.astype(np.uint8) << bit
    return bits


def unpack_step(observations: np.ndarray, rewards: np.ndarray, flags: np.ndarray, scores: np.ndarray) -> Step:
    """Rebuild a Step from its packed flags."""
    terminated, truncated, life_lost, first = ((flags >> bit & 1).astype(bool) for bit in range(len(FLAGS)))
    return Step(observations, rewards, terminated, truncated, life_lost, first, scores)
