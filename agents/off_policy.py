"""The loop of agents that learn from replay: act, learn while the emulator steps, write down what came of it.

No emulator can save its state, so every checkpoint closes a *leg*: the pool is given up, its episodes cut, and a new one made from
seeds that depend on (seed, member, environment, step) alone, in runs that were never interrupted too. That makes a resumed run equal to
an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from agents.actor import Actor
from agents.diagnostics import Diagnostics
from agents.replay import CONTINUES, CUT, TERMINATED, Replay
from envs.sequences import Visit
from plasticity_rl.checkpoint import Event, Snapshot
from plasticity_rl.experiment import MAX_SEED, Experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.learner import Learner
from plasticity_rl.lift import compiled, lift, write_
from plasticity_rl.runs import Score, Tick
from plasticity_rl.seeds import derive

if TYPE_CHECKING:
    from agents.dqn import DQN

TRIES = 8  # of a sampled transition; where one row in ten ends an episode, all of them miss once in 10^8 draws
BLOCK = 256  # how many steps' or updates' random numbers are drawn at a time
TICK = 50  # pool steps between two signs of life
THREADS = 2  # of the pool; trajectories do not depend on it


class Training:
    """A run of `agent`: what it holds between two legs."""

    def __init__(self, agent: DQN, experiment: Experiment, device: str, compile: bool) -> None:
        self.agent, self.experiment, self.benchmark, self.device = agent, experiment, experiment.benchmark, device
        self.members = experiment.members
        network, optimizer = assemble(
            experiment.network, experiment.optimizer, experiment.chain, self.benchmark.inputs, self.benchmark.outputs
        )
        self.learner = Learner(
            network,
            lambda params, batch, target: agent.loss(network, params, batch, target),
            optimizer,
            experiment.chain,
            self.members,
            experiment.seed,
            device,
            compile,
        )
        self.target = {name: param.clone() for name, param in self.learner.net.params.items()}
        act = lift(
            lambda params, observations, epsilon, uniform, other: agent.act(network, params, observations, epsilon, uniform, other),
            in_dims=(0, 0, None, 0, 0),
        )
        self.act: Callable[..., Tensor] = compiled(act) if compile else act
        stack = self.benchmark.stack
        frame = self.benchmark.inputs if stack == 1 else self.benchmark.inputs[1:]
        kind = torch.float32 if stack == 1 else torch.uint8  # games of one frame are of features, not of pixels
        self.replay = Replay(self.members, agent.environments, agent.replay, frame, kind, stack, device)
        self.diagnostics = Diagnostics(self.learner, experiment.diagnose_every)
        self.steps = 0
        """of each member, since the run began; a step of the pool that only resets an environment counts, so that members keep in step"""
        self.visit_began = 0
        """updates that had been made when the visit began"""
        self._planned = sum(map(self._planned_updates, self.benchmark.visits()))
        self._blocks: dict[str, tuple[int, Tensor]] = {}

    def load(self, resume: Snapshot) -> None:
        self.learner.load(resume.tensors, resume.facts["ticks"])
        self.replay.load(resume.tensors, resume.facts["written"])
        write_(self.target, {name: resume.tensors[f"target/{name}"] for name in self.target})
        self.steps, self.visit_began = resume.facts["number"], resume.facts["visit_began"]

    def snapshot(self) -> Snapshot:
        tensors = self.learner.tensors() | self.replay.tensors() | {f"target/{name}": tensor for name, tensor in self.target.items()}
        counts = {"number": self.steps, "visit_began": self.visit_began, "written": self.replay.written}
        return Snapshot(tensors, counts | {"ticks": self.learner.ticks})

    def run(self) -> Iterator[Event]:
        """The visits in order, each in legs."""
        start = 0
        for visit in self.benchmark.visits():
            end = start + visit.budget // self.benchmark.frame_skip
            if visit.index > self.learner.ticks["task"]:
                self.learner.task_boundary()
                self._refreshed("task")
                if self.agent.replay_at_switch == "clear":
                    self.replay.clear()
                self.visit_began = self.learner.ticks["update"]
            while self.steps < end:
                yield from self._leg(visit, start, end)
                yield self.snapshot()
            start = end

    def _leg(self, visit: Visit, start: int, end: int) -> Iterator[Event]:
        """Until the next checkpoint or the end of the visit, whichever comes first."""
        agent, last = self.agent, min(end, (self.steps // self.experiment.checkpoint_every + 1) * self.experiment.checkpoint_every)
        pool = self.benchmark.pool(visit, self._pool_seeds(), THREADS, self.experiment.seed)
        actor = Actor(pool, self.members, self.benchmark.stack, self.device)
        losses = torch.zeros(self.members, device=self.device)
        while self.steps < last:
            actions = self._choose(actor, (self.steps - start) / (end - start))
            actor.send(actions)
            self.replay.write_frames(actor.frames, actor.ages, actions)
            before, self.steps = self.steps, self.steps + agent.environments
            for _ in range(self.steps // agent.train_every - before // agent.train_every):
                if self.replay.size >= agent.min_replay:
                    measured = self.diagnostics.due
                    reported = self._update(visit, measured)
                    losses += reported["loss"]
                    if measured:
                        yield from self.diagnostics.rows(self._where(visit), reported)
            step, episodes = actor.receive()
            ends = np.where(
                step.terminated | (step.lost_life & self.benchmark.life_loss), TERMINATED, np.where(step.truncated, CUT, CONTINUES)
            )
            rewards = step.clipped if agent.clip_rewards else step.rewards
            self.replay.write_outcome(*(self._columns(values) for values in (rewards, ends, ~step.first)))
            for episode in episodes:
                yield Score(member=episode.member, **self._where(visit), kind="return", score=episode.score)
            if self.steps % (TICK * agent.environments) == 0 or self.steps >= last:
                if not losses.isfinite().all():
                    raise FloatingPointError(f"a loss is not finite after {self.learner.ticks['update']} updates: {losses.tolist()}")
                yield Tick(**self._where(visit))
        self.replay.cut(actor.frames, actor.ages)
        for episode in actor.close():
            yield Score(member=episode.member, **self._where(visit), kind="cut", score=episode.score)

    def _pool_seeds(self) -> np.ndarray:
        """A seed for each environment of the leg that begins now, (S, B), all different."""
        seeds: dict[int, None] = {}
        for member in range(self.members):
            for environment in range(self.agent.environments):
                tries = (derive(self.experiment.seed, member, "pool", environment, self.steps, again) % MAX_SEED for again in count())
                seeds[next(seed for seed in tries if seed not in seeds)] = None
        return np.array(list(seeds)).reshape(self.members, self.agent.environments)

    def _choose(self, actor: Actor, progress: float) -> Tensor:
        """Actions (S, B), `progress` of the visit being over."""
        agent, at = self.agent, self.steps // self.agent.environments
        epsilon = max(agent.final_epsilon, 1 - (1 - agent.final_epsilon) * progress / agent.exploration)
        uniform = self._draws(at, "explore", agent.environments, 2)
        other = (uniform[..., 1] * self.benchmark.outputs).long()
        with torch.no_grad():
            return self.act(self.learner.net.params, actor.observations, torch.tensor(epsilon, device=self.device), uniform[..., 0], other)

    def _update(self, visit: Visit, measure: bool) -> dict[str, Tensor]:
        """One update, at the learning rate that the schedule has for it in the run or in the visit."""
        agent, schedule, done = self.agent, self.experiment.schedule, self.learner.ticks["update"]
        rate = schedule.at(*((done, self._planned) if schedule.clock == "run" else (done - self.visit_began, self._planned_updates(visit))))
        batch = self.replay.sample(self._draws(done, "replay", agent.batch, TRIES), agent.steps, agent.discount)
        reported = self.learner.update(rate, batch, self.target, measure=measure)
        self._refreshed("update")
        if self.learner.ticks["update"] % agent.target_every == 0:
            write_(self.target, self.learner.net.params)
        return reported

    def _refreshed(self, clock: str) -> None:
        """Do what the interventions whose refresh just came ask of the agent's own memory."""
        due = self.learner.due(clock)
        if any(each.clears_replay for each in due):
            self.replay.clear()
        if any(each.syncs_target for each in due):
            write_(self.target, self.learner.net.params)

    def _draws(self, at: int, purpose: str, *shape: int) -> Tensor:
        """Uniform numbers (S, *shape): draw `at` of the stream `purpose` of each member, which nothing else touches."""
        block, row = divmod(at, BLOCK)
        if self._blocks.get(purpose, (-1,))[0] != block:
            seeds = [derive(self.experiment.seed, member, purpose, block) for member in range(self.members)]
            numbers = np.stack([np.random.default_rng(seed).random((BLOCK, *shape), np.float32) for seed in seeds])
            self._blocks[purpose] = block, torch.from_numpy(numbers).to(self.device)
        return self._blocks[purpose][1][:, row]

    def _columns(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device).view(self.members, self.agent.environments)

    def _planned_updates(self, visit: Visit) -> int:
        """How many updates a visit has room for, the filling of an empty replay aside."""
        filling = self.agent.min_replay if visit.index == 0 or self.agent.replay_at_switch == "clear" else 0
        return max((visit.budget // self.benchmark.frame_skip - filling) // self.agent.train_every, 1)

    def _where(self, visit: Visit) -> dict[str, Any]:
        updates = self.learner.ticks["update"]
        frames = self.steps * self.benchmark.frame_skip
        return dict(visit=visit.index, task=visit.task, cycle=visit.cycle, frames=frames, steps=self.steps, updates=updates)
