"""One network of somebody's checkpoint, ready to be checked."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from plasticity_rl.checks import UsageError


@dataclass(frozen=True)
class Subject:
    """A network, how a new one is made, and what its inputs are made of."""

    name: str
    """policy, value, q, or another of the file's networks"""
    module: nn.Module
    fresh: Callable[[], nn.Module] | None
    """makes a new, untrained network; None if each layer's reset_parameters() is all that is known"""
    prepare: Callable[[np.ndarray], Tensor]
    """observations (examples, ...) -> the network's argument. Raises UsageError for observations of another shape"""
    actions: tuple[int, ...] = ()
    """numbers of actions whose logits the outputs are; empty if they are none"""
    act: Callable[[np.ndarray], np.ndarray] | None = None
    """observations -> actions of the checkpoint's policy, in its own range; None if it has none"""
    squashed: bool = False
    """True if actions lie in [-1, 1] and stand for the whole range of a continuous action space"""
    attached: Callable[[str], tuple[str, ...]] | None = None
    """method in words -> the lines of code that attach it, where the program that wrote the checkpoint has its own way"""
    own: np.ndarray | None = None
    """observations that the checkpoint brings with it"""
    notes: tuple[str, ...] = ()


def as_tensor(observations: np.ndarray) -> Tensor:
    """Numbers in single precision; bytes as they are."""
    return torch.from_numpy(np.ascontiguousarray(observations if observations.dtype == np.uint8 else observations.astype(np.float32)))


def expect(observations: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise UsageError unless each observation has this shape."""
    if observations.shape[1:] != shape:
        raise UsageError(f"an observation is of shape {observations.shape[1:]}, and the network's are {shape}")


def sampled(logits: Tensor, actions: tuple[int, ...]) -> np.ndarray:
    """Actions drawn from logits (examples, all actions): (examples,), or (examples, choices) of several."""
    drawn = [torch.distributions.Categorical(logits=part).sample() for part in logits.split(list(actions), -1)]
    return (drawn[0] if len(drawn) == 1 else torch.stack(drawn, -1)).numpy()
