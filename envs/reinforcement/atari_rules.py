"""The rules of an Atari game that both emulators, EnvPool and ale-py, are held to. Imports no torch.

Resets press no-ops alone, as in the protocol of the published scores. By default both emulators press FIRE too: EnvPool after the no-ops,
ale-py before them.

With the same seed and number of no-ops, both play the same first episode bit for bit, sticky actions included. They differ in this:
- EnvPool draws 1 to `noops` no-ops, ale-py 0 to `noops`, from different random streams. Later episodes start from the emulator's
  random state that earlier ones left, so they differ once the earlier ones did.
- An observation is the maximum of a step's last two frames, but that of an episode's last step may hold older ones: in EnvPool when the
  game is over, in ale-py also at the step limit.
"""

from dataclasses import dataclass

import numpy as np

from envs.reinforcement.pool import Backend, Remapped
from envs.reinforcement.spaces import Discrete
from plasticity_rl.checks import UsageError

FRAME_SKIP = 4
FULL_ACTIONS = 18
FRAME_SHAPE = (84, 84)
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

    def __post_init__(self) -> None:
        if not 0 <= self.sticky <= 1:
            raise UsageError(f"sticky must lie in [0, 1], not {self.sticky!r}")
        if self.noops < 1:
            raise UsageError(f"noops must be at least 1, not {self.noops!r}: EnvPool crashes with none")  # by a segmentation fault
        if self.episode_frames < FRAME_SKIP or self.episode_frames % FRAME_SKIP:
            raise UsageError(f"episode_frames must be a positive multiple of {FRAME_SKIP}, not {self.episode_frames!r}")

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Height and width of an observation."""
        return SCREEN_SHAPE if self.colour else FRAME_SHAPE


def with_all_actions(backend: Backend) -> Backend:
    """The same environments with all 18 actions, also in a game that has fewer."""
    if backend.action_space == Discrete(FULL_ACTIONS):
        return backend
    assert backend.action_space == Discrete(int(WITHOUT_FIRE.max()) + 1), backend.action_space
    return Remapped(backend, np.tile(WITHOUT_FIRE, (backend.num_envs, 1)))
