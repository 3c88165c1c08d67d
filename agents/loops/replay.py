"""Training loop of replay agents: act, learn while the emulator steps, store the outcome."""

from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch import Tensor

from agents.base import ReplayAgent
from agents.data.replay import AgeDecay, Replay
from agents.diagnostics.probing import seen_of_replay
from agents.loops.base import Loop
from envs.reinforcement.base import ReinforcementBenchmark
from envs.sequences import Visit
from plasticity_rl.experiment import Experiment, until
from plasticity_rl.interventions.scope import scope_of
from plasticity_rl.records.events import Event, Metric, Snapshot
from plasticity_rl.training.lift import copied, write_
from plasticity_rl.training.update import HELD

HIGHEST = 100.0  # maximum loss in a priority, DQN Zoo's


def make_replay(agent: ReplayAgent, games: ReinforcementBenchmark, members: int, device: str, compile: bool = False) -> Replay:
    """Create the replay of a run; on the device `meta`, without memory."""
    shape = members, agent.num_envs, agent.replay
    space = games.observation_space
    steps = sum(visit.budget for visit in games.visits()) // games.frame_skip
    most_rows = 2 * -(-steps // agent.num_envs)  # each segment has at least one step, and one row of last frames
    aged = None if agent.age_decay is None else AgeDecay(agent.age_decay, agent.age_floor)
    action = games.action_space.shape
    return Replay(*shape, space.shape, space.dtype, games.stack, agent.prioritised, device, compile, most_rows, aged, action)


class ReplayLoop(Loop[ReplayAgent]):
    """Loop with a target network and a replay."""

    def __init__(self, agent: ReplayAgent, experiment: Experiment, device: str, compile: bool) -> None:
        super().__init__(agent, experiment, device, compile)
        params = self.learner.net.params  # a share of them would be lost in rounded targets
        self.target = self.network.cast(params) if agent.tau == 1 else copied(params)
        games = self.benchmark
        self.replay = make_replay(agent, games, self.members, device, compile)
        self._total = sum(visit.budget for visit in games.visits()) // games.frame_skip
        self.haste = agent.updates_per_step
        self._draws = agent.loss_draws(self.network, games.action_space)

    def play(self, visit: Visit, start: int, end: int, last: int) -> Generator[Event, bool | None, None]:
        agent, everywhere = self.agent, slice(None)
        actor = self.open(visit, everywhere, start, end, last)
        while self.steps < last:
            yield from self.ready(visit, actor)
            said = self.decide(visit, actor, everywhere, (self.steps - start) / (end - start))
            actor.send(said["actions"])
            self.replay.write_frames(actor.frames, actor.ages, said["actions"], self.task(visit))
            before, self.steps = self.steps, self.steps + self.num_envs
            yield from self._learn(visit, (self.steps // agent.train_every - before // agent.train_every) * agent.updates_per_step)
            step, episodes = actor.receive()
            self.replay.write_outcome(*self.outcome(step, everywhere), self._priorities(said["errors"]) if "errors" in said else None)
            yield from self.scores(visit, episodes, "return")
            if (yield from self.tick(visit, last)):
                yield self.pause()
        self.replay.cut(actor.frames, actor.ages)
        yield from self.close(visit, actor)

    def planned_updates(self, visit: Visit) -> int:
        """Number of updates in a visit; none while an empty replay is filled."""
        clears = self.told and self.agent.replay_at_switch == "clear"
        filling = self.agent.min_replay if visit.index == 0 or clears else 0
        return max((visit.budget // self.benchmark.frame_skip - filling) // self.agent.train_every * self.agent.updates_per_step, 1)

    @property
    def bootstraps(self) -> bool:
        """True if prioritised: initial priorities need the outputs after the last step."""
        return self.agent.prioritised

    def observations(self) -> Tensor:
        """Observations drawn from the replay, or the latest batch if the replay is empty."""
        if not self.replay.size:
            return super().observations()
        return seen_of_replay(self.replay, self.streams, self.learner.ticks["update"], self.network)

    def interrupted(self, columns: slice) -> None:
        super().interrupted(columns)
        self.replay.interrupt(columns)

    def switch(self) -> None:
        if self.agent.replay_at_switch == "clear":
            self.replay.clear()

    def refreshed(self, clock: str) -> None:
        """Clear the replay or sync the target network, if the latest refreshes require it."""
        due = self.learner.due(clock)
        if any(each.clears_replay for each in due):
            self.replay.clear()
        for each in due:
            if each.syncs_target:
                sees = scope_of(each, self.network)
                write_(sees.inside(self.target), sees.inside(self.learner.net.params))

    def tensors(self) -> dict[str, Tensor]:
        params = self.learner.net.params
        return self.replay.tensors() | {f"target/{name}": tensor.to(params[name].dtype) for name, tensor in self.target.items()}

    def counters(self) -> dict[str, Any]:
        return {"written": self.replay.written}

    def load(self, resume: Snapshot) -> None:
        self.replay.load(resume.tensors, resume.counters["written"])
        write_(self.target, {name: resume.tensors[f"target/{name}"] for name in self.target})

    def _priorities(self, errors: Tensor) -> Tensor:
        return errors.clamp(max=HIGHEST) ** self.agent.priority_exponent

    def _learn(self, visit: Visit, updates: int) -> Iterator[Metric]:
        """Make `updates` updates, once the replay holds `min_replay` steps."""
        end = self.learner.ticks["update"] + updates
        while self.replay.size >= self.agent.min_replay and (done := self.learner.ticks["update"]) < end:
            row = min(end - done, self.ahead, until(done, self.agent.target_every))
            yield from self._update(visit, 1 if self.agent.prioritised else row)  # the next draw depends on the errors of this one

    def _update(self, visit: Visit, row: int) -> Iterator[Metric]:
        """Make `row` updates in one call, then update priorities and the target network if due."""
        agent, done = self.agent, self.learner.ticks["update"]
        batches, indices = zip(*(self._batch(done + place) for place in range(row)), strict=True)
        reported = yield from self.learn(visit, batches, self.target)
        if agent.prioritised and self.replay.written:
            self.replay.prioritise(indices[0], self._priorities(reported[0]["errors"]))
        if self.learner.ticks["update"] % agent.target_every == 0:
            self._step_target()

    @torch.no_grad()
    def _step_target(self) -> None:
        """Move the target network towards the network by the share tau, or copy it."""
        params, tau = self.learner.net.params, self.agent.tau
        if tau == 1:
            write_(self.target, params)
            return
        for name, tensor in self.target.items():
            tensor.lerp_(params[name], tau)

    def _batch(self, update: int) -> tuple[dict[str, Tensor], Tensor]:
        """Batch of an update, and the indices of its transitions in the replay, (S, batch)."""
        agent = self.agent
        correction = agent.importance_exponent + (1 - agent.importance_exponent) * min(self.steps / self._total, 1.0)
        share = agent.uniform if agent.prioritised else 1.0
        drawn = self.streams.uniform(update, "replay", agent.batch_size, 2)
        batch, index = self.replay.sample(drawn, agent.n_step, agent.discount, share, correction, agent.age_decay is not None)
        if self.network.heads.actions:
            batch["states"], batch["next_states"] = batch["inputs"], batch.pop("next_inputs")
            batch["inputs"] = torch.cat([batch["inputs"], batch["actions"]], -1)
        if self.num_actions is not None:
            batch["num_actions"] = self.num_actions[batch["task"]]
        for name, (kind, purpose, shape) in self._draws.items():
            batch[name] = getattr(self.streams, kind)(update, purpose, *shape)
        if agent.policy_every > 1:
            held = (update + 1) % agent.policy_every != 0
            batch[f"{HELD}actor"] = torch.full((self.members,), held, device=self.device)
        return batch, index
