"""Frames of Atari games under random actions as labelled images, without a download. Imports no torch.

`atari-frames` has ten games in 3x32x32; `atari-frames-Pong+Breakout-1x84x84-7` names games, size (3 is RGB, 1 grey) and seed. The label is
the game's place in the list. Frames are made once, and kept in the cache.
"""

import hashlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from envs.supervised import cache
from plasticity_rl.checks import UsageError, nearest
from plasticity_rl.seeds import derive

WORD = "atari-frames"
GAMES = ("Pong", "Boxing", "Breakout", "SpaceInvaders", "Qbert", "MsPacman", "Seaquest", "RoadRunner", "CrazyClimber", "Enduro")
"""the ten games of the benchmark `ale-10`"""
MAX_FRAMES = 1_000_000
FRAME_SKIP, EVERY = 4, 4  # emulator frames that an action lasts; actions from one image to the next
PATIENCE = 5_000  # images in a row that are all there already, after which a game is given up


class Frames(NamedTuple):
    """The parameters that decide which frames are made."""

    games: tuple[str, ...] = GAMES
    shape: tuple[int, int, int] = (3, 32, 32)
    seed: int = 0


@lru_cache(maxsize=16)
def parse(name: str) -> Frames:
    """Read a dataset's name. Raises UsageError for unknown or repeated games, or an invalid size."""
    found = re.fullmatch(rf"{WORD}(?:-([A-Za-z]\w*(?:\+[A-Za-z]\w*)*))?(?:-([13])x(\d+)x(\d+))?(?:-(\d+))?", name)
    if not found or not all(8 <= int(side) <= 160 for side in found.group(3, 4) if side):
        raise UsageError(
            f"{name}: after {WORD}- come games such as Pong+Breakout, then optionally a size such as 3x32x32 (RGB) or 1x84x84 (grey) with "
            "sides of 8 to 160, and a seed"
        )
    made = Frames()
    games, sides, seed = found[1], found.group(2, 3, 4), found[5]
    if games:
        made = made._replace(games=tuple(games.split("+")))
    for game in made.games:
        if game not in _roms():
            raise UsageError(f"{name}: unknown game {game!r}; {nearest(game, _roms())}")
        if made.games.count(game) > 1:
            raise UsageError(f"{name}: {game} appears twice")
    if sides[0]:
        made = made._replace(shape=(int(sides[0]), int(sides[1]), int(sides[2])))
    return made._replace(seed=int(seed or 0))


def load(name: str, images: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `images` frames or more, (n, channels, height, width) uint8, and their labels (n,), from the cache or made for it.

    The games take turns. The first frames do not depend on their number, nor a game's on the other games; no game has a frame twice.
    """
    from ale_py import __version__

    wanted = parse(name)
    digest = hashlib.sha256(repr((wanted, FRAME_SKIP, EVERY, __version__)).encode()).hexdigest()[:16]
    found = cache.read(f"{WORD}-{digest}")
    if found is not None and len(found[1]) >= images:
        return found
    frames, labels = np.zeros((images, *wanted.shape), np.uint8), np.arange(images) % len(wanted.games)
    tell = _teller(name, images)
    for place, game in enumerate(wanted.games):
        mine = np.flatnonzero(labels == place)
        for count, (index, frame) in enumerate(zip(mine, play(game, wanted.shape, wanted.seed), strict=False)):
            frames[index] = frame
            tell(place * images // len(wanted.games) + count)
    cache.write(f"{WORD}-{digest}", frames, labels)
    return frames, labels


def play(game: str, shape: tuple[int, int, int], seed: int) -> Iterator[np.ndarray]:
    """Different frames of a game, of `shape`, one for every EVERY random actions; ended games begin anew. Raises UsageError when none are
    left.
    """
    from ale_py import ALEInterface, LoggerMode, roms
    from PIL import Image

    channels, height, width = shape
    random = np.random.default_rng(derive("frames", seed, game))
    ALEInterface.setLoggerMode(LoggerMode.Error)  # no banner
    ale = ALEInterface()
    ale.setInt("random_seed", derive("frames", seed, game) % 2**31)
    ale.setInt("frame_skip", FRAME_SKIP)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(str(roms.get_rom_path(_roms()[game])))
    actions, seen, tries = ale.getMinimalActionSet(), set[bytes](), 0
    while tries < PATIENCE:
        for action in random.integers(len(actions), size=EVERY):
            ale.act(actions[action])
            if ale.game_over():
                ale.reset_game()
        screen = ale.getScreenRGB() if channels == 3 else ale.getScreenGrayscale()
        frame = np.asarray(Image.fromarray(screen).resize((width, height), Image.Resampling.BOX))
        digest, tries = hashlib.sha256(frame.tobytes()).digest(), tries + 1
        if digest not in seen:
            seen.add(digest)
            tries = 0
            yield frame.transpose(2, 0, 1) if channels == 3 else frame[None]
    raise UsageError(
        f"{game} shows no more than {len(seen)} different frames of {'x'.join(map(str, shape))}; ask for fewer, or leave it out"
    )


@lru_cache(maxsize=1)
def _roms() -> dict[str, str]:
    """EnvPool's name of every game -> ale-py's: `MsPacman` -> `ms_pacman`."""
    from ale_py import roms

    return {"".join(part.capitalize() for part in rom.split("_")): rom for rom in roms.get_all_rom_ids()}


def _teller(name: str, images: int) -> Callable[[int], None]:
    """Function that says on stderr how many frames are made: after two seconds, then every ten."""
    due = time.monotonic() + 2

    def tell(done: int) -> None:
        nonlocal due
        if time.monotonic() > due:
            due = time.monotonic() + 10
            print(f"{name}: {done:,} of {images:,} frames are made", file=sys.stderr, flush=True)

    return tell
