"""What the loops of all agents on games share: visits, legs, evaluation, and the learner with its schedule and diagnostics.

No emulator can save its state, so every checkpoint closes a *leg*: the pools are given up, their episodes cut, and new ones made from
seeds that depend on (seed, member, environment, step) alone, in runs that were never interrupted too. That makes a resumed run equal to
an uninterrupted one.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.acting.actor import Actor, Episode
from agents.acting.policy import draw, lifted_act, pool_seeds, shared
from agents.acting.random_streams import Chance
from agents.acting.remote import Crew, Unrolls, Weights, flat
from agents.data.rewards import Scale
from agents.diagnostics.overestimation import Bias
from agents.diagnostics.probing import Probing
from agents.diagnostics.rows import Diagnostics
from envs.reinforcement.pool import Step
from envs.sequences import Visit
from plasticity_rl.experiment import Experiment, until
from plasticity_rl.interventions import assemble
from plasticity_rl.records.events import Event, Metric, Score, Snapshot, Tick
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.update import Batch

CONTINUES, TERMINATED, CUT = 0, 1, 2
"""how a step ends: the episode goes on, is over, or stops without an outcome"""
TICK = 50  # pool steps between two signs of life
THREADS = 2  # of the pool; trajectories do not depend on it


class Loop(ABC):
    """A run of `agent`: what it holds between two legs. A loop says how a leg is played, and what it keeps besides the learner."""

    def __init__(self, agent: Any, experiment: Experiment, device: str, compile: bool) -> None:
        self.agent, self.experiment, self.benchmark, self.device = agent, experiment, experiment.benchmark, device
        self.members, self.environments = experiment.members, agent.environments
        network, optimizer = assemble(
            experiment.network, experiment.optimizer, experiment.chain, self.benchmark.inputs, agent.ends(self.benchmark)
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
        self._act, self._act_without_noise = (
            lifted_act(agent, network, self.learner.chunk_size, compile, judged=evaluates) for evaluates in (False, True)
        )
        self.chance = Chance(experiment.seed, self.members, device)
        self.scale = Scale(self.members, self.environments, agent.discount, device)
        self.diagnostics = Diagnostics(self.learner, experiment)
        self.probing = Probing(self.learner, experiment, experiment.probe_updates, compile=compile)
        self.losses = torch.zeros(self.members, device=device)
        self.crew: Crew | None = None
        """the remote actors, once they are at work"""
        self._compile, self._deaths, self._lags_due = compile, 0, 0
        self.steps = 0
        """of each member, since the run began; a step of the pool that only resets an environment counts, so that members keep in step"""
        self.visit_began = 0
        """updates that had been made when the visit began"""
        self._planned = sum(map(self.planned_updates, self.benchmark.visits()))

    @abstractmethod
    def play(self, visit: Visit, start: int, end: int, last: int) -> Iterator[Event]:
        """Play and learn from step `self.steps` to step `last` of a visit that lasts from `start` to `end`."""

    @abstractmethod
    def planned_updates(self, visit: Visit) -> int:
        """How many updates a visit has room for."""

    @property
    @abstractmethod
    def bootstraps(self) -> bool:
        """Does an unroll need what the policy says after its last step?"""

    def leg_end(self, start: int, end: int) -> int:
        """Where the leg that begins now ends: at the next checkpoint, or at the end of the visit, whichever comes first."""
        every = self.experiment.checkpoint_every
        return min(end, (self.steps // every + 1) * every)

    def observations(self) -> Tensor:
        """The latest that the agent has, (S, n, *shape)."""
        assert self.learner.inputs is not None
        return self.learner.inputs

    def switch(self) -> None:  # noqa: B027 - nothing to do, unless a loop keeps data
        """The task changes; the chain has been told."""

    def refreshed(self, clock: str) -> None:  # noqa: B027
        """The refreshes of the learner's last tick of `clock` are done."""

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds besides the learner."""
        return {}

    def counters(self) -> dict[str, Any]:
        """Its counters."""
        return {}

    def load(self, resume: Snapshot) -> None:  # noqa: B027
        """Take over what `tensors` and `counters` were."""

    def interrupted(self, columns: slice) -> None:
        """Episodes were cut in mid-leg: the remote actor that played some columns died."""
        self.scale.cut(columns)

    def run(self, resume: Snapshot | None) -> Iterator[Event]:
        """The visits in order, each in legs."""
        try:
            yield from self._run(resume)
        finally:
            if self.crew:
                self.crew.close()

    def _run(self, resume: Snapshot | None) -> Iterator[Event]:
        if resume:
            self.learner.load(resume.tensors, resume.counters["ticks"])
            self.scale.load(resume.tensors)
            self.diagnostics.load(resume.tensors)
            self.steps, self.visit_began = resume.counters["number"], resume.counters["visit_began"]
            self.load(resume)
        start, met = 0, {}
        for visit in self.benchmark.visits():
            end = start + visit.budget // self.benchmark.frame_skip
            if self.steps < end and visit.index > self.learner.ticks["task"]:
                self.learner.task_boundary()
                self.refreshed("task")
                self.switch()
                if self.agent.rewards == "scale-per-visit":
                    self.scale.forget()
                self.visit_began = self.learner.ticks["update"]
                self.diagnostics.begin(self.task(visit))
            met[visit.task] = visit
            while self.steps < end:
                self.scale.begin_leg()
                yield from self.play(visit, start, end, self.leg_end(start, end))
                if self.experiment.evaluate:
                    for task in met.values() if self.steps >= end else [visit]:
                        yield from self._evaluate(visit, task)
                yield from self.diagnostics.pictures(self.where(visit))
                yield self._snapshot()
            start = end

    def open(self, visit: Visit, columns: slice, start: int, end: int, last: int) -> Actor | Unrolls:
        """An actor in the environments `columns` of each member, for the leg that begins now and lasts until step `last`."""
        if self.experiment.actors:
            self.crew = self.crew or Crew.hire(self.experiment, self._compile, self.bootstraps)
            plan = (visit, start, end, self.steps, last)
            ahead = 2 if self.experiment.free_running else 1
            return Unrolls(self.crew, plan, self.members, self.environments, self.agent.unroll, self._weights, self.device, ahead)
        pool = self.benchmark.pool(visit, self._seeds("pool", self.environments)[:, columns], THREADS, self.experiment.seed)
        return Actor(pool, self.members, self.benchmark.stack, self.device)

    def ready(self, visit: Visit, actor: Actor | Unrolls) -> Iterator[Event]:
        """To be called before a step: where the last unroll of remote actors is used up, wait for the next."""
        if isinstance(actor, Actor):
            return
        for columns in actor.ready():
            self.interrupted(columns)
            yield from self.scores(visit, actor.cut(columns), "cut")
        assert self.crew
        found = {}
        if self.crew.deaths > self._deaths:
            found["actor_deaths"] = self._deaths = self.crew.deaths
        if self.experiment.free_running and actor.lags and self.learner.ticks["update"] >= self._lags_due:
            self._lags_due = self.learner.ticks["update"] + self.experiment.diagnose_every
            found |= {"policy_lag": float(np.mean(actor.lags)), "policy_lag_highest": max(actor.lags)}
            actor.lags.clear()
        for name, value in found.items():
            for member in range(self.members):
                yield Metric(member=member, **self.where(visit), name=name, value=value)

    def decide(self, visit: Visit, actor: Actor | Unrolls, columns: slice, progress: float) -> dict[str, Tensor]:
        """What the policy says of what an actor sees, or said where the actor is remote."""
        return self.choose(visit, actor.observations, columns, progress) if isinstance(actor, Actor) else actor.said

    def choose(self, visit: Visit, observations: Tensor, columns: slice, progress: float) -> dict[str, Tensor]:
        """What `agent.act` says of observations (S, columns, ...), `progress` of the visit being over."""
        at = self.steps // self.environments
        drawn = draw(self.chance, self.agent, self.network, self.benchmark.action_space.n, at, self.environments)
        common = shared(self.benchmark, visit, self.agent.epsilon(progress), self.device)
        with torch.no_grad():
            return self._act(self.learner.acting, observations, {name: value[:, columns] for name, value in drawn.items()}, common)

    @property
    def ahead(self) -> int:
        """How many updates `learn` can make before there is something to say."""
        return min(self.learner.ahead, self.diagnostics.ahead, until(self.learner.ticks["update"], self.experiment.probe_every))

    def learn(self, visit: Visit, batches: Sequence[Batch], *extras: Any) -> Generator[Metric, None, list[dict[str, Tensor]]]:
        """An update on each batch, `ahead` of them at most, at the learning rate that the schedule has for it in the run or in the visit;
        returns what the loss reported."""
        done = self.learner.ticks["update"]
        rates = [self._rate(visit, done + place) for place in range(len(batches))]
        if self.diagnostics.looks:
            self.diagnostics.look(batches[0]["inputs"])
        reported = self.learner.updates(rates, batches, *extras, measure=self.diagnostics.due)
        for each in reported:
            self.losses += each["loss"]
        self.refreshed("update")
        yield from self.diagnostics.rows(self.where(visit), reported[-1], batches[-1], *extras)
        if self.experiment.probe_every and self.learner.ticks["update"] % self.experiment.probe_every == 0:
            yield from self.probing.rows(self.where(visit), self.observations())
        return reported

    def _rate(self, visit: Visit, update: int) -> float:
        schedule = self.experiment.schedule
        run = schedule.clock == "run"
        return schedule.at(*((update, self._planned) if run else (update - self.visit_began, self.planned_updates(visit))))

    def outcome(self, step: Step, columns: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Of a step of the environments `columns` of each member, (S, columns) each: rewards to learn from; CONTINUES, TERMINATED or CUT;
        and whether the action was heeded at all."""
        rewards, ends = self._came(step)
        if self.agent.rewards.startswith("scale"):
            rewards = self.scale.apply(rewards, self._columns(step.terminated | step.truncated), columns)
        return rewards, ends, self._columns(~step.first)

    def _came(self, step: Step) -> tuple[Tensor, Tensor]:
        """Rewards before they are scaled, and how the step ends."""
        terminated = step.terminated | (step.life_lost & self.benchmark.life_loss)
        ends = np.where(terminated, TERMINATED, np.where(step.truncated, CUT, CONTINUES))
        return self._columns(step.clipped_rewards if self.agent.rewards == "clip" else step.rewards), self._columns(ends)

    def scores(self, visit: Visit, episodes: list[Episode], kind: str) -> Iterator[Score]:
        """Rows for episodes that ended now."""
        for episode in episodes:
            yield Score(member=episode.member, **self.where(visit), kind=kind, score=episode.score)

    def tick(self, visit: Visit, last: int) -> Iterator[Tick]:
        """A sign of life, every now and then. Raises FloatingPointError where a loss since the last one was no number."""
        if self.steps % (TICK * self.environments) == 0 or self.steps >= last:
            if not self.losses.isfinite().all():
                raise FloatingPointError(f"a loss is not finite after {self.learner.ticks['update']} updates: {self.losses.tolist()}")
            self.losses.zero_()
            yield Tick(**self.where(visit))

    def where(self, visit: Visit) -> dict[str, Any]:
        """The leading columns of a row, less the member."""
        frames, updates = self.steps * self.benchmark.frame_skip, self.learner.ticks["update"]
        return dict(visit=visit.index, task=visit.task, cycle=visit.cycle, frames=frames, steps=self.steps, updates=updates)

    def task(self, visit: Visit) -> int:
        """Which task a visit is to."""
        return self.benchmark.names.index(visit.task)

    def _evaluate(self, now: Visit, visit: Visit) -> Iterator[Event]:
        """Each member plays `experiment.evaluate` whole episodes of the task of `visit`, without learning; rows say that it is `now`.

        How far values are above the returns that come of them is reported of the task that is learned now.
        """
        episodes = self.experiment.evaluate
        pool = self.benchmark.pool(visit, self._seeds(f"evaluation {visit.task}", episodes), THREADS, self.experiment.seed)
        actor = Actor(pool, self.members, self.benchmark.stack, self.device)
        going, step = np.ones((self.members, episodes), dtype=bool), 0
        bias, cut = Bias(self.members, episodes, self.device), self._columns(~going)
        common = shared(self.benchmark, visit, self.agent.evaluation_epsilon, self.device)
        chance = Chance(self.experiment.seed, self.members, self.device)  # the blocks that it keeps go with it

        def decide() -> dict[str, Tensor]:
            drawn = {"uniform": chance.uniform(step, f"evaluation {self.steps}", episodes, self.agent.draws(self.benchmark.action_space.n))}
            with torch.no_grad():
                said = self._act_without_noise(self.learner.acting, actor.observations, drawn, common)
            bias.bootstrap(said["values"], cut)
            return said

        while going.any():
            said, counted = decide(), self._columns(going.copy())
            actor.send(said["actions"])
            bias.act(said["values"], counted)
            came, ended = actor.receive()
            bias.receive(*self._worth(came), counted)
            cut = counted & self._columns(came.truncated)
            for episode in ended:
                if going[episode.member, episode.environment]:
                    going[episode.member, episode.environment] = False
                    where = {**self.where(now), "task": visit.task}
                    yield Score(member=episode.member, **where, kind="evaluation", score=episode.score)
            step += 1
            if step % TICK == 0:
                yield Tick(**self.where(now))
        decide()
        actor.close()
        if visit is now:
            for member, value in enumerate(bias.mean.tolist()):
                yield Metric(member=member, **self.where(now), name="overestimation", value=value)

    def _worth(self, step: Step) -> tuple[Tensor, Tensor]:
        """Of a step of an evaluation, (S, episodes) each: rewards as they would be learned from, their scale as it stands, and the
        discounts of what follows."""
        rewards, ends = self._came(step)
        if self.agent.rewards.startswith("scale"):
            rewards = rewards / self.scale.deviation[:, None]
        return rewards, self.agent.discount * (ends != TERMINATED)

    def _weights(self) -> Weights:
        return Weights(self.learner.ticks["update"], flat(self.learner.net.params), self.scale.deviation.cpu().numpy())

    def _seeds(self, purpose: str, environments: int) -> np.ndarray:
        return pool_seeds(self.experiment.seed, self.members, environments, self.steps, purpose)

    def _columns(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device).view(self.members, -1)

    def _snapshot(self) -> Snapshot:
        counters = {"number": self.steps, "visit_began": self.visit_began, "ticks": self.learner.ticks}
        return Snapshot(
            self.learner.tensors() | self.diagnostics.tensors() | self.scale.tensors() | self.tensors(), counters | self.counters()
        )
