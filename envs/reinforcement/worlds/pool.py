"""N environments of a world that step together on one device, by the rules of all pools (backends/pool.py); nothing leaves the device."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from envs.reinforcement.backends.pool import Autoreset, RawStep, checked_seeds
from envs.reinforcement.backends.spaces import Box, Space
from envs.reinforcement.worlds.base import Given, State, View, World, chosen
from envs.reinforcement.worlds.streams import keys, uniform
from plasticity_rl.training.compilation import compiled


class TensorStep(NamedTuple):
    """One step of N environments: the fields of `backends.pool.Step`, as tensors on the device. No lives are lost."""

    observations: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    life_lost: Tensor
    first: Tensor
    scores: Tensor

    @property
    def clipped_rewards(self) -> Tensor:
        """(N,) float32, rewards clipped to [-1, 1]."""
        return self.rewards.clamp(-1, 1)


@dataclass(frozen=True)
class Rules:
    """All that a step depends on besides tensors."""

    world: World
    view: View = field(default_factory=View)
    sticky: float = 0.0
    """probability that the previous action is repeated, across episodes too"""
    limit: int | None = None
    """step at which an episode is truncated"""


class Running(NamedTuple):
    """N environments between two steps."""

    state: State
    age: Tensor
    """(N,) steps of the episode"""
    last_action: Tensor
    """(N,) int64, of the world"""
    over: Tensor
    """(N,) bool: the episode has ended, and the next step begins another"""


class Carried(NamedTuple):
    """All that a pool keeps between two steps."""

    running: Running
    used: Tensor
    """() random numbers that each environment has used"""
    clock: Tensor
    """() steps made"""
    finite: Tensor
    """() bool: every observation and reward so far was finite"""


def begun(world: World, draws: Tensor) -> Running:
    """N environments at the beginning of their first episodes, before which action 0 was taken."""
    zeros = torch.zeros(len(draws), dtype=torch.int64, device=draws.device)
    return Running(world.begin(draws[:, 1:]), zeros, zeros, zeros > 0)


def advanced(rules: Rules, world: World, running: Running, actions: Tensor, draws: Tensor) -> tuple[Running, Tensor, Tensor, Tensor]:
    """After a step: the environments, rewards (N,) float32, `terminated` and `truncated` (N,) bool. Those whose episode was over begin
    another instead, with reward 0. `draws`: a number for the sticky action, then those of the world.
    """
    over = running.over
    repeats = over | (draws[:, 0] < rules.sticky)
    actions = torch.where(repeats, running.last_action, actions)
    stepped, rewards, terminated = world.step(running.state, actions, draws[:, 1:])
    state, age = chosen(over, world.begin(draws[:, 1:]), stepped), (running.age + 1).masked_fill(over, 0)
    terminated = terminated & ~over
    truncated = torch.zeros_like(over) if rules.limit is None else (age == rules.limit) & ~terminated
    return Running(state, age, actions, terminated | truncated), rewards.masked_fill(over, 0).float(), terminated, truncated


def first_step(rules: Rules, given: Given, keys: Tensor) -> tuple[Carried, TensorStep]:
    """The pool's first observations."""
    none = torch.zeros((), dtype=torch.int64, device=keys.device)
    draws, viewing = _draws(rules, keys, none)
    world = rules.world.bound(given)
    running = begun(world, draws)
    seen = rules.view.shown(world.observe(running.state), given, viewing, none)
    no, nothing = running.over, running.over.float()
    carried = Carried(running, none + draws.shape[1] + viewing.shape[1], none, _finite(seen, nothing))
    return carried, TensorStep(seen, nothing, no, no, no, ~no, nothing)


def next_step(rules: Rules, given: Given, keys: Tensor, carried: Carried, actions: Tensor) -> tuple[Carried, TensorStep]:
    """The step after `actions`, (N, ...) of the agent."""
    draws, viewing = _draws(rules, keys, carried.used)
    world, first = rules.world.bound(given), carried.running.over
    meant = rules.view.meant(actions, given, viewing, carried.clock)
    running, rewards, terminated, truncated = advanced(rules, world, carried.running, meant, draws)
    seen = rules.view.shown(world.observe(running.state), given, viewing, carried.clock + 1)
    used = carried.used + draws.shape[1] + viewing.shape[1]
    step = TensorStep(seen, rewards, terminated, truncated, torch.zeros_like(first), first, rewards)
    return Carried(running, used, carried.clock + 1, carried.finite & _finite(seen, rewards)), step


def _finite(observations: Tensor, rewards: Tensor) -> Tensor:
    """() bool; pixels always are."""
    finite = rewards.isfinite().all()
    return finite & observations.isfinite().all() if observations.is_floating_point() else finite


def _draws(rules: Rules, keys: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of a step, (N, 1 + the world's), and those of the view."""
    own = 1 + rules.world.draws
    numbers = uniform(keys, used, own + rules.view.draws())
    return numbers[:, :own], numbers[:, own:]


@cache
def _stepping(rules: Rules, compile: bool) -> Callable[..., tuple[Carried, TensorStep]]:
    """`next_step` by these rules: one function for all pools of a run, so that it is compiled once."""
    step = partial(next_step, rules)
    return compiled(step) if compile else step


class DevicePool:
    """N environments, one for each of `seeds`, distinct integers: `reset()` once, then `step(actions)`. Nothing waits for the device.

    Their state can be saved, unlike that of simulators.
    """

    def __init__(self, rules: Rules, given: Given, seeds: np.ndarray, device: str, compile: bool = False) -> None:
        self.num_envs = len(checked_seeds(seeds))
        self._rules, self._step = rules, _stepping(rules, compile)
        self._given = {name: tensor.to(device) for name, tensor in given.items()}
        self._keys = keys(seeds, device)

    def reset(self) -> TensorStep:
        """The first observations; `first` is true everywhere."""
        with torch.no_grad():
            carried, step = first_step(self._rules, self._given, self._keys)
        # torch.compile takes two inputs that are one tensor for one input, in all later calls too: each has its own
        self._carried = tree_map(torch.clone, carried)
        return step

    def step(self, actions: Tensor) -> TensorStep:
        """One step. `actions`: (N,) int64, valid ones."""
        with torch.no_grad():
            self._carried, step = self._step(self._given, self._keys, self._carried, actions)
        return step

    @property
    def finite(self) -> Tensor:
        """() bool on the device: every observation and reward so far was finite."""
        return self._carried.finite

    def tensors(self) -> dict[str, Tensor]:
        """The state between two steps, by number."""
        return {str(place): leaf for place, leaf in enumerate(tree_flatten(self._carried)[0])}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore `tensors`, after a reset."""
        leaves, shape = tree_flatten(self._carried)
        self._carried = tree_unflatten([tensors[str(place)].to(leaf.device, copy=True) for place, leaf in enumerate(leaves)], shape)


class DeviceBackend:
    """A DevicePool of the processor as a backend of pools: torch inside, numpy outside."""

    autoreset: Autoreset = "NextStep"

    def __init__(self, pool: DevicePool, observation_space: Box, action_space: Space) -> None:
        self.num_envs, self.observation_space, self.action_space = pool.num_envs, observation_space, action_space
        self._pool, self._sent = pool, np.empty(0)

    def reset(self) -> RawStep:
        return _raw(self._pool.reset())

    def send(self, actions: np.ndarray) -> None:
        self._sent = actions

    def recv(self) -> RawStep:
        return _raw(self._pool.step(torch.from_numpy(self._sent).long()))


def _raw(step: TensorStep) -> RawStep:
    seen, rewards, terminated, truncated = (part.numpy() for part in (step.observations, step.rewards, step.terminated, step.truncated))
    return RawStep(seen, rewards, terminated, truncated, np.zeros(len(rewards), np.int32))
