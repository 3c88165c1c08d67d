"""Sequences of Atari games, with their random and human scores. Imports no torch, and an emulator only when a pool is made.

`atari_scores.csv`: random and human scores of 57 games, as published with DQN Zoo (dqn_zoo/atari_data.py, Apache-2.0), after Wang et al.
2016 (arXiv 1511.06581): undiscounted returns of at least 3 episodes, of up to 108,000 frames after 1 to 30 no-ops, without sticky actions.
"""

import csv
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np

from envs.reinforcement.backends.ale import ale_atari, game_choices
from envs.reinforcement.backends.atari_rules import FRAME_SKIP, FULL_ACTIONS, AtariRules, Observe, observation_space
from envs.reinforcement.backends.envpool import envpool_atari
from envs.reinforcement.backends.pool import Opening, Pool
from envs.reinforcement.backends.spaces import Box, Discrete
from envs.reinforcement.base import Heads
from envs.sequences import Visit, sequence
from plasticity_rl.checks import Interval, UsageError, check, nearest

POOLS: dict[str, Callable[[str, Sequence[int] | np.ndarray, int, AtariRules], Pool]] = {"envpool": envpool_atari, "ale": ale_atari}


def _read_scores() -> dict[str, dict[str, float]]:
    with open(Path(__file__).with_name("atari_scores.csv"), encoding="utf-8", newline="") as file:
        return {row["game"]: {"random": float(row["random"]), "human": float(row["human"])} for row in csv.DictReader(file)}


SCORES = _read_scores()
"""game -> {"random": score, "human": score}"""

ATARI_57 = tuple(SCORES)
"""games with published scores"""
ABBAS_5 = ("Alien", "Atlantis", "Boxing", "Breakout", "Centipede")
"""Abbas et al. 2023 (arXiv 2303.07507): 20M frames each, in cycles"""
CORA_6 = ("SpaceInvaders", "Krull", "BeamRider", "Hero", "StarGunner", "MsPacman")
"""CORA (Powers et al. 2022, arXiv 2110.10067): 50M frames each, two cycles run"""
CARMACK_8 = ("MsPacman", "Centipede", "Qbert", "Defender", "Krull", "Atlantis", "UpNDown", "BattleZone")
"""Keen Technologies' physical_atari: 400k frames each, three cycles, 18 sticky actions"""
RAM_4 = ("Breakout", "Krull", "KungFuMaster", "RoadRunner")
"""our choice: games in which PPO learns from the RAM within 50,000 steps; four others were tried (docs/sequential.md)"""
ATARI_26 = (
    *("Alien", "Amidar", "Assault", "Asterix", "BankHeist", "BattleZone", "Boxing", "Breakout", "ChopperCommand", "CrazyClimber"),
    *("DemonAttack", "Freeway", "Frostbite", "Gopher", "Hero", "Jamesbond", "Kangaroo", "Krull", "KungFuMaster", "MsPacman"),
    *("Pong", "PrivateEye", "Qbert", "RoadRunner", "Seaquest", "UpNDown"),
)
"""Atari 100k (Kaiser et al. 2020, arXiv 1903.00374)"""
ALE_10 = ("Pong", "Boxing", "Breakout", "SpaceInvaders", "Qbert", "MsPacman", "Seaquest", "RoadRunner", "CrazyClimber", "Enduro")
"""our choice, since the ten games of NaP (Lyle et al. 2024, arXiv 2407.01800) are not public: two duels, two shooters, a wall, a maze, a
pyramid, a tower and two roads differ in looks and play, and reward often enough that value-based agents exceed the random score of each
well before 20M frames"""


@dataclass(frozen=True)
class Atari:
    """Atari games in sequence, each with the same budget. All members play the same games from different seeds.

    Observations are the last four grey frames of 84 x 84, or states of the console's RAM; an action lasts four frames. Rewards are the
    game's own. Raises UsageError for an unknown or repeated game, a mode or difficulty that a game does not have, or a field out of range.
    """

    games: tuple[str, ...] = ("Breakout",)
    """EnvPool's names, in order; for example `ABBAS_5`, `CORA_6`, `CARMACK_8`, `ALE_10`, `ATARI_26` or `ATARI_57`"""
    modes: tuple[int, ...] = ()
    """modes of each game, each a task of its own (Machado et al. 2018; Farebrother et al. 2018, arXiv 1810.00123); empty: the game's
    default"""
    difficulties: tuple[int, ...] = ()
    """difficulties of each game, each a task of its own; with modes, every combination"""
    frames: Annotated[int, Interval("[4, inf)")] = 20_000_000
    """emulator frames per visit and member"""
    cycles: Annotated[int, Interval("[1, 10_000]")] = 1
    """number of passes through the list of tasks"""
    sticky: Annotated[float, Interval("[0, 1]")] = 0.25
    """probability that a frame repeats the previous action; 0.25 is ALE-v5's (Machado et al. 2018, arXiv 1709.06009), DQN Zoo uses 0.0"""
    full_actions: bool = True
    """all 18 actions in every game (Machado et al. 2018); False, with a single game only: those that the game uses"""
    life_loss: bool = False
    """whether a lost life ends the episode for the learner, without a reset; False as in Machado et al. 2018, True in DQN Zoo"""
    noops: Annotated[int, Interval("[1, 1000]")] = 30
    """maximum number of no-ops at the start of an episode (Mnih et al. 2015)"""
    episode_frames: Annotated[int, Interval("[4, 1e9]")] = 108_000
    """maximum length of an episode in emulator frames; 108,000 are half an hour of play (Hessel et al. 2018, arXiv 1710.02298)"""
    backend: Literal["envpool", "ale"] = "envpool"
    """emulator; `envs.reinforcement.backends.atari_rules` lists the differences"""
    observe: Observe = "pixels"
    """grey frames; `ram`, the console's 128 bytes of RAM, scaled to [-1, 1]; or `ram-bits`, their 1,024 bits. The RAM is for networks
    without convolutions"""
    heads: Heads = "shared"
    """one output head shared by all tasks, or one per task, whose identifier the agent is then given"""

    supervision: ClassVar[str] = "rewards"
    unit: ClassVar[str] = "frames"
    frame_skip: ClassVar[int] = FRAME_SKIP
    stack: ClassVar[int] = 4
    """number of frames, or states of the RAM, in one input of the network"""

    def __post_init__(self) -> None:
        check(self)
        for game in self.games:
            if game not in SCORES:
                bare = re.sub(r"^ALE/|(NoFrameskip)?-v\d$|_", "", game)
                raise UsageError(f"Atari: unknown game {game!r}; {nearest(bare, SCORES)}")
        if not self.games:
            raise UsageError("Atari: games must name at least one")
        if len(set(self.games)) < len(self.games):
            raise UsageError("Atari: games must be distinct; use cycles to repeat them")
        if self.episode_frames % FRAME_SKIP:
            raise UsageError(f"Atari: episode_frames must be a multiple of {FRAME_SKIP}, not {self.episode_frames}")
        if len(self.games) > 1 and not self.full_actions:
            raise UsageError("Atari: several games need full_actions=true, as their own action sets differ")
        self._check_choices("modes", "mode", self.modes)
        self._check_choices("difficulties", "difficulty", self.difficulties)

    def _check_choices(self, field: str, kind: str, values: tuple[int, ...]) -> None:
        if values and self.backend == "ale":
            raise UsageError(f"Atari: ale-py's vector environment has only the default {kind}; {field} need backend=envpool")
        if len(set(values)) < len(values):
            raise UsageError(f"Atari: {field} must be distinct")
        for game, value in itertools.product(self.games, values):
            if value not in (known := game_choices(game)[kind]):
                raise UsageError(f"Atari: {game} has no {kind} {value}; one of: {', '.join(map(str, known))}")

    def _tasks(self) -> dict[str, tuple[str, dict[str, int]]]:
        """task -> its game, and its mode and difficulty unless they are the default"""
        tasks = {}
        for game, *values in itertools.product(self.games, self.modes or (None,), self.difficulties or (None,)):
            switches = {kind: value for kind, value in zip(("mode", "difficulty"), values, strict=True) if value is not None}
            tasks[game + "".join(f"-{kind[0]}{value}" for kind, value in switches.items())] = game, switches
        return tasks

    @property
    def names(self) -> tuple[str, ...]:
        """Task names in order: `Freeway`, or with modes and difficulties `Freeway-m1-d0`."""
        return tuple(self._tasks())

    def visits(self) -> tuple[Visit, ...]:
        """The tasks in order, `cycles` times."""
        return sequence(self.names, self.frames, self.cycles)

    @property
    def observation_space(self) -> Box:
        """Space of a single frame or state of the RAM."""
        return observation_space(self.observe)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of one input of the network: (frames, height, width), or (states, bytes or bits)."""
        return (self.stack, *self.observation_space.shape)

    @property
    def action_space(self) -> Discrete:
        """The actions. Only a game's minimal set needs the emulator."""
        return Discrete(FULL_ACTIONS if self.full_actions else _minimal_actions(self.games[0], self.backend))

    @property
    def tasks_alike(self) -> bool:
        """False: games are not equally hard."""
        return False

    def references(self) -> dict[str, dict[str, float]]:
        """task -> {"random": score, "human": score}; no entry for a game in other than its default mode and difficulty."""
        return {name: SCORES[game] for name, (game, switches) in self._tasks().items() if not switches}

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: hash of everything that defines the games of a run with this seed and number of members."""
        rules = asdict(self) | {"sticky": float(self.sticky), "frame_skip": self.frame_skip, "stack": self.stack}
        return hashlib.sha256(json.dumps(["Atari", rules, seed, members], sort_keys=True).encode()).hexdigest()[:16]

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None = None) -> Pool:
        """Emulators of the visit's game, one for each of `seeds`, (members, environments) integers, in member-major order. The run's `seed`
        is not used: a game is the same for all.
        """
        return self._pool(visit, seeds, threads, colour=False)

    def render_pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> Pool:
        """The emulators of `pool`, with the screen as observation: (N, 210, 160, 3) uint8."""
        return self._pool(visit, seeds, threads, colour=True)

    def _pool(self, visit: Visit, seeds: np.ndarray, threads: int, colour: bool) -> Pool:
        assert seeds.ndim == 2, seeds.shape
        game, switches = self._tasks()[visit.task]
        rules = AtariRules(self.sticky, self.full_actions, self.noops, self.episode_frames, colour, observe=self.observe, **switches)
        return POOLS[self.backend](game, seeds.reshape(-1), threads, rules)


@functools.cache
def _minimal_actions(game: str, backend: str) -> int:
    pool = POOLS[backend](game, [0], 1, AtariRules(sticky=0.0, full_actions=False, noops=1, episode_frames=FRAME_SKIP))
    pool.close()
    assert isinstance(pool.action_space, Discrete)
    return pool.action_space.n
