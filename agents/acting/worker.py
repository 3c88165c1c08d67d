"""Remote rollout worker: generates rollouts on request, with the weights supplied."""

from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor

from agents.acting.actor import Actor
from agents.acting.messages import FLAGS, RemoteRollout, RolloutRequest, pack_flags, unpack_step
from agents.acting.policy import draw, lifted_act, pool_seeds, shared
from agents.acting.random_streams import RandomStreams
from agents.base import ActingAgent, PrioritisedAgent
from agents.data.transitions import learned_rewards, outcome
from envs.reinforcement.backends.pool import Opening
from envs.reinforcement.base import ReinforcementBenchmark
from envs.reinforcement.isolation import open_pool
from plasticity_rl.experiment import Experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.training.lift import chunk_size, lift, write_


class RolloutWorker:
    """Actor in its own process: some environments of each member, and a copy of the policy."""

    def __init__(self, experiment: Experiment, number: int, incarnation: int, compile: bool, bootstraps: bool) -> None:
        self._experiment, self._incarnation, self._bootstraps, self._members = experiment, incarnation, bootstraps, experiment.members
        agent = cast(ActingAgent, experiment.agent)
        benchmark = cast(ReinforcementBenchmark, experiment.benchmark)
        self._agent, self._benchmark = agent, benchmark
        self._width = agent.num_envs // experiment.actors
        self._columns = slice(self._width * number, self._width * (number + 1))
        self._network, _ = assemble(experiment.network, experiment.optimizer, experiment.chain, benchmark.inputs, agent.heads(benchmark))
        self._params = {name: torch.zeros(self._members, *shape) for name, shape in sorted(self._network.shapes.items())}
        self._copies = None if self._network.spec.precision == "float32" else self._network.cast(self._params)
        size = chunk_size(self._members, "cpu", self._network.convolves, self._network.parameters)
        self._act = lifted_act(agent, self._network, size, compile)
        self._first_errors = lift(cast(PrioritisedAgent, agent).first_errors) if agent.prioritised else None
        self._streams = RandomStreams(experiment.seed, self._members, "cpu")
        self._suffix = f" of actor {number}.{incarnation}"
        self._actor: Actor | None = None

    def play(self, weights: np.ndarray, request: RolloutRequest) -> RemoteRollout:
        """Play the requested rollout."""
        self._load(weights)
        joins = self._actor is None and request.follows  # replaces an actor within a segment: its first step only opens episodes
        self._actor = self._actor or self._open(request)
        actor, shape = self._actor, (request.steps, self._members, self._width)
        after = (request.steps + 1, *shape[1:])
        frames = np.empty((*after, *self._benchmark.observation_space.shape), self._benchmark.observation_space.dtype)
        ages, flags = np.empty(after, np.int64), np.zeros(shape, np.uint8)
        rewards, scores = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        outputs: dict[str, list[Tensor]] = {}
        for t in range(request.steps + 1):
            frames[t], ages[t] = actor.frames.numpy(), actor.ages.numpy()
            if t < request.steps or self._bootstraps:
                decided = self._decide(actor, request, t)
                for name, values in decided.items():
                    outputs.setdefault(name, []).append(values)
                if t == 0 and joins:
                    flags[t] = 1 << FLAGS.index("first")
                elif t < request.steps:
                    actor.send(decided["actions"])
                    step, _ = actor.receive()
                    rewards[t], scores[t] = step.rewards.reshape(shape[1:]), step.scores.reshape(shape[1:])
                    flags[t] = pack_flags(step).reshape(shape[1:])
        if request.last:
            actor.close()
            self._actor = None
        stacked = {name: torch.stack(values) for name, values in outputs.items()}
        if "outputs" in stacked:
            stacked["errors"] = self._errors(stacked.pop("outputs"), stacked["actions"][:-1], rewards, flags, request)
        return RemoteRollout(request.id, frames, ages, {name: values.numpy() for name, values in stacked.items()}, rewards, flags, scores)

    def _errors(self, outputs: Tensor, actions: Tensor, rewards: np.ndarray, flags: np.ndarray, request: RolloutRequest) -> Tensor:
        """Losses of the rollout's steps, (T, S, b), with the rewards that the learner will use."""
        assert self._first_errors
        steps = unpack_step(rewards, rewards, flags, rewards)  # observations and scores are not used
        learned = learned_rewards(steps, self._agent.rewards)
        if self._agent.rewards.startswith("scale"):
            learned = learned / request.scale[:, None]
        given = outputs, actions, torch.from_numpy(learned), torch.from_numpy(outcome(steps, self._benchmark.life_loss))
        common = shared(self._benchmark, request.visit.task, 0.0, "cpu").get("num_actions")
        own = () if common is None else (common.expand(self._members),)
        with torch.no_grad():
            return self._first_errors(*(each.movedim(1, 0) for each in given), *own).movedim(0, 1)

    def _open(self, request: RolloutRequest) -> Actor:
        purpose = f"pool of incarnation {self._incarnation}" if self._incarnation else "pool"
        seeds = pool_seeds(self._experiment.seed, self._members, self._agent.num_envs, request.segment, purpose)[:, self._columns]
        opening = Opening(request.id.sequence * self._agent.num_envs, self._agent.num_envs)
        pool = partial(open_pool, self._benchmark, request.visit, seeds, 1, self._experiment.seed, opening)
        return Actor(pool, self._members, self._benchmark.stack, "cpu")

    def _decide(self, actor: Actor, request: RolloutRequest, t: int) -> dict[str, Tensor]:
        at = request.id.sequence + t
        progress = (at * self._agent.num_envs - request.start) / (request.end - request.start)
        drawn = draw(self._streams, self._agent, self._network, self._benchmark.action_space, at, self._width, self._suffix)
        common = shared(self._benchmark, request.visit.task, self._agent.epsilon(progress), "cpu")
        with torch.no_grad():
            return self._act(self._copies or self._params, actor.observations, drawn, common)

    def _load(self, weights: np.ndarray) -> None:
        values = torch.from_numpy(weights.copy())  # Ray's arrays are read-only
        parts = values.split([param.numel() for param in self._params.values()])
        write_(self._params, {name: part.view(self._params[name].shape) for name, part in zip(self._params, parts, strict=True)})
        if self._copies is not None:
            write_(self._copies, self._params)
