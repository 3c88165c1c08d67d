"""Training loop shared by all acting agents: visits, segments, the learner with its schedule and diagnostics.

Emulators cannot save their state, so every checkpoint ends a *segment*: pools are closed, their episodes cut, and new pools created with
seeds that depend only on (seed, member, environment, step), in uninterrupted runs too. So a resumed run equals an uninterrupted one.

A run that is stopped within a segment saves the actions that its pools were sent since; the same command makes the pools anew, plays
these actions, and goes on from there. Remote actors cannot do that: their runs resume from the last checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from agents.acting import ray_actors
from agents.acting.actor import THREADS, Actor, Episode
from agents.acting.device_actor import DeviceActor
from agents.acting.messages import Weights, flat
from agents.acting.policy import draw, lifted_act, pool_seeds, shared
from agents.acting.random_streams import RandomStreams
from agents.acting.remote import ActorGroup, RemoteActor
from agents.base import ActingAgent, told
from agents.data.rewards import Scale
from agents.data.transitions import learned_rewards, outcome
from agents.diagnostics.probing import Probing
from agents.diagnostics.rows import Diagnostics
from agents.loops.evaluation import TICK, evaluate
from envs.reinforcement.backends.pool import Opening, Step
from envs.reinforcement.base import ReinforcementBenchmark, num_actions
from envs.reinforcement.isolation import containment, open_pool
from envs.reinforcement.worlds.pool import TensorStep
from envs.sequences import Visit
from plasticity_rl.experiment import Experiment, until
from plasticity_rl.interventions import assemble
from plasticity_rl.records.events import Event, Metric, Score, Snapshot, Tick
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.update import Batch

A = TypeVar("A", bound=ActingAgent)
SENT = "sent/"
"""prefix of the tensors of actions"""
WORLD = "world/"
"""prefix of the tensors of environments on the device"""
Acts = Actor | DeviceActor | RemoteActor
"""whatever acts for a loop"""


class Loop(ABC, Generic[A]):
    """Run of an agent. Subclasses play a segment, and may keep data besides the learner."""

    def __init__(self, agent: A, experiment: Experiment, device: str, compile: bool) -> None:
        self.agent, self.experiment, self.device = agent, experiment, device
        self.benchmark = cast(ReinforcementBenchmark, experiment.benchmark)
        self.members, self.num_envs = experiment.members, agent.num_envs
        network, optimizer = assemble(
            experiment.network, experiment.optimizer, experiment.chain, self.benchmark.inputs, agent.heads(self.benchmark)
        )
        self.network = network
        self.learner = Learner(
            network,
            lambda params, batch, *extras: agent.loss(network, params, batch, *extras),
            optimizer,
            experiment.chain,
            self.members,
            experiment.seed,
            device,
            compile,
        )
        self._act, self.act_without_noise = (
            lifted_act(agent, network, self.learner.chunk_size, compile, judged=evaluates) for evaluates in (False, True)
        )
        self.streams = RandomStreams(experiment.seed, self.members, device)
        self.scale = Scale(self.members, self.num_envs, agent.discount, device)
        self.diagnostics = Diagnostics(self.learner, experiment)
        self.probing = Probing(self.learner, experiment, experiment.probe_updates, compile=compile)
        self.losses = torch.zeros(self.members, device=device)
        self.actors: ActorGroup | None = None
        """remote actors, once started"""
        self._compile, self._deaths, self._lags_due = compile, 0, 0
        self.steps = 0
        """steps per member since the run began, including those that only reset an environment, so that members stay synchronous"""
        self.haste = 1
        """how many times as often as every TICK pool steps progress is told"""
        self.visit_began = 0
        """updates made before the visit"""
        self.began = 0
        """step at which the segment's pools opened"""
        self._sent: dict[int, list[np.ndarray]] = {}
        """actions sent to the pools since then by the run that this one resumes, by the first column of each"""
        self._worlds: dict[int, dict[str, Tensor]] = {}
        """state of environments on the device within the segment that this run resumes, by the first column of each"""
        self._opened: dict[int, Actor | DeviceActor] = {}
        """the segment's actors in this process, by the first column of each"""
        self._restarts = 0
        self.told = told(experiment)
        """whether the agent starts anything anew at a task change"""
        counts = num_actions(self.benchmark)
        self.num_actions = torch.tensor(counts, device=device) if counts else None
        """number of actions of each task, (tasks,); None if all have the same"""
        self._planned = sum(map(self.planned_updates, self.benchmark.visits()))

    @abstractmethod
    def play(self, visit: Visit, start: int, end: int, last: int) -> Generator[Event, bool | None, None]:
        """Act and learn from step `self.steps` to step `last` of a visit. Exploration goes from step `start` to step `end`: those of the
        visit, or if the agent is not told of it, those of the run. Where `tick` returns True, yield `pause()` as soon as possible.
        """

    @abstractmethod
    def planned_updates(self, visit: Visit) -> int:
        """Number of updates in a visit."""

    @property
    @abstractmethod
    def bootstraps(self) -> bool:
        """True if a rollout needs the policy's outputs after its last step."""

    @property
    def read_every(self) -> int:
        """Steps after which the scores of environments on the device are read, which waits for it."""
        return 1

    def segment_end(self, start: int, end: int) -> int:
        """Step at which the segment that begins now ends: the next checkpoint or the end of the visit, whichever is first."""
        every = self.experiment.checkpoint_every
        return min(end, (self.began // every + 1) * every)

    def observations(self) -> Tensor:
        """The agent's latest observations, (S, n, *shape)."""
        assert self.learner.inputs is not None
        return self.learner.inputs

    def switch(self) -> None:
        """React to a task change, after the chain's task boundary."""

    def refreshed(self, clock: str) -> None:
        """React to the refreshes of the learner's last tick of `clock`."""

    def tensors(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint besides the learner's."""
        return {}

    def counters(self) -> dict[str, Any]:
        """Counters of a checkpoint besides the learner's."""
        return {}

    def load(self, resume: Snapshot) -> None:
        """Restore `tensors` and `counters`."""

    def interrupted(self, columns: slice) -> None:
        """React to episodes cut within a segment, because the remote actor of these columns died."""
        self.scale.cut(columns)

    def run(self, resume: Snapshot | None) -> Generator[Event, bool | None, None]:
        """Train on the visits in order, each in segments. A Tick answered with True is followed by a snapshot as soon as possible."""
        try:
            yield from self._run(resume)
        finally:
            if self.actors:
                self.actors.close()

    def _run(self, resume: Snapshot | None) -> Generator[Event, bool | None, None]:
        if resume:
            self.learner.load(resume.tensors, resume.counters["ticks"])
            self.scale.load(resume.tensors)
            self.diagnostics.load(resume.tensors)
            self.steps, self.visit_began = resume.counters["number"], resume.counters["visit_began"]
            self.began = resume.counters.get("began", self.steps)
            for name in resume.tensors:
                if name.startswith(SENT):
                    self._sent[int(name.removeprefix(SENT))] = list(resume.tensors[name].numpy())
                elif name.startswith(WORLD):
                    column, _, part = name.removeprefix(WORLD).partition("/")
                    self._worlds.setdefault(int(column), {})[part] = resume.tensors[name]
            self.load(resume)
        start, met = 0, {}
        whole = 0, sum(visit.budget for visit in self.benchmark.visits()) // self.benchmark.frame_skip
        for visit in self.benchmark.visits():
            end = start + visit.budget // self.benchmark.frame_skip
            if self.steps < end and visit.index > self.learner.ticks["task"]:
                self.learner.task_boundary()
                if self.told:
                    self.refreshed("task")
                    self.switch()
                    if self.agent.rewards == "scale-per-visit":
                        self.scale.forget()
                    self.visit_began = self.learner.ticks["update"]
                self.diagnostics.begin(self.task(visit))
            met[visit.task] = visit
            while self.steps < end:
                if not self._sent and not self._worlds:
                    self.began = self.steps
                    self.scale.begin_segment()
                yield from self.play(visit, *((start, end) if self.told else whole), self.segment_end(start, end))
                self._sent, self._worlds, self._opened = {}, {}, {}
                if self.experiment.evaluate:
                    for task in met.values() if self.steps >= end else [visit]:
                        yield from evaluate(self, visit, task)
                yield from self.diagnostics.media(self.where(visit))
                yield self._snapshot()
            start = end

    def open(self, visit: Visit, columns: slice, start: int, end: int, last: int) -> Acts:
        """Open an actor in the environments `columns` of each member, for the segment from now to step `last`."""
        if self.experiment.actors:
            self.actors = self.actors or ray_actors.hire(self.experiment, self._compile, self.bootstraps)
            plan = (visit, start, end, self.steps, last)
            ahead = 2 if self.experiment.free_running else 1
            length = self.agent.rollout_length
            return RemoteActor(self.actors, plan, self.members, self.num_envs, length, self._weights, self.device, ahead)
        seeds = pool_seeds(self.experiment.seed, self.members, self.num_envs, self.began, "pool")[:, columns]
        opening = Opening(self.began, self.num_envs)
        on_device = None if containment().isolate else getattr(self.benchmark, "device_pool", None)
        worlds = on_device(visit, seeds, self.experiment.seed, opening, self.device, self._compile) if on_device else None
        if worlds:
            world = DeviceActor(worlds, self.members, self.benchmark.stack, self.read_every)
            if held := self._worlds.get(columns.start or 0):
                world.load(held)
            self._opened[columns.start or 0] = world
            return world
        pool = partial(open_pool, self.benchmark, visit, seeds, THREADS, self.experiment.seed, opening)
        actor = Actor(pool, self.members, self.benchmark.stack, self.device)
        actor.repeat(self._sent.get(columns.start or 0, []))
        self._opened[columns.start or 0] = actor
        return actor

    def ready(self, visit: Visit, actor: Acts) -> Iterator[Event]:
        """Wait for the next rollout of remote actors if the last is used up; call before each step."""
        if not isinstance(actor, RemoteActor):
            return
        for columns in actor.ready():
            self.interrupted(columns)
            yield from self.scores(visit, actor.cut(columns), "cut")
        assert self.actors
        found = {}
        if self.actors.deaths > self._deaths:
            found["actor_deaths"] = self._deaths = self.actors.deaths
        if self.experiment.free_running and actor.lags and self.learner.ticks["update"] >= self._lags_due:
            self._lags_due = self.learner.ticks["update"] + self.experiment.diagnose_every
            found |= {"policy_lag": float(np.mean(actor.lags)), "policy_lag_highest": max(actor.lags)}
            actor.lags.clear()
        for name, value in found.items():
            for member in range(self.members):
                yield Metric(member=member, **self.where(visit), name=name, value=value)

    def decide(self, visit: Visit, actor: Acts, columns: slice, progress: float) -> dict[str, Tensor]:
        """Policy output for the current observations, (S, columns, ...) each."""
        return self.choose(visit, actor.observations, columns, progress) if not isinstance(actor, RemoteActor) else actor.outputs

    def choose(self, visit: Visit, observations: Tensor, columns: slice, progress: float) -> dict[str, Tensor]:
        """Policy output for observations (S, columns, ...) at `progress` of the visit."""
        at = self.steps // self.num_envs
        drawn = draw(self.streams, self.agent, self.network, self.benchmark.action_space, at, self.num_envs)
        common = shared(self.benchmark, visit.task, self.agent.epsilon(progress), self.device)
        with torch.no_grad():
            return self._act(self.learner.acting, observations, {name: value[:, columns] for name, value in drawn.items()}, common)

    @property
    def ahead(self) -> int:
        """Updates that `learn` can make before the next report."""
        return min(self.learner.ahead, self.diagnostics.ahead, until(self.learner.ticks["update"], self.experiment.probe_every))

    def learn(self, visit: Visit, batches: Sequence[Batch], *extras: Any) -> Generator[Metric, bool | None, list[dict[str, Tensor]]]:
        """Update on each batch, at most `ahead` of them, at the schedule's learning rate; return what the loss reported for each."""
        done = self.learner.ticks["update"]
        rates = [self._rate(visit, done + place) for place in range(len(batches))]
        if self.diagnostics.looks:
            self.diagnostics.look(batches[0]["inputs"])
        reported = self.learner.updates(rates, batches, *extras, measure=self.diagnostics.due)
        for each in reported:
            self.losses += each["loss"]
        if self.device == "cpu":  # elsewhere, it would wait for the device
            self._refuse_losses()
        self.refreshed("update")
        yield from self.diagnostics.rows(self.where(visit), reported[-1], batches[-1], *extras)
        if self.experiment.probe_every and self.learner.ticks["update"] % self.experiment.probe_every == 0:
            yield from self.probing.rows(self.where(visit), self.observations())
        return reported

    def _rate(self, visit: Visit, update: int) -> float:
        schedule = self.experiment.schedule
        run = schedule.clock == "run" or not self.told
        return schedule.at(*((update, self._planned) if run else (update - self.visit_began, self.planned_updates(visit))))

    def outcome(self, step: Step | TensorStep, columns: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Rewards to learn from, step types, and False where the action was ignored, (S, columns) each."""
        rewards = self._columns(learned_rewards(step, self.agent.rewards))
        step_types = self._columns(outcome(step, self.benchmark.life_loss))
        if self.agent.rewards.startswith("scale"):
            rewards = self.scale.apply(rewards, self._columns(step.terminated | step.truncated), columns)
        return rewards, step_types, self._columns(~step.first)

    def scores(self, visit: Visit, episodes: list[Episode], kind: str) -> Iterator[Score]:
        """Rows of episodes that ended."""
        now = self.where(visit)
        for episode in episodes:
            since = episode.ago * self.num_envs
            then = now | {"steps": now["steps"] - since, "frames": now["frames"] - since * self.benchmark.frame_skip} if since else now
            yield Score(member=episode.member, **then, kind=kind, score=episode.score)

    def close(self, visit: Visit, actor: Acts) -> Iterator[Score]:
        """End an actor's segment: rows of episodes that ended and were not read yet, and of those that this cuts."""
        if isinstance(actor, DeviceActor):
            yield from self.scores(visit, actor.read(), "return")
        yield from self.scores(visit, actor.close(), "cut")

    def tick(self, visit: Visit, last: int) -> Generator[Event, bool | None, bool]:
        """Yield a progress Tick periodically; returns whether it was answered that the run stops within the segment.

        Raises FloatingPointError if a loss since the last one is not finite.
        """
        if self.steps % (max(TICK // self.haste, 1) * self.num_envs) == 0 or self.steps >= last:
            self._refuse_losses()
            self.losses.zero_()
            if (restarts := sum(actor.restarts for actor in self._opened.values())) > self._restarts:
                for member in range(self.members):
                    yield Metric(member=member, **self.where(visit), name="environment_restarts", value=restarts)
            self._restarts = restarts
            return bool((yield Tick(**self.where(visit)))) and self.steps < last and not self.experiment.actors
        return False

    def pause(self) -> Snapshot:
        """Snapshot within a segment."""
        whole = self._snapshot()
        held: dict[str, Tensor] = {}
        for column, actor in self._opened.items():
            if isinstance(actor, DeviceActor):
                held |= {f"{WORLD}{column}/{name}": tensor for name, tensor in actor.tensors().items()}
            elif actor.sent:
                held[f"{SENT}{column}"] = torch.from_numpy(np.stack(actor.sent))
        return Snapshot(whole.tensors | self.scale.open_tensors() | held, whole.counters | {"began": self.began})

    def _refuse_losses(self) -> None:
        if not self.losses.isfinite().all():
            raise FloatingPointError(f"a loss is not finite after {self.learner.ticks['update']} updates: {self.losses.tolist()}")

    def where(self, visit: Visit) -> dict[str, Any]:
        """Leading columns of a row, without the member."""
        frames, updates = self.steps * self.benchmark.frame_skip, self.learner.ticks["update"]
        return dict(visit=visit.index, task=visit.task, cycle=visit.cycle, frames=frames, steps=self.steps, updates=updates)

    def task(self, visit: Visit) -> int:
        """Index of a visit's task."""
        return self.benchmark.names.index(visit.task)

    def _weights(self) -> Weights:
        return Weights(self.learner.ticks["update"], flat(self.learner.net.params), self.scale.deviation.cpu().numpy())

    def _columns(self, values: np.ndarray | Tensor) -> Tensor:
        return torch.as_tensor(values).to(self.device).view(self.members, -1)

    def _snapshot(self) -> Snapshot:
        counters = {"number": self.steps, "visit_began": self.visit_began, "ticks": self.learner.ticks}
        tensors = self.learner.tensors() | self.diagnostics.tensors() | self.scale.tensors() | self.tensors()
        return Snapshot(tensors, counters | self.counters())
