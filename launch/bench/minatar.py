"""Steps per second of MinAtar's games, many at once in a pool, beside the original package playing one: in turn, in one process, on one
thread. Both play at random and make an observation in every step; times are the process's own, so other programs disturb them less.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from envs.reinforcement.minatar.benchmark import ACTIONS, GAMES, MinAtar
from plasticity_rl.checks import UsageError

NAMES = {"SpaceInvaders": "space_invaders"}  # the original's; those of the other games are ours in small letters
ROUNDS = 5


def measure(num_envs: int, seconds: float) -> None:
    """Print a table of medians over ROUNDS pairs of windows of `seconds`. Raises UsageError without the package minatar."""
    try:
        from minatar import Environment
    except ImportError as error:
        raise UsageError("bench minatar compares with the package minatar; run `pip install --no-deps minatar`") from error
    torch.set_num_threads(1)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    table = Table(box=None, padding=(0, 1))
    for heading in ("game", "environments", "steps/s", "minatar 1 at a time, steps/s", "ratio"):
        table.add_column(heading, justify="left" if heading == "game" else "right")
    for game in GAMES:
        with console.status(game):
            ways = _many(game, num_envs), _one(Environment(NAMES.get(game, game.lower())))
            windows = [[_steps_per_second(way, seconds) for way in ways] for _ in range(ROUNDS)]
        ours, theirs = (statistics.median(speeds) for speeds in zip(*windows, strict=True))
        ratios = [many / one for many, one in windows]
        ratio = f"{statistics.median(ratios):.1f} [{min(ratios):.1f}-{max(ratios):.1f}]"
        table.add_row(game, f"{num_envs:,}", f"{ours:,.0f}", f"{theirs:,.0f}", ratio)
    console.print(table)


def _many(game: str, num_envs: int) -> Callable[[], int]:
    """A step of a pool, which returns the number of its environments."""
    benchmark = MinAtar(games=(game,))
    pool, random = benchmark.pool(benchmark.visits()[0], np.arange(num_envs)[None], 1, 0), np.random.default_rng(0)
    pool.reset()

    def step() -> int:
        pool.send(random.integers(ACTIONS, size=num_envs))
        pool.recv()
        return num_envs

    return step


def _one(env: Any) -> Callable[[], int]:
    """A hundred steps of the original."""
    random = np.random.default_rng(0)
    env.seed(0)
    env.reset()

    def steps() -> int:
        actions = random.integers(ACTIONS, size=100).tolist()
        for action in actions:
            over = env.act(action)[1]
            env.state()
            if over:
                env.reset()
        return len(actions)

    return steps


def _steps_per_second(way: Callable[[], int], seconds: float) -> float:
    way()
    begin, steps = time.process_time(), 0
    while time.process_time() < begin + seconds:
        steps += way()
    return steps / (time.process_time() - begin)
