"""Observations and spectra as pictures."""

import numpy as np
import pytest

from launch.tracking.images import BAR, WIDTH, drawn, tiled


def test_vectors_lie_below_each_other_a_cell_for_each_number() -> None:
    vectors = np.array([[0.0, 1.0, 2.0, 4.0], [4.0, 2.0, 1.0, 0.0]], dtype=np.float32)
    picture, cell = tiled(vectors), WIDTH // 4
    assert picture.shape == (2 * BAR, WIDTH, 3) and picture.dtype == np.uint8
    assert (picture[:BAR] == np.array([0, 63, 127, 255]).repeat(cell)[None, :, None]).all()  # 255 / 4 = 63.75, 255 / 2 = 127.5
    assert (picture[BAR:] == np.array([255, 127, 63, 0]).repeat(cell)[None, :, None]).all()


def test_equal_numbers_and_long_vectors_have_a_picture() -> None:
    assert (tiled(np.full((2, 3), 7.0)) == 0).all()
    assert tiled(np.zeros((8, 784))).shape == (8 * BAR, 784, 3)


@pytest.mark.parametrize(("channels", "shown"), [(4, [3, 3, 3]), (3, [0, 1, 2])])
def test_images_lie_four_to_a_row_in_colour_or_the_newest_frame_in_grey(channels: int, shown: list[int]) -> None:
    frames = np.arange(6 * channels, dtype=np.uint8).reshape(6, channels, 1, 1).repeat(64, 2).repeat(64, 3)
    picture = tiled(frames)
    assert picture.shape == (2 * 128, 4 * 128, 3)  # 64 pixels, twice, so that four are 512
    for example in range(6):
        row, column = divmod(example, 4)
        part = picture[128 * row : 128 * (row + 1), 128 * column : 128 * (column + 1)]
        assert (part == [channels * example + channel for channel in shown]).all()
    assert (picture[128:, 256:] == 0).all()


def test_a_spectrum_is_drawn_also_where_it_is_nothing_but_zeros() -> None:
    steep, none = drawn(np.array([[4.0, 2.0, 1.0], [1.0, 1.0, 1.0]])), drawn(np.zeros((2, 3)))
    assert steep.shape == none.shape == (320, 500, 3) and steep.dtype == np.uint8
    blue = (31, 119, 180)  # matplotlib's tab:blue
    assert (steep == blue).all(-1).sum() > 100 and (steep != none).any()
