"""Frames of games as images: the same bytes for the same seed, caching, and refusals."""

from pathlib import Path

import numpy as np
import pytest

from envs.reinforcement.atari import ALE_10, ATARI_57
from envs.supervised import cache, datasets, frames
from envs.supervised.inputs import PermutedInputs
from plasticity_rl.checks import UsageError
from plasticity_rl.seeds import derive

TWO = "atari-frames-Pong+Breakout-1x84x84-7"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    datasets._load.cache_clear()


def kept() -> list[Path]:
    return sorted(cache.path("any").parent.glob("*.npz"))


def test_names_say_games_size_and_seed() -> None:
    assert frames.parse("atari-frames") == (ALE_10, (3, 32, 32), 0)
    assert frames.parse(TWO) == (("Pong", "Breakout"), (1, 84, 84), 7)
    assert frames.parse("atari-frames-3x64x48") == (ALE_10, (3, 64, 48), 0)
    assert frames.parse("atari-frames-Pong-2") == (("Pong",), (3, 32, 32), 2)
    assert set(ATARI_57) <= set(frames._roms())
    assert datasets.shape(TWO)[1:3] == ((1, 84, 84), 2)


def test_the_same_seed_gives_the_same_bytes_however_many_are_asked_for() -> None:
    few = frames.load(TWO, 20)
    assert few[0].shape == (20, 1, 84, 84) and few[0].dtype == np.uint8
    np.testing.assert_array_equal(few[1], np.arange(20) % 2)  # games take turns
    (file,) = kept()
    many = frames.load(TWO, 40)
    assert kept() == [file] and many[0].shape == (40, 1, 84, 84)  # in place of the smaller one
    for one, other in zip(few, many, strict=True):
        np.testing.assert_array_equal(one, other[:20])
    file.unlink()
    np.testing.assert_array_equal(frames.load(TWO, 40)[0], many[0])
    assert not np.array_equal(frames.load(TWO[:-1] + "8", 20)[0], few[0])
    alone = frames.load("atari-frames-Breakout-1x84x84-7", 10)[0]
    np.testing.assert_array_equal(alone, few[0][1::2])  # games are independent
    assert len({image.tobytes() for image in many[0]}) == 40


def test_what_is_kept_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = frames.load(TWO, 20)
    with monkeypatch.context() as patch:
        patch.setattr(frames, "play", lambda *_: pytest.fail("played again"))
        for images in (20, 10):
            np.testing.assert_array_equal(frames.load(TWO, images)[0], made[0])
    kept()[0].write_bytes(b"damaged")
    np.testing.assert_array_equal(frames.load(TWO, 20)[0], made[0])


def test_frames_are_the_emulators() -> None:
    """A game played by hand: four actions of four frames between images, at half its size the mean of four pixels."""
    from ale_py import ALEInterface, LoggerMode, roms

    ALEInterface.setLoggerMode(LoggerMode.Error)
    ale, random = ALEInterface(), np.random.default_rng(derive("frames", 3, "MsPacman"))
    ale.setInt("random_seed", derive("frames", 3, "MsPacman") % 2**31)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(str(roms.get_rom_path("ms_pacman")))
    images, seen = iter(frames.load("atari-frames-MsPacman-3x105x80-3", 12)[0]), set[bytes]()
    while len(seen) < 12:
        for action in random.integers(9, size=4):
            for _ in range(4):
                ale.act(ale.getMinimalActionSet()[action])
        screen = ale.getScreenRGB()
        if screen.tobytes() not in seen:  # the game stands still at its beginning
            seen.add(screen.tobytes())
            means = screen.reshape(105, 2, 80, 2, 3).mean((1, 3)).transpose(2, 0, 1)
            assert np.abs(next(images) - means).max() <= 1  # rounded along rows, then along columns


def test_a_stream_learns_from_frames() -> None:
    stream = PermutedInputs(dataset=TWO, images=30, held_out=10, tasks=2)
    assert stream.inputs == (1, 84, 84) and stream.outputs == 2
    images, labels = stream.load()
    raw = frames.load(TWO, 40)[0]
    np.testing.assert_allclose(images, (raw - raw.mean()) / raw.std(), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(labels, np.arange(40) % 2)


def test_long_work_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 1.9, 2.1, 11.9, 12.2, 12.3])  # at the start, after two seconds, then every ten
    monkeypatch.setattr(frames.time, "monotonic", lambda: next(now))
    tell = frames._teller("atari-frames", 1000)
    for done in (100, 200, 300):
        tell(done)
    assert capsys.readouterr().err == "atari-frames: 200 of 1,000 frames are made\n"


def test_a_game_without_new_frames_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "PATIENCE", 1)
    with pytest.raises(UsageError, match=r"Breakout shows no more than \d+ different frames of 1x8x8"):
        frames.load("atari-frames-Breakout-1x8x8", 2000)
    assert not kept()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("atari-frames-pong", "unknown game 'pong'; did you mean Pong?"),
        ("atari-frames-Pong+Pong", "Pong appears twice"),
        ("atari-frames-2x84x84", "after atari-frames- come games such as"),
        ("atari-frames-3x84x1", "with sides of 8 to 160"),
        ("atari-frames-", "after atari-frames- come games"),
        ("atari-frame", "did you mean atari-frames?"),
    ],
)
def test_bad_names_are_refused_in_one_line(name: str, error: str) -> None:
    with pytest.raises(UsageError, match=error) as caught:
        datasets.shape(name)
    assert "\n" not in str(caught.value)
