"""Fixtures of tests that execute runs."""

from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def blank_spectra() -> Iterator[None]:
    """Log a blank image for each spectrum, as drawing takes longer than training; tracking/test_images.py draws two."""
    from launch.tracking import tensorboard

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorboard, "drawn", lambda spectra: np.zeros((320, 500, 3), np.uint8))
        yield
