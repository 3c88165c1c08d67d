"""Settings and fixtures shared by all tests."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from plasticity_rl.training.compilation import FOLDER

Begin = Callable[..., subprocess.Popen[str]]

torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same for processes that tests start

VENV = Path(__file__).parents[1] / ".venv"
if VENV.is_dir() and " " not in str(VENV):  # a space is not quoted for the C++ compiler
    os.environ.setdefault(FOLDER, str(VENV / "torchinductor"))  # only the first run of the tests compiles

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # ignored in a shell's background job, and the children of tests inherit that
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker has all Ray clusters, one after another, and a file whose tests start processes makes their shared data once."""
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.xdist_group("ray"))
        elif item.get_closest_marker("process"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Start a process in its own session, like `subprocess.Popen`; the session ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def begun(command: list[str], **options: Any) -> subprocess.Popen[str]:
        started.append(subprocess.Popen(command, text=True, start_new_session=True, **options))
        return started[-1]

    yield begun
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


@pytest.fixture
def double() -> Iterator[None]:
    """Make new tensors double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Keep runs to one thread, whatever they ask for. The workers share the CPUs: with more, tests take nine times as long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "set_num_threads", lambda count: None)
        yield


@pytest.fixture(autouse=True)
def gradual_underflow() -> None:
    """Keep subnormal numbers, whatever an earlier test's run set for its process."""
    torch.set_flush_denormal(False)
