"""The rules of an Atari game that both emulators, EnvPool and ale-py, are held to. Imports no torch.

Resets press no-ops alone, as in the protocol of the published scores. By default both emulators press FIRE too: EnvPool after the no-ops,
ale-py before them.

With the same seed and number of no-ops, both play the same first episode bit for bit, sticky actions included. They differ in this:
- EnvPool draws 1 to `noops` no-ops, ale-py 0 to `noops`, from different random streams. Later episodes start from the emulator's
  random state that earlier ones left, so they differ once the earlier ones did. For the RAM, ale-py's games are stepped one by one, and
  draw 1 to `noops`, too.
- An image is the maximum of a step's last two frames, but that of an episode's last step may hold older ones: in EnvPool when the
  game is over, in ale-py also at the step limit.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from envs.reinforcement.backends.pool import Backend, Remapped
from envs.reinforcement.backends.spaces import Box, Discrete
from plasticity_rl.checks import UsageError

Observe = Literal["pixels", "ram", "ram-bits"]
FRAME_SKIP = 4
FULL_ACTIONS = 18
FRAME_SHAPE = (84, 84)
RAM_BYTES = 128
SCREEN_SHAPE = (210, 160)  # of the console; all games with published scores fill it
# Skiing's full set leaves FIRE out and has 9 actions. Each of the 18 maps to the one with the same joystick position.
WITHOUT_FIRE = np.array([0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8])


@dataclass(frozen=True)
class AtariRules:
    """How a game is played, with an emulator of either kind. Raises UsageError for a value out of range."""

    sticky: float
    """probability that a frame repeats the previous action"""
    full_actions: bool
    """the same 18 actions in every game, or only those that the game uses"""
    noops: int
    """maximum number of no-ops at a reset, at least 1"""
    episode_frames: int
    """maximum length of an episode in emulator frames, a multiple of 4"""
    colour: bool = False
    """observations are the screen in RGB, (210, 160, 3), rather than grey frames, (84, 84); nothing else changes"""
    mode: int = -1
    """one of `ale.game_choices`; -1 is the game's default"""
    difficulty: int = -1
    """one of `ale.game_choices`; -1 is the game's default"""
    observe: Observe = "pixels"
    """content of observations that are not in colour; nothing else changes"""

    def __post_init__(self) -> None:
        if not 0 <= self.sticky <= 1:
            raise UsageError(f"sticky must lie in [0, 1], not {self.sticky!r}")
        if self.noops < 1:
            raise UsageError(f"noops must be at least 1, not {self.noops!r}: EnvPool crashes with none")  # by a segmentation fault
        if self.episode_frames < FRAME_SKIP or self.episode_frames % FRAME_SKIP:
            raise UsageError(f"episode_frames must be a positive multiple of {FRAME_SKIP}, not {self.episode_frames!r}")

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Height and width of an image."""
        return SCREEN_SHAPE if self.colour else FRAME_SHAPE

    @property
    def shows_ram(self) -> bool:
        """True if observations are the RAM, so that no image is needed."""
        return self.observe != "pixels" and not self.colour

    def read(self, ram: np.ndarray) -> np.ndarray:
        """Observations of the RAM (N, 128) uint8: its bytes scaled to [-1, 1], (N, 128) float32, or its bits, the highest of a byte first,
        (N, 1024) float32.
        """
        return np.unpackbits(ram, axis=1).astype(np.float32) if self.observe == "ram-bits" else ram.astype(np.float32) / 127.5 - 1


def observation_space(observe: Observe) -> Box:
    """Space of a single observation that is not in colour."""
    return {"pixels": Box(FRAME_SHAPE, "uint8"), "ram": Box((RAM_BYTES,)), "ram-bits": Box((8 * RAM_BYTES,))}[observe]


def with_all_actions(backend: Backend) -> Backend:
    """The same environments with all 18 actions, also in a game that has fewer."""
    if backend.action_space == Discrete(FULL_ACTIONS):
        return backend
    assert backend.action_space == Discrete(int(WITHOUT_FIRE.max()) + 1), backend.action_space
    return Remapped(backend, np.tile(WITHOUT_FIRE, (backend.num_envs, 1)))
