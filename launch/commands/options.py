"""Options that commands share, each stated once."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from launch.execution import Device, Execution
from plasticity_rl.checks import UsageError, check

DONE = 0

Words = Annotated[str | None, tyro.conf.arg(metavar="WORD[:FIELD=VALUE,...]", help_behavior_hint="(default: the benchmark's)")]
Count = Annotated[str | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the benchmark's)")]
ZERO = tyro.conf.arg(help_behavior_hint="(default: 0)")
Project = Annotated[str | None, tyro.conf.arg(metavar="PROJECT", help_behavior_hint="(optional)")]
Plugins = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="MODULE", help_behavior_hint="(repeatable)")]
FLAT = tyro.conf.arg(name="")  # fields stand among the command's own options, without a prefix


@dataclass(frozen=True)
class ExperimentOptions:
    """The fields of an experiment in words, each None where the benchmark's default holds."""

    benchmark: Annotated[Words, tyro.conf.arg(help_behavior_hint="(default: random-labels)")] = None
    """tasks to learn from"""
    agent: Words = None
    """learning algorithm"""
    network: Words = None
    """torso of the network; precision=auto, the default for images, chooses this machine's fastest and records it"""
    optimizer: Words = None
    """optimizer"""
    schedule: Words = None
    """learning rate as a function of updates"""
    chain: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="[METHOD ...]", help_behavior_hint="(default: none)")] = None
    """interventions, in order; `critic.redo` limits one to the network of that name, where the agent has several"""
    members: Annotated[Count, tyro.conf.arg(help_behavior_hint="(default: 5)")] = None
    """independent networks trained together"""
    seed: Annotated[Count, ZERO] = None
    """0 to 2147483647; the seeds of members, data and environments derive from it"""
    diagnose_every: Count = None
    """updates between two rows of diagnostics"""
    curvature_every: Annotated[Count, ZERO] = None
    """updates between two rows of curvature and other costly metrics; a row costs as much as hundreds of updates; 0 is never"""
    probe_every: Annotated[Count, ZERO] = None
    """updates between two probes, which train copies of the networks beside untrained ones; 0 is never"""
    probe_updates: Annotated[Count, tyro.conf.arg(help_behavior_hint="(default: 2000)")] = None
    """updates of a probe"""
    checkpoint_every: Count = None
    """agent steps of one member between two checkpoints"""
    evaluate: Annotated[Count, ZERO] = None
    """evaluation episodes of each member at every checkpoint, without learning"""
    actors: Annotated[Count, ZERO] = None
    """actor processes on a Ray cluster; 0 acts in the learner's process"""
    metrics: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="[METRIC ...]", help_behavior_hint="(default: none)")] = None
    """metrics of your own modules, in addition to the project's"""
    free_running: bool = False
    """actors do not wait for each other or the learner; runs are then not repeatable"""

    def words(self) -> dict[str, Any]:
        """The fields that were given, as `launch.config.parse.experiment` takes them."""
        return {name: value for name, value in vars(self).items() if value is not None and value is not False}


def execution(*options: str) -> Execution:
    """The default of a command that takes these fields of Execution as its options; the others are fixed."""
    hints = typing.get_type_hints(Execution, include_extras=True)
    fixed = [
        (each.name, Annotated[hints[each.name], tyro.conf.Suppress, tyro.conf.Fixed], field(default=each.default, metadata={"fixed": True}))
        for each in dataclasses.fields(Execution)
        if each.name not in options
    ]
    return dataclasses.make_dataclass("Execution", fixed, bases=(Execution,), frozen=True)()


def flags(command: Callable[..., int]) -> list[str]:
    """The options of a command, with those of the dataclasses among its parameters."""
    names: list[str] = []
    for parameter in inspect.signature(command).parameters.values():
        if dataclasses.is_dataclass(parameter.default):
            names += [each.name for each in dataclasses.fields(parameter.default) if not each.metadata.get("fixed")]
        elif parameter.kind is not parameter.POSITIONAL_ONLY:
            names.append(parameter.name)
    return ["--" + name.replace("_", "-") for name in names]


def allow(modules: Sequence[str]) -> None:
    """Import the modules named by --plugin. Raises UsageError if one cannot be imported."""
    from plasticity_rl import plugins

    plugins.allow(modules)


def settle(wanted: Execution) -> Execution:
    """Return a command's options as a plain Execution with `auto` resolved. Raises UsageError for a number out of range or a missing
    device."""
    check(wanted)
    return dataclasses.replace(Execution(**vars(wanted)), device=pick(wanted.device))


def pick(wanted: Device) -> Device:
    """Resolve `auto` to a device. Raises UsageError if the device is missing."""
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device was found; use --device cpu or auto")
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
