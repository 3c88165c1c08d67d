"""What a remote actor does: it plays the unrolls that it is asked for, with the weights that come with the question."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.acting.actor import Actor
from agents.acting.policy import draw, lifted_act, pool_seeds, shared
from agents.acting.random_streams import Chance
from agents.data.replay import CONTINUES, CUT, TERMINATED
from envs.sequences import Visit
from plasticity_rl.experiment import Experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.training.lift import chunk_size, lift, write_

ENDS = ("terminated", "truncated", "life_lost", "first")  # of a Step, a bit each


class Tag(NamedTuple):
    """Which unroll it is: each is learned from once."""

    actor: int
    incarnation: int
    """how many actors had this place before"""
    sequence: int
    """step of the pools, counted since the run began, with which it begins"""
    version: int
    """updates that the weights had seen which played it"""


class Order(NamedTuple):
    """An unroll that is asked for."""

    tag: Tag
    """filled in for each actor"""
    visit: Visit
    start: int
    end: int
    """steps of the run between which the visit lasts"""
    leg: int
    """the step at which the leg began"""
    steps: int
    """of the pool"""
    continues: bool
    """did an unroll of the leg come before it?"""
    last: bool
    """of the leg"""
    scale: np.ndarray
    """(S,): what rewards are divided by where the agent scales them, as far as the learner knew"""


class Unroll(NamedTuple):
    """T steps of S members x b environments, time first."""

    tag: Tag
    frames: np.ndarray
    """(T + 1, S, b, *frame), one contiguous array of single frames"""
    ages: np.ndarray
    """(T + 1, S, b)"""
    said: dict[str, np.ndarray]
    """what `act` returned, (T, S, b) each, or (T + 1, S, b) for a loop that bootstraps; of an agent that judges `errors` (T, S, b), by its
    own weights, and no `outputs`"""
    rewards: np.ndarray
    """(T, S, b) float32, the game's own"""
    ends: np.ndarray
    """(T, S, b) uint8: the bits are `ENDS`"""


class Player:
    """One actor: some environments of each member, and a copy of the policy. It lives in a process of its own."""

    def __init__(self, experiment: Experiment, number: int, incarnation: int, compile: bool, bootstraps: bool) -> None:
        self._experiment, self._incarnation, self._bootstraps = experiment, incarnation, bootstraps
        self._agent, self._benchmark, self._members = experiment.agent, experiment.benchmark, experiment.members
        self._width = self._agent.environments // experiment.actors
        self._columns = slice(self._width * number, self._width * (number + 1))
        games = self._benchmark
        self._network, _ = assemble(experiment.network, experiment.optimizer, experiment.chain, games.inputs, self._agent.ends(games))
        self._params = {name: torch.zeros(self._members, *shape) for name, shape in sorted(self._network.shapes.items())}
        self._copies = None if self._network.spec.precision == "float32" else self._network.cast(self._params)
        self._act = lifted_act(self._agent, self._network, chunk_size(self._members, "cpu", self._network.spec.convolves), compile)
        self._first = lift(self._agent.first_errors) if hasattr(self._agent, "first_errors") else None
        self._chance = Chance(experiment.seed, self._members, "cpu")
        self._suffix = f" of actor {number}.{incarnation}"
        self._actor: Actor | None = None

    def unroll(self, weights: np.ndarray, order: Order) -> Unroll:
        """Play what is asked for."""
        self._take(weights)
        joins = self._actor is None and order.continues  # in mid-leg: its first step is the one that follows an episode's end
        self._actor = self._actor or self._open(order)
        actor, shape = self._actor, (order.steps, self._members, self._width)
        after = (order.steps + 1, *shape[1:])
        frames = np.empty((*after, *self._benchmark.observation_space.shape), self._benchmark.observation_space.dtype)
        ages, rewards, ends = np.empty(after, np.int64), np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
        said: dict[str, list[Tensor]] = {}
        for t in range(order.steps + 1):
            frames[t], ages[t] = actor.frames.numpy(), actor.ages.numpy()
            if t < order.steps or self._bootstraps:
                decided = self._decide(actor, order, t)
                for name, values in decided.items():
                    said.setdefault(name, []).append(values)
                if t == 0 and joins:
                    ends[t] = 1 << ENDS.index("first")
                elif t < order.steps:
                    actor.send(decided["actions"])
                    step, _ = actor.receive()
                    rewards[t] = step.rewards.reshape(shape[1:])
                    for bit, name in enumerate(ENDS):
                        ends[t] |= getattr(step, name).reshape(shape[1:]).astype(np.uint8) << bit
        if order.last:
            actor.close()
            self._actor = None
        whole = {name: torch.stack(values) for name, values in said.items()}
        if "outputs" in whole:
            whole["errors"] = self._errors(whole.pop("outputs"), whole["actions"][:-1], rewards, ends, order.scale)
        return Unroll(order.tag, frames, ages, {name: values.numpy() for name, values in whole.items()}, rewards, ends)

    def _errors(self, outputs: Tensor, actions: Tensor, rewards: np.ndarray, ends: np.ndarray, scale: np.ndarray) -> Tensor:
        """What the agent makes of its own steps, (T, S, b), from the rewards that the learner will learn from."""
        assert self._first
        terminated, truncated, life_lost = (ends >> bit & 1 for bit in range(3))
        outcomes = np.where(terminated | life_lost & self._benchmark.life_loss, TERMINATED, np.where(truncated, CUT, CONTINUES))
        if self._agent.rewards == "clip":
            rewards = rewards.clip(-1, 1)
        elif self._agent.rewards.startswith("scale"):
            rewards = rewards / scale[:, None]
        given = outputs, actions, torch.from_numpy(rewards), torch.from_numpy(outcomes)
        with torch.no_grad():
            return self._first(*(each.movedim(1, 0) for each in given)).movedim(0, 1)

    def _open(self, order: Order) -> Actor:
        purpose = f"pool of incarnation {self._incarnation}" if self._incarnation else "pool"
        seeds = pool_seeds(self._experiment.seed, self._members, self._agent.environments, order.leg, purpose)[:, self._columns]
        return Actor(self._benchmark.pool(order.visit, seeds, 1, self._experiment.seed), self._members, self._benchmark.stack, "cpu")

    def _decide(self, actor: Actor, order: Order, t: int) -> dict[str, Tensor]:
        at = order.tag.sequence + t
        progress = (at * self._agent.environments - order.start) / (order.end - order.start)
        drawn = draw(self._chance, self._agent, self._network, self._benchmark.action_space.n, at, self._width, self._suffix)
        common = shared(self._benchmark, order.visit, self._agent.epsilon(progress), "cpu")
        with torch.no_grad():
            return self._act(self._copies or self._params, actor.observations, drawn, common)

    def _take(self, weights: np.ndarray) -> None:
        values = torch.from_numpy(weights.copy())  # what Ray hands out is read-only
        parts = values.split([param.numel() for param in self._params.values()])
        write_(self._params, {name: part.view(self._params[name].shape) for name, part in zip(self._params, parts, strict=True)})
        if self._copies is not None:
            write_(self._copies, self._params)
