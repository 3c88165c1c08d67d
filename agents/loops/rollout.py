"""Training loop of rollout agents: play a rollout, learn from it, discard it."""

from collections import deque
from collections.abc import Generator, Iterator
from itertools import islice
from typing import Protocol, final

import torch
from torch import Tensor

from agents.base import Rollout, RolloutAgent
from agents.data.frames import Frames
from agents.data.transitions import StepType
from agents.diagnostics.probing import OBSERVATIONS, SEEN
from agents.loops.base import Acts, Loop
from envs.reinforcement.backends.pool import Step
from envs.reinforcement.base import ReinforcementBenchmark
from envs.reinforcement.worlds.pool import TensorStep
from envs.sequences import Visit
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.events import Event, Snapshot


def make_frames(agent: RolloutAgent, games: ReinforcementBenchmark, members: int, device: str, compile: bool = False) -> Frames:
    """Create the frame buffer of a rollout; on the device `meta`, without memory."""
    rows = games.stack - 1 + agent.rollout_length + 1  # earlier frames of the first stack, and the observation after the last step
    space = games.observation_space
    return Frames(rows, members, agent.num_envs, space.shape, space.dtype, games.stack, device, compile)


class RolloutLoop(Loop[RolloutAgent]):
    """Loop with the frames of one rollout.

    A `queued` agent learns from a rollout while the next is played, in minibatches of whole rollouts of some environments; others learn
    between rollouts, from steps in random order. The last steps of a visit are played but not learned from if they fill no rollout. Remote
    actors play the next rollout while any agent learns, with the weights from before: a lag of one rollout.
    """

    def __init__(self, agent: RolloutAgent, experiment: Experiment, device: str, compile: bool) -> None:
        super().__init__(agent, experiment, device, compile)
        games = self.benchmark
        self._frames = make_frames(agent, games, self.members, device, compile)
        self._first = games.stack - 1
        width = self.num_envs // agent.num_pools
        self._parts = [slice(width * part, width * (part + 1)) for part in range(agent.num_pools)]
        self._size = agent.rollout_length * self.num_envs
        self._seen: Tensor | None = None  # observations of the last rollout; kept for probes only
        self._waiting: deque[dict[str, Tensor]] = deque()  # batches of the last rollout that a queued agent has yet to learn from
        self._stopping = False

    def observations(self) -> Tensor:
        return super().observations() if self._seen is None else self._seen

    def tensors(self) -> dict[str, Tensor]:
        return {} if self._seen is None else {SEEN: self._seen}

    def load(self, resume: Snapshot) -> None:
        self._seen = resume.tensors[SEEN].to(self.device) if SEEN in resume.tensors else None
        self._frames.load({name: tensor for name, tensor in resume.tensors.items() if name.startswith("frames/")})
        for name, tensor in resume.tensors.items():
            if name.startswith("waiting/"):
                _, place, field = name.split("/", 2)
                self._waiting.extend({} for _ in range(len(self._waiting), int(place) + 1))
                self._waiting[int(place)][field] = tensor.to(self.device)

    def pause(self) -> Snapshot:
        whole = super().pause()
        waiting = {f"waiting/{place}/{name}": tensor for place, each in enumerate(self._waiting) for name, tensor in each.items()}
        return whole._replace(tensors=whole.tensors | self._frames.carried() | waiting)

    def planned_updates(self, visit: Visit) -> int:
        agent = self.agent
        return max(
            visit.budget // self.benchmark.frame_skip // (agent.rollout_length * agent.num_envs) * agent.epochs * agent.minibatches, 1
        )

    @property
    def bootstraps(self) -> bool:
        """True unless queued: a queued agent's loss computes the last value itself."""
        return not self.agent.queued

    @property
    def read_every(self) -> int:
        """Once in a rollout, after its last step."""
        return self.agent.rollout_length

    def segment_end(self, start: int, end: int) -> int:
        """Step at which the segment ends: a whole number of rollouts, except at the end of a visit."""
        every = self.experiment.checkpoint_every
        wanted = (self.began // every + 1) * every
        return min(end, start + -(-(wanted - start) // self._size) * self._size)

    def play(self, visit: Visit, start: int, end: int, last: int) -> Generator[Event, bool | None, None]:
        actors = [self.open(visit, part, start, end, last) for part in self._parts]
        for actor, part in zip(actors, self._parts, strict=True):
            self._frames.write(self._first, part, actor.frames, actor.ages)
        waiting = self._waiting
        while self.steps < last:
            steps = min(self.agent.rollout_length, (last - self.steps) // self.num_envs)
            rollout = yield from self._collect(visit, actors, steps, (start, end, last))
            if steps == self.agent.rollout_length:
                self._seen = self._latest() if self.experiment.probe_every else None
                batches = self._rollouts(visit, rollout) if self.agent.queued else self._shuffled(visit, rollout)
                if self.agent.queued and not self.experiment.actors:
                    waiting.extend(batches)
                else:
                    while row := list(islice(batches, self.ahead)):
                        yield from self.learn(visit, row)
            self._frames.carry_over()
            if self._stopping and self.steps < last:
                self._stopping = False
                yield self.pause()
        while waiting:
            yield from self.learn(visit, [waiting.popleft()])
        yield from self.tick(visit, last)
        for actor in actors:
            yield from self.close(visit, actor)

    def _collect(self, visit: Visit, actors: list[Acts], steps: int, edges: tuple[int, int, int]) -> Generator[Event, bool | None, Rollout]:
        """Play some steps, each pool stepping while the policy acts for the others, and learn from waiting batches meanwhile."""
        waiting = self._waiting
        start, end, last = edges
        rollout: dict[str, list[Tensor]] = {}
        queue = len(waiting)
        for actor in actors:
            yield from self.ready(visit, actor)
        for t in range(steps + 1):
            said: list[dict[str, Tensor]] = []
            came: list[dict[str, Tensor]] = []
            for actor, part in zip(actors, self._parts, strict=True):
                if t:
                    step, episodes = actor.receive()
                    yield from self.scores(visit, episodes, "return")
                    came.append(self._outcome(step, part))
                    self._frames.write(self._first + t, part, actor.frames, actor.ages)
                if t < steps or not self.agent.queued:  # after the last step, only the value is used, not the action
                    said.append(self.decide(visit, actor, part, (self.steps - start) / (end - start)))
                if t < steps:
                    actor.send(said[-1]["actions"])
            for each in (said, came):
                for name in each[0] if each else ():
                    rollout.setdefault(name, []).append(torch.cat([part[name] for part in each], 1))
            if t < steps:
                self.steps += self.num_envs
                self._stopping |= yield from self.tick(visit, last)
                while len(waiting) > queue * (steps - 1 - t) // steps:
                    yield from self.learn(visit, [waiting.popleft()])
        return {name: torch.stack(values[: steps + (name == "values")]) for name, values in rollout.items()}

    def _outcome(self, step: Step | TensorStep, part: slice) -> dict[str, Tensor]:
        rewards, step_types, real = self.outcome(step, part)
        discounts = self.agent.discount * (step_types != StepType.TERMINATED)
        return {"rewards": rewards, "discounts": discounts, "continues": (step_types == StepType.CONTINUES).float(), "real": real.float()}

    def _shuffled(self, visit: Visit, rollout: Rollout) -> Iterator[dict[str, Tensor]]:
        """Minibatches of steps in random order, each step once per epoch."""
        flat = {name: values.movedim(0, 1).flatten(1, 2) for name, values in self.agent.prepare(rollout).items()}
        done, rows = self.learner.ticks["update"], torch.arange(self.members, device=self.device)[:, None]
        for epoch in range(self.agent.epochs):
            order = self.streams.uniform(done + epoch, "minibatches", self._size).argsort(-1)
            for chosen in order.chunk(self.agent.minibatches, -1):
                inputs = self._frames.observations(self._first + chosen // self.num_envs, chosen % self.num_envs)
                yield self._batch(visit, inputs, {name: values[rows, chosen] for name, values in flat.items()})

    def _latest(self) -> Tensor:
        """The last observations of the rollout, (S, n, *shape), at most OBSERVATIONS."""
        chosen = torch.arange(max(self._size - OBSERVATIONS, 0), self._size, device=self.device).expand(self.members, -1)
        return self._frames.observations(self._first + chosen // self.num_envs, chosen % self.num_envs)

    def _rollouts(self, visit: Visit, rollout: Rollout) -> Iterator[dict[str, Tensor]]:
        """Minibatches of whole rollouts, (S, T, n), and their T + 1 observations, (S, (T + 1) x n, ...), time first."""
        columns = torch.arange(self.num_envs, device=self.device)
        times = torch.arange(self._first, self._first + self.agent.rollout_length + 1, device=self.device)
        for chosen in columns.chunk(self.agent.minibatches):
            rows, places = (each.reshape(1, -1).expand(self.members, -1) for each in torch.meshgrid(times, chosen, indexing="ij"))
            inputs = self._frames.observations(rows, places)
            yield self._batch(visit, inputs, {name: values.movedim(0, 1)[:, :, chosen] for name, values in rollout.items()})

    def _batch(self, visit: Visit, inputs: Tensor, rest: dict[str, Tensor]) -> dict[str, Tensor]:
        task = torch.full((self.members,), self.task(visit), device=self.device)
        own = {} if self.num_actions is None else {"num_actions": self.num_actions[task]}
        return rest | own | {"inputs": inputs, "task": task}


class TrainsOnRollouts(RolloutAgent, Protocol):
    """A RolloutAgent whose loop is RolloutLoop."""

    @final
    def train(self, experiment: Experiment, device: str, compile: bool, resume: Snapshot | None) -> Iterator[Event]:
        """Events of the run, in order. Raises FloatingPointError if a loss is not finite."""
        return RolloutLoop(self, experiment, device, compile).run(resume)
