"""Simulators written in numpy, whose episodes all begin and end together. Imports no torch."""

from abc import ABC, abstractmethod

import numpy as np

from envs.reinforcement.backends.pool import Autoreset, RawStep
from envs.reinforcement.backends.spaces import Box, Space


class Synchronous(ABC):
    """N environments, one for each of `seeds`, whose episodes are truncated after `length` steps."""

    autoreset: Autoreset = "NextStep"

    def __init__(self, observation_space: Box, action_space: Space, length: int, seeds: np.ndarray) -> None:
        self.num_envs, self.observation_space, self.action_space = len(seeds), observation_space, action_space
        self.length, self.age = length, 0
        """steps of an episode, and those made of the present one"""
        self.generators = [np.random.default_rng(int(seed)) for seed in seeds]
        self._actions = np.zeros(self.num_envs, np.int32)

    @abstractmethod
    def begin(self) -> None:
        """Begin an episode, `age` being 0: draw its random numbers from the `generators`."""

    @abstractmethod
    def step(self, actions: np.ndarray) -> np.ndarray:
        """Carry out step `age` of the episode, and return its rewards, (N,)."""

    @abstractmethod
    def observe(self) -> np.ndarray:
        """Observations after `age` steps, (N, *shape)."""

    def reset(self) -> RawStep:
        self.age = 0
        self.begin()
        return self._raw(np.zeros(self.num_envs, np.float32))

    def send(self, actions: np.ndarray) -> None:
        self._actions = actions

    def recv(self) -> RawStep:
        if self.age == self.length:
            return self.reset()
        rewards = self.step(self._actions)
        self.age += 1
        return self._raw(rewards.astype(np.float32))

    def _raw(self, rewards: np.ndarray) -> RawStep:
        terminated, truncated = np.zeros(self.num_envs, bool), np.full(self.num_envs, self.age == self.length)
        return RawStep(self.observe(), rewards, terminated, truncated, np.zeros(self.num_envs, np.int32))
