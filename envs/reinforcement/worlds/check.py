"""The check of a world that somebody else wrote: what its functions return, on a device without values."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from envs.reinforcement.worlds.base import State, World
from plasticity_rl.checks import UsageError

NUM_ENVS = 5


def check_world(given: Any, inputs: tuple[int, ...]) -> None:
    """Call each function of a World once with tensors of the device `meta`, where whatever asks for a value fails.

    `given`: the World and its step limit. `inputs`: shape of an observation. Raises UsageError, with one line about the first mistake.
    """
    match given:
        case (World() as world, int(limit)) if limit > 0:
            pass
        case _:
            raise UsageError(f"world must be (a World, its step limit), such as (Gusts(), 100), not {given!s:.80}")
    name, draws = type(world).__name__, getattr(world, "draws", None)
    if not isinstance(draws, int) or draws < 0:
        raise UsageError(f"{name}.draws must be the number of random numbers in a step, 0 or more, not {draws!r:.80}")
    try:
        hash(world)
    except TypeError as error:
        raise UsageError(f"{name} must be hashable, as it is compiled once: its fields may be numbers and tuples") from error
    numbers, actions = torch.empty(NUM_ENVS, draws, device="meta"), torch.empty(NUM_ENVS, dtype=torch.int64, device="meta")
    state = _called(f"{name}.begin", world.begin, numbers)
    before = _described(name, state)
    _expect(f"{name}.observe", "observations", _called(f"{name}.observe", world.observe, state), (NUM_ENVS, *inputs), torch.float32)
    stepped = _called(f"{name}.step", world.step, state, actions, numbers)
    if not isinstance(stepped, tuple) or len(stepped) != 3:
        raise UsageError(f"{name}.step must return the next state, rewards and whether episodes ended")
    state, rewards, terminated = stepped
    if (after := _described(name, state)) != before:
        raise UsageError(f"{name}.step must return a state like that of begin, {_said(before)}, not {_said(after)}")
    _expect(f"{name}.step", "rewards", rewards, (NUM_ENVS,))
    _expect(f"{name}.step", "ends", terminated, (NUM_ENVS,), torch.bool)


def _called(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns."""
    try:
        return function(*arguments)
    except Exception as error:  # whatever a function of somebody else raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise UsageError(f"{name} fails, or reads values or another device than its arguments': {reason}") from error


def _described(name: str, state: State) -> list[tuple[tuple[int, ...], torch.dtype]]:
    """Shape and type of each tensor of a state."""
    if isinstance(state, Tensor) and state.shape[:1] == (NUM_ENVS,):
        return [(tuple(state.shape), state.dtype)]
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return [each for part in state for each in _described(name, part)]
    found = f"one of shape {tuple(state.shape)}" if isinstance(state, Tensor) else type(state).__name__
    raise UsageError(f"a state of {name} must be a tensor (N, ...) or a NamedTuple of such; with N = {NUM_ENVS}, there is {found}")


def _said(described: list[tuple[tuple[int, ...], torch.dtype]]) -> str:
    return " + ".join(f"{_type(dtype)} {shape}" for shape, dtype in described)


def _type(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _expect(name: str, part: str, found: Any, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> None:
    """Raises UsageError unless `found` is a tensor of that shape and type on the device of the arguments."""
    if not isinstance(found, Tensor):
        raise UsageError(f"{name} must return {part} as a tensor, not {type(found).__name__}")
    if found.shape != shape:
        raise UsageError(f"{name} must return {part} of shape {shape} for {NUM_ENVS} environments, not {tuple(found.shape)}")
    if dtype is not None and found.dtype != dtype:
        raise UsageError(f"{name} must return {part} of type {_type(dtype)}, not {_type(found.dtype)}")
    if found.device.type != "meta":
        raise UsageError(f"{name} must return {part} on the device of its arguments")
