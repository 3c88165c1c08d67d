"""Remote actors: N processes that play rollouts of all members for one learner.

Actors share the environments of each member equally. Each has its own pool, copy of the policy and random streams, and receives one request
per rollout, with the weights and all numbers that it needs. When the rollouts of all actors have arrived, the next are requested with the
current weights, before the learner updates. This lag of exactly one rollout makes results independent of the actors' speed and of the order
of arrival. At a checkpoint and at the end of a visit no request is pending and all pools are closed.

Free-running actors have two pending requests instead of one, and begin each rollout with the newest weights received. They wait for the
learner or other actors only when two rollouts ahead; the age of their weights depends on their speed.

An actor that dies is replaced by its next incarnation, with new seeds and streams. The played part of its rollout is lost, its episodes are
cut at the end of the previous rollout, and the new actor replays the rollout: its first step only opens the new episodes.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.acting.actor import Episode, Tally
from agents.acting.messages import ActorBackend, ActorsLost, Died, RemoteRollout, RolloutId, RolloutRequest, Weights, unpack_step
from envs.reinforcement.backends.pool import Step
from envs.sequences import Visit

DEATHS = 5  # uncredited deaths of an actor that the run tolerates
FORGIVEN = 0.25  # failure credit restored per delivered rollout


class ActorGroup:
    """All actors of a run; replaces actors that die."""

    def __init__(self, backend: ActorBackend, actors: int) -> None:
        self.size, self.deaths, self.waited = actors, 0, 0.0
        """number of actors; deaths so far; seconds that the learner waited for rollouts"""
        self._backend = backend
        self._incarnations, self._debts = [0] * actors, [0.0] * actors
        self._sequences: deque[int] = deque()  # requests not yet gathered
        self._requests: list[dict[int, tuple[Any, RolloutRequest]]] = [{} for _ in range(actors)]  # sequence -> weights and request
        self._received: dict[tuple[int, int], RemoteRollout] = {}
        for actor in range(actors):
            backend.start(actor, 0)

    def ask(self, weights: Weights, request: RolloutRequest) -> None:
        """Request a rollout of every actor."""
        published, sequence = self._backend.publish(weights.values), request.id.sequence
        self._sequences.append(sequence)
        for actor, incarnation in enumerate(self._incarnations):
            own = request._replace(id=RolloutId(actor, incarnation, sequence, weights.version))
            self._requests[actor][sequence] = published, own
            self._backend.ask(published, own)

    def settle(self) -> None:
        """Move actors that share a CPU to a free one; call between requests."""
        for actor in self._backend.cramped():
            self._incarnations[actor] += 1
            self._backend.start(actor, self._incarnations[actor])

    def gather(self) -> list[RemoteRollout]:
        """Wait for the oldest request and return the rollout of each actor. Raises ActorsLost if an actor dies too often."""
        began, sequence = time.monotonic(), self._sequences.popleft()
        while any(sequence in requests for requests in self._requests):
            received = self._backend.next()
            if isinstance(received, Died):
                self._replace(received)
                continue
            actor, incarnation, which, version = received.id
            if which not in self._requests[actor]:  # a duplicate
                continue
            wanted = self._requests[actor][which][1].id
            if incarnation == wanted.incarnation and version >= wanted.version:  # else from a replaced actor or older weights
                del self._requests[actor][which]
                self._received[actor, which] = received
                self._debts[actor] = max(self._debts[actor] - FORGIVEN, 0.0)
        self.waited += time.monotonic() - began
        return [self._received.pop((actor, sequence)) for actor in range(self.size)]

    def close(self) -> None:
        """End all actors."""
        self._backend.close()

    def _replace(self, died: Died) -> None:
        actor = died.actor
        if died.incarnation != self._incarnations[actor]:
            return
        self.deaths += 1
        self._debts[actor] += 1
        if self._debts[actor] > DEATHS:
            raise ActorsLost(f"actor {actor} died again and again, {self.deaths} deaths of actors in all; the last: {died.reason}")
        self._incarnations[actor] += 1
        self._backend.start(actor, self._incarnations[actor])
        for sequence, (weights, request) in sorted(self._requests[actor].items()):
            again = request._replace(id=request.id._replace(incarnation=self._incarnations[actor]))
            self._requests[actor][sequence] = weights, again
            self._backend.ask(weights, again)


class RemoteActor:
    """Interface of an `Actor` to a segment that remote actors play, step by step."""

    def __init__(
        self,
        group: ActorGroup,
        plan: tuple[Visit, int, int, int, int],
        members: int,
        num_envs: int,
        rollout_length: int,
        weights: Callable[[], Weights],
        device: str,
        ahead: int = 1,
    ) -> None:
        """Request the first rollouts.

        `plan` holds the visit, and the steps of the run at which exploration begins and ends and the segment begins and ends.
        `rollout_length` is in pool steps; `ahead` is the number of pending requests.
        """
        self._group, self._rollout_length, self._weights, self._device = group, rollout_length, weights, device
        self._visit, self._start, self._end, self._segment, last = plan
        self._members, self._num_envs = members, num_envs
        self._asked, self._last = self._segment // num_envs, -(-last // num_envs)  # in pool steps
        self._tally = Tally(members, num_envs)
        self._incarnations: list[int] = []
        self._t = 0
        self.lags: list[float] = []
        """lag of each rollout, in updates: age of the weights that played it when it is learned from, mean over actors"""
        group.settle()
        for _ in range(ahead):
            self._ask(weights())
        self._fetch()

    @property
    def outputs(self) -> dict[str, Tensor]:
        """Outputs of the policy for the next step, (S, B) each."""
        return {name: values[self._t] for name, values in self._outputs.items()}

    def ready(self) -> list[slice]:
        """Wait for the next rollout if this one is used up; return the columns whose episodes were cut because their actor died."""
        return self._fetch() if self._t == len(self._rewards) else []

    def send(self, actions: Tensor) -> None:
        """No-op: the worker has already acted."""

    def receive(self) -> tuple[Step, list[Episode]]:
        """The next step, and the episodes that ended with it."""
        flags, rewards, scores = (each[self._t].reshape(-1) for each in (self._flags, self._rewards, self._scores))
        self._t += 1
        step = unpack_step(self._read_frames().reshape(len(rewards), *self._parts[0].shape[3:]), rewards, flags, scores)
        return step, self._tally.add(step)

    def cut(self, columns: slice) -> list[Episode]:
        """End the episodes in some columns early."""
        return self._tally.cut(columns)

    def close(self) -> list[Episode]:
        """End the segment; return the episodes that this cut. The actors have closed their pools."""
        return self._tally.cut()

    def _ask(self, weights: Weights) -> None:
        steps, first = min(self._rollout_length, self._last - self._asked), self._segment // self._num_envs
        if steps > 0:
            last, new = self._asked + steps == self._last, RolloutId(0, 0, self._asked, 0)
            edges = self._start, self._end, self._segment, steps
            self._group.ask(weights, RolloutRequest(new, self._visit, *edges, self._asked > first, last, weights.scale))
            self._asked += steps

    def _fetch(self) -> list[slice]:
        received = self._group.gather()
        weights = self._weights()
        self.lags.append(weights.version - sum(each.id.version for each in received) / len(received))
        self._ask(weights)  # played while the learner learns from the current one
        ages, self._rewards, self._flags, self._scores = (
            np.concatenate([getattr(each, name) for each in received], 2) for name in ("ages", "rewards", "flags", "scores")
        )
        outputs = {name: np.concatenate([each.outputs[name] for each in received], 2) for name in received[0].outputs}
        self._parts, self._ages = [each.frames for each in received], self._tensor(ages)
        self._outputs = {name: self._tensor(values) for name, values in outputs.items()}
        before, self._incarnations = self._incarnations, [each.id.incarnation for each in received]
        width = self._num_envs // len(received)
        self._t = 0
        if not before:
            self._read_frames()
        replaced = [actor for actor, incarnation in enumerate(before) if incarnation != self._incarnations[actor]]
        return [slice(width * actor, width * (actor + 1)) for actor in replaced]

    def _read_frames(self) -> np.ndarray:
        """Frames of step `_t`, copied from Ray's shared memory into one row that fits the CPU's cache."""
        row = np.concatenate([part[self._t] for part in self._parts], 1)
        self.frames, self.ages = self._tensor(row), self._ages[self._t]
        return row

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self._device)
