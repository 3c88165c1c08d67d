"""Sequences of Procgen levels. Imports no torch, and a simulator only when a pool is made."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from envs.reinforcement.backends.envpool import envpool_procgen
from envs.reinforcement.backends.pool import Opening, Pool
from envs.reinforcement.backends.spaces import Box, Discrete
from envs.reinforcement.base import Heads
from envs.sequences import Visit, sequence
from plasticity_rl.checks import Interval, UsageError, check, nearest

GAMES = (
    *("Bigfish", "Bossfight", "Caveflyer", "Chaser", "Climber", "Coinrun", "Dodgeball", "Fruitbot"),
    *("Heist", "Jumper", "Leaper", "Maze", "Miner", "Ninja", "Plunder", "Starpilot"),
)
"""EnvPool's names of the 16 games of Cobbe et al. 2020 (arXiv 1912.01588)"""


@dataclass(frozen=True)
class Procgen:
    """Levels of one Procgen game in sequence: new backgrounds, colours and layouts under the same rules (Cobbe et al. 2020).

    Defaults are those of Plasticine's continual Procgen (RLE-Foundation/Plasticine, arXiv 2504.17490), except for its game, Starpilot, and
    its levels, which are five apart. An observation is one RGB frame of 64 x 64; an action lasts one frame, and some of the 15 do nothing.
    Rewards and the step limit, 500 to 6,000, are the game's own. All members play the same levels. Raises UsageError for an unknown game
    or a field out of range; a pool needs the system's Qt 5 libraries.
    """

    game: str = "Coinrun"
    """EnvPool's name, one of `GAMES`"""
    levels: Annotated[int, Interval("[1, 10_000]")] = 10
    """number of tasks"""
    levels_per_task: Annotated[int, Interval("[1, 100_000]")] = 1
    """levels of a task, of which each episode has one, drawn uniformly; different tasks share none"""
    frames: Annotated[int, Interval("[1, inf)")] = 2_000_000
    """agent steps per visit and member"""
    cycles: Annotated[int, Interval("[1, 10_000]")] = 1
    """number of passes through the list of tasks"""
    distribution: Literal["easy", "hard"] = "easy"
    """Procgen's distribution of levels; Cobbe et al. 2020 train for 25M steps on easy levels and 200M on hard ones"""
    heads: Heads = "shared"
    """one output head shared by all tasks, or one per task, whose identifier the agent is then given"""

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
        """Task names in order."""
        return tuple(f"{self.game}-{task}" for task in range(self.levels))

    def visits(self) -> tuple[Visit, ...]:
        """The tasks in order, `cycles` times."""
        return sequence(self.names, self.frames, self.cycles)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of one observation: (channels, height, width), uint8."""
        return self.observation_space.shape

    @property
    def life_loss(self) -> bool:
        """False: there are no lives."""
        return False

    @property
    def tasks_alike(self) -> bool:
        """False: levels are not equally hard."""
        return False

    def references(self) -> dict[str, dict[str, float]]:
        """Empty: Procgen's published scores are means over all levels, not those of one."""
        return {}

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: hash of everything that defines the levels of a run with this seed and number of members."""
        return hashlib.sha256(json.dumps(["Procgen", asdict(self), seed, members], sort_keys=True).encode()).hexdigest()[:16]

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None = None) -> Pool:
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
