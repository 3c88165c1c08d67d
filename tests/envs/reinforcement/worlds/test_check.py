"""Worlds that somebody else wrote: each mistake is named in one line before anything runs."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from envs.reinforcement.backends.spaces import Box, Discrete
from envs.reinforcement.control import Control
from envs.reinforcement.worlds.base import World
from envs.reinforcement.worlds.check import check_world
from envs.reinforcement.worlds.mountain_car import MountainCar
from plasticity_rl.checks import UsageError


class Place(NamedTuple):
    where: Tensor


class Line(World):
    draws = 1

    def begin(self, draws: Tensor) -> Any:
        return Place(2 * draws[:, 0] - 1)

    def step(self, state: Any, actions: Tensor, draws: Tensor) -> Any:
        after = state.where + 0.1 * (actions - 1)
        return Place(after), 1 - after.abs(), after.abs() > 2

    def observe(self, state: Any) -> Any:
        return state.where[:, None]


class Other(Line):
    """A Line with one part of what `step` returns changed."""

    part, change = 0, staticmethod(lambda given: given)

    def step(self, state: Any, actions: Tensor, draws: Tensor) -> Any:
        parts = list(super().step(state, actions, draws))
        parts[self.part] = self.change(parts[self.part])
        return tuple(parts)


class Column(Other):
    part, change = 1, staticmethod(lambda rewards: rewards[:, None])


class Number(Other):
    part, change = 1, staticmethod(lambda rewards: 1.0)


class Elsewhere(Other):
    part, change = 1, staticmethod(lambda rewards: torch.zeros(len(rewards)))


class Share(Other):
    part, change = 2, staticmethod(lambda ended: ended.float())


class Longer(Other):
    change = staticmethod(lambda state: Place(state.where.double()))


class Reading(Other):
    change = staticmethod(lambda state: state if (state.where > 2).any() else Place(-state.where))


class Pair(Line):
    def step(self, state: Any, actions: Tensor, draws: Tensor) -> Any:
        return super().step(state, actions, draws)[:2]


class Wide(Line):
    def observe(self, state: Any) -> Any:
        return torch.stack([state.where, state.where], 1)


class Double(Line):
    def observe(self, state: Any) -> Any:
        return state.where[:, None].double()


class Listed(Line):
    def begin(self, draws: Tensor) -> Any:
        return [draws[:, 0]]


class Flat(Line):
    def begin(self, draws: Tensor) -> Any:
        return draws.sum()


class Drawless(Line):
    draws = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Unhashable(Line):
    ends: Any = ()


FAILS = "fails, or reads values or another device than its arguments': "
MISTAKES: Any = [
    (Column(), "Column.step must return rewards of shape (5,) for 5 environments, not (5, 1)"),
    (Number(), "Number.step must return rewards as a tensor, not float"),
    (Elsewhere(), "Elsewhere.step must return rewards on the device of its arguments"),
    (Share(), "Share.step must return ends of type bool, not float32"),
    (Longer(), "Longer.step must return a state like that of begin, float32 (5,), not float64 (5,)"),
    (Reading(), f"Reading.step {FAILS}RuntimeError: Tensor.item() cannot be called on meta tensors"),
    (Pair(), "Pair.step must return the next state, rewards and whether episodes ended"),
    (Wide(), "Wide.observe must return observations of shape (5, 1) for 5 environments, not (5, 2)"),
    (Double(), "Double.observe must return observations of type float32, not float64"),
    (Listed(), "a state of Listed must be a tensor (N, ...) or a NamedTuple of such; with N = 5, there is list"),
    (Flat(), "a state of Flat must be a tensor (N, ...) or a NamedTuple of such; with N = 5, there is one of shape ()"),
    (Drawless(), "Drawless.draws must be the number of random numbers in a step, 0 or more, not None"),
    (Unhashable(["a list"]), "Unhashable must be hashable, as it is compiled once: its fields may be numbers and tuples"),
]


@pytest.mark.parametrize(("world", "said"), MISTAKES, ids=lambda each: type(each).__name__ if isinstance(each, World) else "")
def test_a_mistake_is_named_in_one_line(world: World, said: str) -> None:
    with pytest.raises(UsageError) as error:
        check_world((world, 100), (1,))
    assert str(error.value) == said


@pytest.mark.parametrize("given", [Line(), Line, (Line, 100), (Line(),), (Line(), 0), (Line(), None)])
def test_what_is_no_pair_of_a_world_and_a_limit_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match=r"world must be \(a World, its step limit\), such as \(Gusts\(\), 100\), not "):
        check_world(given, (1,))


def test_right_ones_are_accepted() -> None:
    check_world((Line(), 100), (1,))
    check_world((MountainCar(), 200), (2,))


def test_a_benchmark_checks_its_own_world_as_it_is_made() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Wrong(Control):
        simulator: Any = "torch"
        world, env_id, random_score = (Wide(), 100), "Wrong", 0.0
        observation_space, action_space = Box((1,)), Discrete(3)

    with pytest.raises(UsageError, match=r"Wide\.observe must return"):
        Wrong()
