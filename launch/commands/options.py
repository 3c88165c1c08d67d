"""Options that commands share, and what is made of them."""

from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

from plasticity_rl.checks import UsageError

DONE = 0

Device = Literal["auto", "cpu", "cuda"]
Words = Annotated[str | None, tyro.conf.arg(metavar="WORD[:FIELD=VALUE,...]", help_behavior_hint="(default: the benchmark's)")]
Count = Annotated[str | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the benchmark's)")]
Project = Annotated[str | None, tyro.conf.arg(metavar="PROJECT", help_behavior_hint="(optional)")]
Address = Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="(default: one is started here)")]
Plugins = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="MODULE", help_behavior_hint="(repeatable)")]


def allow(modules: Sequence[str]) -> None:
    """Import what --plugin names. Raises UsageError where one cannot be imported."""
    from plasticity_rl import plugins

    plugins.allow(modules)


def pick(wanted: Device) -> str:
    """The device that is meant. Raises UsageError where it is not there."""
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device was found; --device cpu or auto")
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
