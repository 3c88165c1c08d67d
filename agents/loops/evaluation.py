"""Evaluation: whole episodes without learning and without network noise."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from agents.acting.actor import THREADS, Actor
from agents.acting.policy import draw_actions, pool_seeds, shared
from agents.acting.random_streams import RandomStreams
from agents.base import ActingAgent
from agents.data.rewards import Scale
from agents.data.transitions import StepType, learned_rewards, outcome
from agents.diagnostics.overestimation import Overestimation
from envs.reinforcement.backends.pool import Step
from envs.reinforcement.base import ReinforcementBenchmark
from envs.reinforcement.isolation import open_pool
from envs.sequences import Visit
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.events import Event, Metric, Score, Tick
from plasticity_rl.training.learner import Learner

TICK = 50  # pool steps between two ticks


class Evaluated(Protocol):
    """Interface of a run that is evaluated."""

    @property
    def agent(self) -> ActingAgent: ...

    experiment: Experiment
    benchmark: ReinforcementBenchmark
    learner: Learner
    scale: Scale
    steps: int
    act_without_noise: Callable[..., dict[str, Tensor]]

    def where(self, visit: Visit) -> dict[str, Any]: ...


def evaluate(run: Evaluated, now: Visit, visit: Visit) -> Iterator[Event]:
    """Play `experiment.evaluate` whole episodes per member on the task of `visit`, reported in rows of the current visit `now`.

    The mean of value - return is reported for the current task only.
    """
    experiment, agent, device = run.experiment, run.agent, run.learner.device
    members, episodes = experiment.members, experiment.evaluate
    seeds = pool_seeds(experiment.seed, members, episodes, run.steps, f"evaluation {visit.task}")
    actor = Actor(partial(open_pool, run.benchmark, visit, seeds, THREADS, experiment.seed), members, run.benchmark.stack, device)
    common = shared(run.benchmark, visit.task, agent.evaluation_epsilon, device)
    streams = RandomStreams(experiment.seed, members, device)  # a separate cache, freed with the evaluation
    going, step = np.ones((members, episodes), dtype=bool), 0

    def columns(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(device).view(members, -1)

    def decide() -> dict[str, Tensor]:
        drawn = draw_actions(streams, agent, run.benchmark.action_space, step, episodes, f"evaluation {run.steps}", evaluates=True)
        with torch.no_grad():
            outputs = run.act_without_noise(run.learner.acting, actor.observations, drawn, common)
        overestimation.bootstrap(outputs["values"], truncated)
        return outputs

    def worth(step: Step) -> tuple[Tensor, Tensor]:
        """Rewards as learning would use them, at the current scale, and discounts of the next value, (S, episodes) each."""
        rewards = columns(learned_rewards(step, agent.rewards))
        if agent.rewards.startswith("scale"):
            rewards = rewards / run.scale.deviation[:, None]
        return rewards / agent.reward_divisor, agent.discount * (columns(outcome(step, run.benchmark.life_loss)) != StepType.TERMINATED)

    overestimation, truncated = Overestimation(members, episodes, device), columns(~going)
    while going.any():
        outputs, counted = decide(), columns(going.copy())
        actor.send(outputs["actions"])
        overestimation.act(outputs["values"], counted)
        received, ended = actor.receive()
        overestimation.receive(*worth(received), counted)
        truncated = counted & columns(received.truncated)
        for episode in ended:
            if going[episode.member, episode.environment]:
                going[episode.member, episode.environment] = False
                where = {**run.where(now), "task": visit.task}
                yield Score(member=episode.member, **where, kind="evaluation", score=episode.score)
        step += 1
        if step % TICK == 0:
            yield Tick(**run.where(now))
    decide()  # values after a truncation replace the missing rewards
    actor.close()
    if visit is now:
        for member, value in enumerate(overestimation.mean.tolist()):
            yield Metric(member=member, **run.where(now), name="overestimation", value=value)
