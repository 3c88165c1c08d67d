"""Remote actors: N processes that play unrolls of all members, and one learner that is fed by them.

The environments of each member are divided equally. An actor has a pool, a copy of the policy and random streams of its own; it is asked
for one unroll at a time, with the weights and all numbers that it needs. As soon as an unroll of everybody is there, the next is asked
for, with the weights from before the learner learns from it: a fixed lag of one unroll, so that nobody's speed, nor the order in which
unrolls arrive, changes what is learned. At a checkpoint and at the end of a visit nothing is under way and all pools are given up.

Free-running actors have two unrolls ahead of them instead of one, and begin each with the newest weights that have arrived by then. They
need not wait for the slowest, nor for the learner, until they are two ahead; how old their weights are depends on who is how fast.

An actor that dies is replaced by one of the next incarnation, with new seeds and streams. The part of an unroll that it had played is
lost, its episodes are cut where the unroll before ended, and the new one plays the unroll again: its first step only opens the new
episodes. Ray is imported where it is used; nothing here starts a cluster.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from agents.acting.actor import Episode, Tally
from agents.acting.worker import ENDS, Order, Player, Tag, Unroll
from envs.reinforcement.pool import Step
from envs.sequences import Visit
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks.layers import Params

DEATHS = 5  # of an actor without forgiveness, after which the run is given up
FORGIVEN = 0.25  # of a death, by every unroll that the actor delivers
LENGTH = 160  # characters of what Ray has to say of a death
NEWS = "news"  # the concurrency group by which weights come to a free-running actor
PATIENCE = 1.0  # seconds of waiting after which Python looks whether a signal came


class ActorsLost(RuntimeError):
    """The run cannot go on: an actor dies again and again, or fails in a way that would come again."""


class Weights(NamedTuple):
    """All members' parameters."""

    version: int
    """updates that they have seen"""
    values: np.ndarray
    """one after the other, in the order of their names"""
    scale: np.ndarray
    """of each member: what its rewards are divided by"""


class Died(NamedTuple):
    """An actor is gone."""

    actor: int
    incarnation: int
    reason: str


def flat(params: Params) -> np.ndarray:
    """One array of all parameters."""
    return torch.cat([params[name].detach().reshape(-1) for name in sorted(params)]).cpu().numpy()


class Stage(Protocol):
    """Where actors live."""

    def start(self, actor: int, incarnation: int) -> None:
        """Begin one; whoever had its place is ended."""
        ...

    def cramped(self) -> list[int]:
        """Those that share a processor, and would each find one of its own now."""
        ...

    def publish(self, weights: np.ndarray) -> Any:
        """Put weights where all can read them; returns what `ask` is given."""
        ...

    def ask(self, weights: Any, order: Order) -> None:
        """Let an actor play."""
        ...

    def next(self) -> Unroll | Died:
        """Wait for what comes next of all that was asked for."""
        ...

    def close(self) -> None:
        """End all."""
        ...


class Crew:
    """All actors of a run, those that died replaced."""

    def __init__(self, stage: Stage, actors: int) -> None:
        self.size, self.deaths, self.waited = actors, 0, 0.0
        """actors; how many died; seconds that the learner waited for them"""
        self._stage = stage
        self._incarnations, self._debts = [0] * actors, [0.0] * actors
        self._sequences: deque[int] = deque()  # that were asked for, and not given out yet
        self._orders: list[dict[int, tuple[Any, Order]]] = [{} for _ in range(actors)]  # of each actor, by sequence: weights, and the rest
        self._came: dict[tuple[int, int], Unroll] = {}
        for actor in range(actors):
            stage.start(actor, 0)

    @classmethod
    def hire(cls, experiment: Experiment, compile: bool, bootstraps: bool) -> "Crew":
        """On the Ray cluster that this process has joined. Raises UsageError where it has not."""
        return cls(OnRay(experiment, compile, bootstraps), experiment.actors)

    def ask(self, weights: Weights, order: Order) -> None:
        """Let everybody play `order`."""
        published, sequence = self._stage.publish(weights.values), order.tag.sequence
        self._sequences.append(sequence)
        for actor, incarnation in enumerate(self._incarnations):
            theirs = order._replace(tag=Tag(actor, incarnation, sequence, weights.version))
            self._orders[actor][sequence] = published, theirs
            self._stage.ask(published, theirs)

    def settle(self) -> None:
        """To be called where nothing is asked for: whoever had to share a processor moves to one that has come meanwhile."""
        for actor in self._stage.cramped():
            self._incarnations[actor] += 1
            self._stage.start(actor, self._incarnations[actor])

    def gather(self) -> list[Unroll]:
        """What was asked for first, one of each actor. Raises ActorsLost where one dies too often."""
        began, sequence = time.monotonic(), self._sequences.popleft()
        while any(sequence in orders for orders in self._orders):
            came = self._stage.next()
            if isinstance(came, Died):
                self._replace(came)
                continue
            actor, incarnation, which, version = came.tag
            if which not in self._orders[actor]:  # it came before
                continue
            wanted = self._orders[actor][which][1].tag
            if incarnation == wanted.incarnation and version >= wanted.version:  # else it came too late
                del self._orders[actor][which]
                self._came[actor, which] = came
                self._debts[actor] = max(self._debts[actor] - FORGIVEN, 0.0)
        self.waited += time.monotonic() - began
        return [self._came.pop((actor, sequence)) for actor in range(self.size)]

    def close(self) -> None:
        """End all of them."""
        self._stage.close()

    def _replace(self, died: Died) -> None:
        actor = died.actor
        if died.incarnation != self._incarnations[actor]:
            return
        self.deaths += 1
        self._debts[actor] += 1
        if self._debts[actor] > DEATHS:
            raise ActorsLost(f"actor {actor} died again and again, {self.deaths} deaths of actors in all; the last: {died.reason}")
        self._incarnations[actor] += 1
        self._stage.start(actor, self._incarnations[actor])
        for sequence, (weights, order) in sorted(self._orders[actor].items()):
            again = order._replace(tag=order.tag._replace(incarnation=self._incarnations[actor]))
            self._orders[actor][sequence] = weights, again
            self._stage.ask(weights, again)


class Unrolls:
    """A leg that remote actors play, step by step in the place of an `Actor` whose pool is here."""

    def __init__(
        self,
        crew: Crew,
        plan: tuple[Visit, int, int, int, int],
        members: int,
        environments: int,
        unroll: int,
        weights: Callable[[], Weights],
        device: str,
        ahead: int = 1,
    ) -> None:
        """`plan`: the visit, and the steps of the run at which it begins and ends, and at which the leg does. `unroll` is in pool steps;
        so many of them are `ahead`, asked for and not learned from."""
        self._crew, self._unroll, self._weights, self._device = crew, unroll, weights, device
        self._visit, self._start, self._end, self._leg, last = plan
        self._members, self._environments = members, environments
        self._asked, self._last = self._leg // environments, -(-last // environments)  # in pool steps
        self._tally = Tally(members, environments)
        self._incarnations: list[int] = []
        self._t = 0
        self.lags: list[float] = []
        """of unrolls that came: updates between the weights that played them, mean over actors, and those that learn from them"""
        crew.settle()
        for _ in range(ahead):
            self._ask(weights())
        self._fetch()

    @property
    def said(self) -> dict[str, Tensor]:
        """What the policy said of the step that is next, (S, B) each."""
        return {name: values[self._t] for name, values in self._said.items()}

    def ready(self) -> list[slice]:
        """Where the unroll is used up, wait for the next; returns the columns whose episodes were cut, as their actor had died."""
        return self._fetch() if self._t == len(self._rewards) else []

    def send(self, actions: Tensor) -> None:
        """Nothing: they were taken."""

    def receive(self) -> tuple[Step, list[Episode]]:
        """What came of it, and the episodes that ended."""
        ends, rewards = self._ends[self._t].reshape(-1), self._rewards[self._t].reshape(-1)
        self._t += 1
        flags = {name: (ends >> bit & 1).astype(bool) for bit, name in enumerate(ENDS)}
        step = Step(self._look().reshape(len(rewards), *self._parts[0].shape[3:]), rewards, **flags)
        return step, self._tally.add(step)

    def cut(self, columns: slice) -> list[Episode]:
        """The episodes in some columns are over before their end."""
        return self._tally.cut(columns)

    def close(self) -> list[Episode]:
        """The leg is over, and the actors have given up their pools; returns the episodes that this cut."""
        return self._tally.cut()

    def _ask(self, weights: Weights) -> None:
        steps, first = min(self._unroll, self._last - self._asked), self._leg // self._environments
        if steps > 0:
            last, tag = self._asked + steps == self._last, Tag(0, 0, self._asked, 0)
            edges = self._start, self._end, self._leg, steps
            self._crew.ask(weights, Order(tag, self._visit, *edges, self._asked > first, last, weights.scale))
            self._asked += steps

    def _fetch(self) -> list[slice]:
        came = self._crew.gather()
        weights = self._weights()
        self.lags.append(weights.version - sum(each.tag.version for each in came) / len(came))
        self._ask(weights)  # for what is played while the learner learns from this
        ages, self._rewards, self._ends = (
            np.concatenate([getattr(each, name) for each in came], 2) for name in ("ages", "rewards", "ends")
        )
        said = {name: np.concatenate([each.said[name] for each in came], 2) for name in came[0].said}
        self._parts, self._ages = [each.frames for each in came], self._tensor(ages)
        self._said = {name: self._tensor(values) for name, values in said.items()}
        before, self._incarnations = self._incarnations, [each.tag.incarnation for each in came]
        width = self._environments // len(came)
        self._t = 0
        if not before:
            self._look()
        replaced = [actor for actor, incarnation in enumerate(before) if incarnation != self._incarnations[actor]]
        return [slice(width * actor, width * (actor + 1)) for actor in replaced]

    def _look(self) -> np.ndarray:
        """The frames of step `_t`, which go from where Ray keeps them side by side into a row that the processor's cache holds."""
        row = np.concatenate([part[self._t] for part in self._parts], 1)
        self.frames, self.ages = self._tensor(row), self._ages[self._t]
        return row

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self._device)


class OnRay:
    """Actors that are Ray's: each a process somewhere on the cluster that this one has joined."""

    def __init__(self, experiment: Experiment, compile: bool, bootstraps: bool) -> None:
        import ray

        if not ray.is_initialized():
            raise UsageError("remote actors need a Ray cluster, and this process has joined none: ray.init() comes first")
        self._ray: Any = ray
        self._about = (experiment, compile, bootstraps)
        self._count, self._sharing = experiment.actors, set[int]()
        self._free = experiment.free_running
        groups = {"concurrency_groups": {NEWS: 1}} if self._free else {}  # weights arrive while an unroll is played
        self._class = self._ray.remote(max_restarts=0, max_task_retries=0, **groups)(RayPlayer)
        self._actors: dict[int, tuple[int, Any, Any]] = {}  # incarnation, handle, what is there once it has begun
        self._asked: dict[Any, tuple[int, Any, Order]] = {}  # by what will come of it: incarnation, weights, order

    def start(self, actor: int, incarnation: int) -> None:
        self._end(actor)
        # They share processors where the cluster has fewer than they are; without a processor of its own, one is never waited for.
        self._sharing.discard(actor)
        if not self._roomy():
            self._sharing.add(actor)
        made = self._class.options(num_cpus=0 if actor in self._sharing else 1, scheduling_strategy="SPREAD")
        handle = made.remote(self._about, actor, incarnation)
        self._actors[actor] = incarnation, handle, handle.__ray_ready__.remote()

    def cramped(self) -> list[int]:
        return sorted(self._sharing) if self._sharing and self._roomy() else []

    def publish(self, weights: np.ndarray) -> Any:
        return self._ray.put(weights)

    def ask(self, weights: Any, order: Order) -> None:
        incarnation, handle, _ = self._actors[order.tag.actor]
        if self._free:
            handle.take.options(concurrency_group=NEWS).remote(weights, order.tag.version)
        self._asked[handle.unroll.remote(weights, order)] = incarnation, weights, order

    def next(self) -> Unroll | Died:
        found: list[Any] = []
        while not found:
            found, _ = self._ray.wait(list(self._asked), timeout=PATIENCE)
            if not found and not self._roomy():
                self._share()
        incarnation, _, order = self._asked.pop(found[0])
        actor = order.tag.actor
        try:
            return self._ray.get(found[0])
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UsageError):
                raise UsageError(str(error.cause)) from error
            raise ActorsLost(f"actor {actor} failed: {type(error.cause).__name__}: {error.cause}") from error
        except self._ray.exceptions.RayError as error:
            said = " ".join(str(error).split())
            return Died(actor, incarnation, said[max(said.find("The actor is dead"), 0) :][:LENGTH] or type(error).__name__)

    def close(self) -> None:
        for actor in list(self._actors):
            self._end(actor)

    def _roomy(self) -> bool:
        return self._ray.cluster_resources().get("CPU", 0) >= self._count

    def _share(self) -> None:
        """Whoever waits for a processor that went with its node, before the cluster said so, begins without one."""
        for actor, (incarnation, _, begun) in list(self._actors.items()):
            if actor not in self._sharing and not self._ray.wait([begun], timeout=0)[0]:
                again = [(weights, order) for _, weights, order in self._asked.values() if order.tag.actor == actor]
                self.start(actor, incarnation)
                for each in again:
                    self.ask(*each)

    def _end(self, actor: int) -> None:
        self._asked = {reference: about for reference, about in self._asked.items() if about[-1].tag.actor != actor}
        _, handle, _ = self._actors.pop(actor, (0, None, None))
        if handle and self._ray.is_initialized():  # else they are gone with it, and Ray would join another cluster to end them
            self._ray.kill(handle)


class RayPlayer:
    """A Player as Ray calls it."""

    def __init__(self, about: tuple[Experiment, bool, bool], actor: int, incarnation: int) -> None:
        experiment, compile, bootstraps = about
        self._player = Player(experiment, actor, incarnation, compile, bootstraps)
        self._newest: tuple[np.ndarray, int] | None = None

    def unroll(self, weights: np.ndarray, order: Order) -> Unroll:
        torch.set_num_threads(1)  # of each thread its own, and free-running actors play in another one than they are made in
        torch.set_flush_denormal(True)  # as where the learner is
        if (newest := self._newest) and newest[1] > order.tag.version:
            weights, order = newest[0], order._replace(tag=order.tag._replace(version=newest[1]))
        return self._player.unroll(weights, order)

    def take(self, weights: np.ndarray, version: int) -> None:
        """Weights for the unroll that begins next."""
        self._newest = weights, version
