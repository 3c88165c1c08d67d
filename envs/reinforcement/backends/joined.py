"""Several backends side by side, as one. Imports no torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.reinforcement.backends.pool import Autoreset, Backend, RawStep
from envs.reinforcement.backends.spaces import Box, Space


class Joined:
    """The environments of several backends: first all of the first backend's, then the second's. All have the same spaces."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        first, self._backends = backends[0], backends
        self.num_envs = sum(backend.num_envs for backend in backends)
        self.observation_space: Box = first.observation_space
        self.action_space: Space = first.action_space
        self.autoreset: Autoreset = first.autoreset
        for other in backends:
            assert (other.observation_space, other.action_space) == (first.observation_space, first.action_space), other
            assert other.autoreset == first.autoreset, other
        self._ends = np.cumsum([backend.num_envs for backend in backends])

    def reset(self) -> RawStep:
        return _stacked([backend.reset() for backend in self._backends])

    def send(self, actions: np.ndarray) -> None:
        for backend, own in zip(self._backends, np.split(actions, self._ends[:-1]), strict=True):
            backend.send(own)

    def recv(self) -> RawStep:
        return _stacked([backend.recv() for backend in self._backends])


def _stacked(steps: Sequence[RawStep]) -> RawStep:
    fields: list[Any] = [None if parts[0] is None else np.concatenate(parts) for parts in zip(*steps, strict=True)]
    return RawStep(*fields)
