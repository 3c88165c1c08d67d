"""Sequences of MinAtar's games. Imports no torch before a pool is made."""

import colorsys
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from envs.reinforcement.backends.pool import Opening, Pool
from envs.reinforcement.backends.spaces import Box, Discrete
from envs.reinforcement.base import Heads
from envs.sequences import Visit
from plasticity_rl.checks import Interval, UsageError, check, nearest
from plasticity_rl.seeds import derive

if TYPE_CHECKING:
    from envs.reinforcement.worlds.base import Given, View
    from envs.reinforcement.worlds.pool import DevicePool

SIDE = 10
ACTIONS = 6


class Facts(NamedTuple):
    """A game, as far as it must be known without its rules."""

    channels: int
    actions: tuple[int, ...]
    """those that do something, of: nothing, left, up, right, down, fire"""
    random: float
    """mean return of an episode under uniformly random actions: see `GAMES`"""


GAMES = {
    "Asterix": Facts(4, (0, 1, 2, 3, 4), 0.496),
    "Breakout": Facts(4, (0, 1, 3), 0.508),
    "Freeway": Facts(7, (0, 2, 4), 0.113),
    "Seaquest": Facts(10, (0, 1, 2, 3, 4, 5), 0.097),
    "SpaceInvaders": Facts(6, (0, 1, 3, 5), 2.828),
}
"""Scores of random play under the default rules: the episodes of `MinAtar(games=(game,)).pool(visit, np.arange(1000)[None], 1, 0)` in 5,010
steps with `np.random.default_rng(0).integers(6, size=1000)`, 2,000 (Freeway) to 410,648 (Breakout); standard errors 0.003 (Asterix), 0.001,
0.008 (Freeway), 0.001 and 0.007 (Space Invaders)"""


@dataclass(frozen=True)
class MinAtar:
    """MinAtar's games in sequence: five Atari games on boards of 10 x 10, learned in minutes (Young & Tian 2019, arXiv 1903.03176).

    The rules are those of the package minatar 1.0.15, against which they are tested step by step; ours are functions of tensors, so
    thousands of games step together. A channel of an observation has the cells with one kind of thing. An action lasts one frame. Rewards
    are the game's own, and there are no lives. All members play the same games from different seeds. Raises UsageError for an unknown or
    repeated game, or a field out of range.
    """

    games: tuple[str, ...] = ("Breakout",)
    """names in order: Asterix, Breakout, Freeway, Seaquest, SpaceInvaders"""
    frames: Annotated[int, Interval("[1, inf)")] = 1_000_000
    """agent steps per visit and member; Young & Tian train for 5 million, the default is our choice"""
    cycles: Annotated[int, Interval("[1, 10_000]")] = 1
    """number of passes through the list of games"""
    sticky: Annotated[float, Interval("[0, 1]")] = 0.1
    """probability that a step repeats the previous action; 0.1 as in the paper"""
    ramping: bool = True
    """whether Asterix, Seaquest and Space Invaders become harder while they are played, as in the paper"""
    full_actions: bool = True
    """all 6 actions in every game; False, with a single game only: those that the game uses"""
    channels: Annotated[int | None, Interval("[1, 100]")] = None
    """channels of an observation, of which those beyond a game's own are empty; none: as many as the game with the most has"""
    permute: bool = False
    """whether channels, the empty ones among them, change places at every visit, for each member anew"""
    shuffle: bool = False
    """whether games change places in every cycle but the first, for all runs alike"""
    episode_steps: Annotated[int | None, Interval("[1, 1e9]")] = 10_000
    """step limit of an episode, at which it is truncated; none: no limit, as in the paper, where a player who never leaves Seaquest's
    surface plays for ever. The default, four of Freeway's episodes, is our choice"""
    told: bool = True
    """whether the learner is told of task changes. If not, nothing restarts at one: no schedule, no exploration, no replay, no reward
    scale, and no method may refresh at tasks. Controls that start over are told"""
    heads: Heads = "shared"
    """one output head shared by all tasks, or one per task, whose identifier the agent is then given"""

    stack: ClassVar[int] = 1
    frame_skip: ClassVar[int] = 1
    life_loss: ClassVar[bool] = False
    supervision: ClassVar[str] = "rewards"
    unit: ClassVar[str] = "frames"

    def __post_init__(self) -> None:
        check(self)
        for game in self.games:
            if game not in GAMES:
                raise UsageError(f"MinAtar: unknown game {game!r}; {nearest(game, GAMES)}")
        if not self.games:
            raise UsageError("MinAtar: games must name at least one")
        if len(set(self.games)) < len(self.games):
            raise UsageError("MinAtar: games must be distinct; use cycles to repeat them")
        if len(self.games) > 1 and not self.full_actions:
            raise UsageError("MinAtar: several games need full_actions=true, as their own action sets differ")
        if self.channels is not None and self.channels < self._most:
            raise UsageError(f"MinAtar: channels must be at least {self._most}, those of {'+'.join(self.games)}, not {self.channels}")
        if not self.told and self.heads == "per-task":
            raise UsageError("MinAtar: heads=per-task tells the learner its task: it needs told=true")

    @property
    def _most(self) -> int:
        return max(GAMES[game].channels for game in self.games)

    @property
    def names(self) -> tuple[str, ...]:
        """The games in order."""
        return self.games

    def visits(self) -> tuple[Visit, ...]:
        """The games in order, `cycles` times, from the second cycle on in another order if `shuffle` is set."""
        visits = []
        for cycle in range(self.cycles):
            order = list(self.games)
            if self.shuffle and cycle:
                order = [order[place] for place in np.random.default_rng(derive("games", cycle)).permutation(len(order))]
            visits += [Visit(len(visits) + place, game, cycle, self.frames, self.told) for place, game in enumerate(order)]
        return tuple(visits)

    @property
    def observation_space(self) -> Box:
        """Space of a board: (channels, 10, 10), 0 or 255."""
        return Box((self.channels or self._most, SIDE, SIDE), "uint8")

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of one observation: (channels, 10, 10), uint8."""
        return self.observation_space.shape

    @property
    def action_space(self) -> Discrete:
        """The actions."""
        return Discrete(ACTIONS if self.full_actions else len(GAMES[self.games[0]].actions))

    @property
    def tasks_alike(self) -> bool:
        """True for one game whose channels change places and nothing else."""
        return self.permute and len(self.games) == 1

    def references(self) -> dict[str, dict[str, float]]:
        """task -> {"random": score}, unknown for rules other than the default ones; no human score is published."""
        rules = ("sticky", "ramping", "full_actions", "episode_steps")
        if any(getattr(self, rule) != type(self).__dataclass_fields__[rule].default for rule in rules):
            return {}
        return {game: {"random": GAMES[game].random} for game in self.games}

    def fingerprint(self, seed: int, members: int) -> str:
        """16 hexadecimal digits: hash of everything that defines the games of a run with this seed and number of members."""
        rules = asdict(self) | {"sticky": float(self.sticky)}
        return hashlib.sha256(json.dumps(["MinAtar", rules, seed, members], sort_keys=True).encode()).hexdigest()[:16]

    def places(self, visit: Visit, seed: int, member: int) -> np.ndarray:
        """The game's channel at each place of a member's observations, (channels,) int64; numbers beyond the game's own are empty ones."""
        width = self.observation_space.shape[0]
        return np.random.default_rng(derive(seed, member, "channels", visit.index)).permutation(width) if self.permute else np.arange(width)

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None = None) -> Pool:
        """Games of the visit's task, one for each of `seeds`, (members, environments) integers, in member-major order. The run's `seed`
        decides the places of channels. They step in the caller's thread: `threads` is not used.
        """
        from envs.reinforcement.worlds.pool import DeviceBackend

        return Pool(DeviceBackend(self.device_pool(visit, seeds, seed, opening, "cpu"), self.observation_space, self.action_space))

    def device_pool(
        self, visit: Visit, seeds: np.ndarray, seed: int, opening: Opening | None, device: str, compile: bool = False
    ) -> "DevicePool":
        """The games of `pool` on a device. On a processor they are never compiled."""
        import torch

        from envs.reinforcement.minatar.base import Boards

        members, num_envs = seeds.shape
        places = np.stack([self.places(visit, seed, member) for member in range(members)])
        # As C++ by torch, Breakout's step is slower from a hundred games on, and Seaquest's is refused by the compiler: docs/benchmarks.md
        given = {"places": torch.from_numpy(np.repeat(places, num_envs, axis=0))}
        view = Boards(places.shape[1], self.permute)
        return self._device_pool(visit, seeds, view, given, device, compile and device != "cpu")

    def render_pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> Pool:
        """The games of `pool` with RGB images as observations, (N, 160, 160, 3) uint8, in which each channel has a colour."""
        import torch

        from envs.reinforcement.minatar.base import CELL, Pictures
        from envs.reinforcement.worlds.pool import DeviceBackend

        channels = GAMES[visit.task].channels
        hues = [colorsys.hsv_to_rgb(channel / channels, 0.65, 1) for channel in range(channels)]
        given = {"colours": torch.from_numpy((np.array([(0, 0, 0), *hues]) * 255).astype(np.uint8))}
        pool = self._device_pool(visit, seeds, Pictures(), given, "cpu", False)
        return Pool(DeviceBackend(pool, Box((SIDE * CELL, SIDE * CELL, 3), "uint8"), self.action_space))

    def _device_pool(self, visit: Visit, seeds: np.ndarray, view: "View", given: "Given", device: str, compile: bool) -> "DevicePool":
        import torch

        from envs.reinforcement.minatar.games import GAMES as RULES
        from envs.reinforcement.worlds.pool import DevicePool, Rules

        rules = Rules(RULES[visit.task](self.ramping), view, self.sticky, self.episode_steps)
        actions = tuple(range(ACTIONS)) if self.full_actions else GAMES[visit.task].actions
        return DevicePool(rules, given | {"actions": torch.tensor(actions)}, seeds.reshape(-1), device, compile)
