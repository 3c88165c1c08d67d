"""Check this machine for the project's requirements."""

import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from analysis.format import count
from plasticity_rl.checks import UsageError
from plasticity_rl.processor import fast_bfloat16


def examine() -> int:
    """Print one line per requirement; returns exit code 0 if all are met, else 1."""
    console = Console(highlight=False)
    good = True
    for name, look, needed in LOOKS:
        with console.status(f"looking at {name}"):
            try:
                found, mark = look(), "[green]ok[/]  "
            except (ImportError, OSError, RuntimeError, UsageError) as error:
                found, mark = f"{type(error).__name__}: {error}", "[red]no[/]  " if needed else "[yellow]none[/]"
                good = good and not needed
        console.print(f"{mark} {name:14} {found}")
    return 0 if good else 1


def _python() -> str:
    return f"{platform.python_version()} on {platform.platform()}"


def _processors() -> str:
    import torch

    return f"{count(os.cpu_count() or 1, 'processor')}, {count(torch.get_num_threads(), 'thread')} in torch {torch.__version__}"


def _compiler() -> str:
    import warnings

    from plasticity_rl.training.compilation import can_compile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not can_compile():
            raise RuntimeError("no C++ compiler with Python's headers: updates run uncompiled, several times slower")
    return "updates are compiled"


def _bfloat16() -> str:
    fast, why = fast_bfloat16("cpu")
    if not fast:
        raise RuntimeError(f"{why}: slower than float32 on the processor, where precision=auto takes float32")
    return f"{why}: precision=auto takes it on the processor"


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("no CUDA device")
    return fast_bfloat16("cuda")[1]


def _pool(backend: str) -> str:
    import numpy as np

    from envs.reinforcement.atari import Atari

    benchmark = Atari(games=("Pong",), backend=backend)  # type: ignore[arg-type]
    pool = benchmark.pool(benchmark.visits()[0], np.array([[1, 2]]), 1, 0)
    try:
        shape = pool.reset().observations.shape
    finally:
        pool.close()
    return f"two environments of Pong answer with {shape}"


def _procgen() -> str:
    import numpy as np

    from envs.reinforcement.procgen import Procgen

    benchmark = Procgen()
    pool = benchmark.pool(benchmark.visits()[0], np.array([[1, 2]]), 1, 0)
    try:
        shape = pool.reset().observations.shape
    finally:
        pool.close()
    return f"two environments of {benchmark.game} answer with {shape}"


def _disk() -> str:
    folder = Path.cwd()
    if not os.access(folder, os.W_OK):
        raise RuntimeError(f"{folder} cannot be written")
    return f"{shutil.disk_usage(folder).free / 1e9:,.0f} GB free here; a million frames of replay take 7 GB in a checkpoint"


LOOKS: tuple[tuple[str, Callable[[], str], bool], ...] = (
    ("Python", _python, True),
    ("processors", _processors, True),
    ("C++ compiler", _compiler, False),
    ("bfloat16", _bfloat16, False),
    ("GPU", _gpu, False),
    ("EnvPool", lambda: _pool("envpool"), True),
    ("ale-py", lambda: _pool("ale"), False),
    ("Procgen", _procgen, False),
    ("disk", _disk, True),
)
