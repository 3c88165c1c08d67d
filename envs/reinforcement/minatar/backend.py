"""N games of MinAtar as a backend of pools: torch inside, numpy outside."""

import colorsys

import numpy as np
import torch
from torch import Tensor

from envs.reinforcement.backends.pool import Autoreset, RawStep, checked_seeds
from envs.reinforcement.backends.spaces import Box, Discrete, Space
from envs.reinforcement.minatar.base import SIDE, Batch
from envs.reinforcement.minatar.games import GAMES
from envs.reinforcement.minatar.streams import Streams

CELL = 16  # pixels of a cell's side in an RGB image


class MinAtarBackend:
    """Games of one kind, one for each of `seeds`. Observations are (channels, 10, 10) of 0 and 255, which networks read as 0 and 1.

    `actions` are the original's, in the order in which ours are numbered. `places` (N, channels), at least as many as the game has, is
    the game's channel at each place, or a number beyond them for an empty one. With `colour` observations are RGB images instead,
    (160, 160, 3), with a hue for each channel.
    """

    autoreset: Autoreset = "NextStep"

    def __init__(
        self,
        game: str,
        seeds: np.ndarray,
        actions: tuple[int, ...],
        places: np.ndarray,
        *,
        sticky: float,
        ramping: bool,
        limit: int | None,
        colour: bool = False,
    ) -> None:
        self.num_envs = len(checked_seeds(seeds))
        self.action_space: Space = Discrete(len(actions))
        self.observation_space = Box((SIDE * CELL, SIDE * CELL, 3) if colour else (places.shape[1], SIDE, SIDE), "uint8")
        self._rules, self._seeds, self._sticky, self._limit, self._colour = GAMES[game](ramping), seeds, sticky, limit, colour
        self._actions, self._places, self._rows = torch.tensor(actions), places, np.arange(self.num_envs)[:, None]
        self._sent = torch.zeros(self.num_envs, dtype=torch.int64)

    def reset(self) -> RawStep:
        self._batch = Batch(self._rules, Streams(self._seeds, 1 + self._rules.draws), self._sticky, self._limit)
        none = torch.zeros(self.num_envs, dtype=torch.bool)
        return self._raw(none.float(), none, none)

    def send(self, actions: np.ndarray) -> None:
        self._sent = self._actions[torch.from_numpy(actions).long()]

    def recv(self) -> RawStep:
        with torch.no_grad():
            return self._raw(*self._batch.step(self._sent))

    def _raw(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> RawStep:
        seen = self._batch.observation()
        observations = _image(seen) if self._colour else self._arranged(seen)
        lives = np.zeros(self.num_envs, np.int32)
        return RawStep(observations, rewards.numpy(), terminated.numpy(), truncated.numpy(), lives)

    def _arranged(self, seen: Tensor) -> np.ndarray:
        """Channels at their places, (N, channels, 10, 10)."""
        boards, width = seen.numpy().view(np.uint8) * 255, self._places.shape[1]
        if boards.shape[1] < width:
            boards = np.concatenate([boards, np.zeros((self.num_envs, width - boards.shape[1], SIDE, SIDE), np.uint8)], 1)
        return boards if (self._places == np.arange(width)).all() else boards[self._rows, self._places]


def _image(seen: Tensor) -> np.ndarray:
    """RGB images of boards (N, channels, 10, 10), (N, 160, 160, 3) uint8; of several things in a cell the last channel's is seen."""
    channels = seen.shape[1]
    hues = [colorsys.hsv_to_rgb(channel / channels, 0.65, 1) for channel in range(channels)]
    colours = np.array([(0, 0, 0), *hues]) * 255
    top = (seen.numpy() * np.arange(1, channels + 1)[:, None, None]).max(1)
    return colours.astype(np.uint8)[top].repeat(CELL, 1).repeat(CELL, 2)
