"""Messages between a learner and its remote actors, and the interface of the place where actors live."""

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from envs.reinforcement.pool import Step
from envs.sequences import Visit
from plasticity_rl.networks.layers import Params

FLAGS = ("terminated", "truncated", "life_lost", "first")
"""flags of a Step, a bit each"""


class ActorsLost(RuntimeError):
    """The run cannot go on: an actor dies again and again, or fails in a way that would recur."""


class Weights(NamedTuple):
    """Parameters of all members."""

    version: int
    """updates they have seen"""
    values: np.ndarray
    """parameters one after the other, in the order of their names"""
    scale: np.ndarray
    """(S,): divisor of rewards"""


class RolloutId(NamedTuple):
    """Identity of a rollout: each is learned from once."""

    actor: int
    incarnation: int
    """earlier actors in the same place"""
    sequence: int
    """pool step at which it begins, counted from the start of the run"""
    version: int
    """updates seen by the weights that played it"""


class RolloutRequest(NamedTuple):
    """A request for a rollout; steps of the run are per member."""

    id: RolloutId
    """filled in for each actor"""
    visit: Visit
    start: int
    """step of the run at which the visit begins"""
    end: int
    """step at which it ends"""
    segment: int
    """step at which the segment began"""
    steps: int
    """pool steps to play"""
    follows: bool
    """another rollout of the segment came before"""
    last: bool
    """last rollout of the segment: the pool is closed after it"""
    scale: np.ndarray
    """(S,): divisor of rewards, of an agent that scales them, as far as the learner knew"""


class RemoteRollout(NamedTuple):
    """T steps of S members x b environments, time first."""

    id: RolloutId
    frames: np.ndarray
    """(T + 1, S, b, *frame), one contiguous array of single frames"""
    ages: np.ndarray
    """(T + 1, S, b): frames of the episode before each, at most stack - 1"""
    outputs: dict[str, np.ndarray]
    """outputs of `act`, (T, S, b) each, or (T + 1, S, b) for a loop that bootstraps; for an agent that is prioritised, `errors` (T, S, b)
    by its own weights stand for the `outputs` of the network"""
    rewards: np.ndarray
    """(T, S, b) float32, unscaled and unclipped"""
    flags: np.ndarray
    """(T, S, b) uint8: the bits of `FLAGS`"""


class Died(NamedTuple):
    """The end of an actor."""

    actor: int
    incarnation: int
    reason: str


class ActorBackend(Protocol):
    """Where actors live."""

    def start(self, actor: int, incarnation: int) -> None:
        """Start an actor; it replaces a running one in its place."""
        ...

    def cramped(self) -> list[int]:
        """Actors that share a CPU although there is now a free one for each."""
        ...

    def publish(self, weights: np.ndarray) -> Any:
        """Put weights where all actors can read them; returns the handle that `ask` takes."""
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
    """One array of all parameters, in the order of their names."""
    return torch.cat([params[name].detach().reshape(-1) for name in sorted(params)]).cpu().numpy()


def pack_flags(step: Step) -> np.ndarray:
    """Flags of a step as bits, (N,) uint8."""
    bits = np.zeros(step.terminated.shape, np.uint8)
    for bit, flag in enumerate((step.terminated, step.truncated, step.life_lost, step.first)):
        bits |= flag.astype(np.uint8) << bit
    return bits


def unpack_step(observations: np.ndarray, rewards: np.ndarray, flags: np.ndarray) -> Step:
    """The Step whose flags were packed."""
    return Step(observations, rewards, *((flags >> bit & 1).astype(bool) for bit in range(len(FLAGS))))
