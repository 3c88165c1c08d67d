"""What all tests share."""

import signal
from collections.abc import Iterator

import pytest
import torch

torch.set_num_threads(1)  # the workers share the processors: with more threads these tests take nine times as long

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background job; the children of tests would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def double() -> Iterator[None]:
    """New tensors are of double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True)
def gradual_underflow() -> None:
    """Small numbers are kept, whatever the run of a test before this one has set for its process."""
    torch.set_flush_denormal(False)
