"""Procgen's levels, one after the other. Imports no torch, and no emulator until a pool is made."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from envs.reinforcement.base import Heads
from envs.reinforcement.envpool import envpool_procgen
from envs.reinforcement.pool import Pool
from envs.reinforcement.spaces import Box, Discrete
from envs.sequences import Visit, sequence
from plasticity_rl.checks import Interval, UsageError, check, nearest

GAMES = (
    *("Bigfish", "Bossfight", "Caveflyer", "Chaser", "Climber", "Coinrun", "Dodgeball", "Fruitbot"),
    *("Heist", "Jumper", "Leaper", "Maze", "Miner", "Ninja", "Plunder", "Starpilot"),
)
"""EnvPool's names of the 16 games of Cobbe et al. 2020 (arXiv 1912.01588)"""


@dataclass(frozen=True)
class Procgen:
    """Levels of one Procgen game, one after the other: new backgrounds, colours and layouts under the same rules (Cobbe et al. 2020).

    Defaults are those of Plasticine's continual Procgen (RLE-Foundation/Plasticine, arXiv 2504.17490), less its game, Starpilot, and its
    levels, which are five apart. An observation is one RGB frame of 64 x 64; an action lasts one frame, and some of the 15 do nothing.
    Rewards and the step limit, 500 to 6,000, are the game's own. All members play the same levels. Raises UsageError for an unknown game
    and for a field out of range; a pool needs the system's Qt 5 libraries.
    """

    game: str = "Coinrun"
    """EnvPool's name: `GAMES`"""
    levels: Annotated[int, Interval("[1, 10_000]")] = 10
    """tasks"""
    levels_per_task: Annotated[int, Interval("[1, 100_000]")] = 1
    """with more than one, each episode of a task is on one of them, drawn uniformly; levels of different tasks are different"""
    frames: Annotated[int, Interval("[1, inf)")] = 2_000_000
    """steps of each visit, of each member"""
    cycles: Annotated[int, Interval("[1, 10_000]")] = 1
    """how often the whole list is played through"""
    distribution: Literal["easy", "hard"] = "easy"
    """Procgen's distribution of levels; Cobbe et al. 2020 train for 25M steps on easy ones, and for 200M on hard ones"""
    heads: Heads = "shared"
    """one output head for all tasks, or one for each, and then the agent is told which task it is in"""

    observation_space: ClassVar[Box] = Box((3, 64, 64), "uint8")
    action_space: ClassVar[Discrete] = Discrete(15)
    """nine directions, and six buttons of which a game uses some"""
    stack: ClassVar[int] = 1
    frame_skip: ClassVar[int] = 1
    supervision: ClassVar[str] = "rewards"
    unit: ClassVar[str] = "frames"

    def __post_init__(self) -> None:
        check(self)
        if self.game not in GAMES:
            raise UsageError(f"Procgen: unknown game {self.game!r}; {nearest(self.game, GAMES)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks in order."""
        return tuple(f"{self.game}-{task}" for task in range(self.levels))

    def visits(self) -> tuple[Visit, ...]:
        """The tasks in order, `cycles` times over."""
        return sequence(self.names, self.frames, self.cycles)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of one observation: (channels, height, width), uint8."""
        return self.observation_space.shape

    @property
    def life_loss(self) -> bool:
        """There are no lives."""
        return False

    def references(self) -> dict[str, dict[str, float]]:
        """None: the scores that Procgen was published with are means over all levels, not those of one."""
        return {}

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: the hash of all that defines the levels which a run with this seed and so many members meets."""
        return hashlib.sha256(json.dumps(["Procgen", asdict(self), seed, members], sort_keys=True).encode()).hexdigest()[:16]

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> Pool:
        """Simulators of the visit's levels, one for each of `seeds`, (members, environments) integers, in member-major order. The run's
        `seed` is not used: a level is the same for all.
        """
        return self._pool(visit, seeds, threads, colour=False)

    def render_pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> Pool:
        """The simulators of `pool`, with channels last: (N, 64, 64, 3) uint8."""
        return self._pool(visit, seeds, threads, colour=True)

    def _pool(self, visit: Visit, seeds: np.ndarray, threads: int, colour: bool) -> Pool:
        assert seeds.ndim == 2, seeds.shape
        return envpool_procgen(
            self.game,
            seeds.reshape(-1),
            threads,
            distribution=self.distribution,
            first_level=self.names.index(visit.task) * self.levels_per_task,
            num_levels=self.levels_per_task,
            colour=colour,
        )
