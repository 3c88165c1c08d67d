"""Several experiments, one after the other on this machine."""

import runpy
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from launch.join import prepare_ray
from launch.words import experiment
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.runs import is_done

Said = Mapping[str, Any]


def read_sweep(file: Path) -> list[Said]:
    """The tables of words in a sweep file. Raises UsageError where it is none."""
    if file.suffix not in (".py", ".toml") or not file.is_file():
        raise UsageError(f"{file} is not a sweep: a .py file with EXPERIMENTS, or a .toml file with [[experiments]]")
    try:
        if file.suffix == ".py":
            found = runpy.run_path(str(file)).get("EXPERIMENTS")
        else:
            found = tomllib.loads(file.read_text("utf-8")).get("experiments")
    except (Exception, SystemExit) as error:  # whatever a person's file does wrong
        raise UsageError(f"{file} cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(found, Sequence) or not found or not all(isinstance(each, Mapping) for each in found):
        raise UsageError(f"{file} holds no experiments: a .py file sets EXPERIMENTS, a .toml file has [[experiments]]")
    return list(found)


def build(said: Sequence[Said]) -> list[Experiment]:
    """The experiments, all of them valid. Raises UsageError that says which is not, or that two are the same."""
    experiments: dict[str, Experiment] = {}
    for number, words in enumerate(said, start=1):
        try:
            made = experiment(words)
        except UsageError as error:
            raise UsageError(f"experiment {number} of {len(said)}: {error}") from error
        if made.key in experiments:
            raise UsageError(f"experiment {number} of {len(said)} is there twice: {made.label} on {type(made.benchmark).__name__}")
        experiments[made.key] = made
    return list(experiments.values())


def print_sweep(said: Sequence[Said], runs: Path, name: str) -> None:
    """What a sweep would do."""
    from launch.runner import describe, place

    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for heading in ("chain", "benchmark", "members", "each", "state", "key"):
        table.add_column(heading, no_wrap=heading != "chain")
    for each in build(said):
        spec, folder = describe(each), place(runs, name, each.key)
        state = "done: skipped" if is_done(folder) else "unfinished: resumed" if folder.exists() else "new"
        budget = sum(visit["budget"] for visit in spec.visits)
        table.add_row(spec.label, spec.benchmark, str(spec.members), f"{budget:,} {spec.unit}", state, spec.key)
    Console().print(table)


def run_sweep_on_ray(
    said: Sequence[Said],
    runs: Path,
    name: str,
    compile: bool,
    other_code: bool,
    address: str | None,
    cpus: float,
    gpus: float,
    retries: int,
) -> int:
    """The same on a Ray cluster: see `launch.on_ray`."""
    prepare_ray(address)
    from launch import on_ray

    experiments = _refuse_first(build(said), runs, name, other_code)
    if any(each.actors for each in experiments):
        raise UsageError("on Ray, a sweep's runs take whole processors each; those with actors of their own are for --on here")
    return on_ray.run_sweep(experiments, runs, name, compile, other_code, address, cpus, gpus, retries)


def run_sweep(said: Sequence[Said], runs: Path, name: str, device: str, compile: bool, other_code: bool = False) -> int:
    """Carry them out; a run whose numbers fail is told, and the others go on. Exit code 0, or that of the last failure."""
    from agents.remote import ActorsLost
    from launch import runner

    experiments = _refuse_first(build(said), runs, name, other_code)
    console, failure = Console(highlight=False), 0
    for number, each in enumerate(experiments, start=1):
        began = time.monotonic()
        try:
            folder, outcome = runner.run(each, runs, name, device, compile, other_code)
        except (FloatingPointError, ActorsLost) as error:
            print(f"error: {each.label}: {error}", file=sys.stderr)
            failure = 6 if isinstance(error, FloatingPointError) else 4
            continue
        took = f" in {time.monotonic() - began:.0f} s" if outcome == "done" else ""
        console.print(
            f"{number}/{len(experiments)} {each.label} on {type(each.benchmark).__name__}: {outcome}{took} ({folder})", soft_wrap=True
        )
    return failure


def _refuse_first(experiments: list[Experiment], runs: Path, name: str, other_code: bool) -> list[Experiment]:
    """All of them before the first is begun: a wrong sweep leaves nothing behind."""
    from launch import runner

    for each in experiments:
        folder = runner.place(runs, name, each.key)
        if not is_done(folder):
            runner.refuse_to_resume(folder, runner.describe(each), other_code)
    return experiments
