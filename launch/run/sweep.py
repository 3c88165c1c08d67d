"""Sweep on this machine: several experiments, one after the other."""

import math
import runpy
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis.format import count
from launch.columns import fitted, shortest
from launch.config.parse import experiment
from launch.execution import Execution
from launch.run.store import Store
from launch.signals import Stopped
from plasticity_rl import registry
from plasticity_rl.checks import UsageError, choose
from plasticity_rl.experiment import Experiment
from plasticity_rl.files import read_toml
from plasticity_rl.records.folder import RunFolder

Said = Mapping[str, Any]
SWEEPS = Path(__file__).parents[1] / "sweeps"


def read_sweep(file: Path) -> list[Said]:
    """Read the tables of words in a sweep file, or one of launch/sweeps by its name. Raises UsageError if the file is invalid."""
    if not file.suffix and not file.exists():
        file = SWEEPS / f"{choose('sweep', str(file), names())}.py"
    if file.suffix not in (".py", ".toml") or not file.is_file():
        raise UsageError(f"{file} is not a sweep: a .py file with EXPERIMENTS, or a .toml file with [[experiments]]")
    if file.suffix == ".toml":
        found = _experiments(file)
    else:
        try:
            found = runpy.run_path(str(file)).get("EXPERIMENTS")
        except Stopped:
            raise
        except BaseException as error:  # a user's file can raise anything
            raise UsageError(f"{file} cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(found, Sequence) or not found or not all(isinstance(each, Mapping) for each in found):
        raise UsageError(f"{file} holds no experiments: a .py file sets EXPERIMENTS, a .toml file has [[experiments]]")
    return list(found)


def names() -> list[str]:
    """Names of the project's own sweeps."""
    return sorted(path.stem for path in SWEEPS.glob("*.py") if path.stem != "__init__")


def _experiments(file: Path) -> Any:
    """Return the tables of a TOML file that holds nothing else."""
    said = read_toml(file)
    for name in said:
        if name != "experiments":
            raise UsageError(f"{file}: unknown field {name!r}; a sweep holds only tables [[experiments]]")
    return said.get("experiments")


def build(said: Sequence[Said], device: str = "auto") -> list[Experiment]:
    """Build and validate all experiments for a device. Raises UsageError that names an invalid one or two equal ones."""
    experiments: dict[str, Experiment] = {}
    for number, words in enumerate(said, start=1):
        try:
            made = experiment(words, device)
        except UsageError as error:
            raise UsageError(f"experiment {number} of {len(said)}: {error}") from error
        if made.key in experiments:
            raise UsageError(f"experiment {number} of {len(said)} appears twice: {made.label} on {registry.title(made.benchmark)}")
        experiments[made.key] = made
    return list(experiments.values())


def own_controls(said: Sequence[Said], device: str = "auto") -> list[Said]:
    """The tables of words of the controls that these experiments lack: each chain with a reset of everything at every visit.

    None for a chain whose own control is its first visit, as tasks are alike, for one with a single visit, and for controls.
    """
    keys = {each.key for each in build(said, device)}
    missing: list[Said] = []
    for words in said:
        chain = experiment(words, device)
        if chain.fresh_control or chain.tasks_alike or len(chain.benchmark.visits()) < 2:
            continue
        control = {**words, "chain": [*words.get("chain", ()), "reset"]}
        key = experiment(control, device).key
        if key not in keys:
            keys.add(key)
            missing.append(control)
    return missing


def print_sweep(said: Sequence[Said], store: Store, how: Execution) -> None:
    """Print a sweep's runs, what they can see (`launch.run.power`), and estimated costs (`launch.run.estimate`).

    Runs with the same number in column `as one` train as one.
    """
    from launch.run import grouped, resources
    from launch.run.estimate import costs, hours
    from launch.run.power import seen
    from launch.run.provenance import refuse_other_data, refuse_to_resume
    from launch.run.runner import describe

    experiments = build(said, "cuda" if how.gpus else how.device)
    left = [each for each in experiments if not store.run(each.key).is_done]
    carried_out = grouped.groups(left, store, how.at_once)
    groups = [group for group in carried_out if len(group) > 1]
    numbers = {each.key: str(number) for number, group in enumerate(groups, start=1) for each in group}
    columns: dict[str, list[str]] = {name: [] for name in ("chain", "benchmark", "members", "each", "as one", "state", "key")}
    letters, refused = shortest([each.key for each in experiments]), []
    specs = [describe(each) for each in experiments]
    for each, spec in zip(experiments, specs, strict=True):
        folder = store.run(each.key)
        state = "done: skipped" if folder.is_done else "unfinished: resumed" if folder.path.exists() else "new"
        try:
            if folder.is_done:
                refuse_other_data(folder, spec)
            else:
                refuse_to_resume(folder, spec, other_code=False)
        except UsageError as error:
            state = "refused"
            refused.append(f"refused: {error}")
        budget = sum(visit["budget"] for visit in spec.visits)
        cells = (spec.label, spec.benchmark, str(spec.members), f"{budget:,} {spec.unit}", numbers.get(each.key, ""), state)
        for column, cell in zip(columns.values(), (*cells, spec.key[:letters]), strict=True):
            column.append(cell)
    if not groups:
        del columns["as one"]
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(fitted(columns, console.width, ("key", "benchmark", "as one", "members", "each")))
    for line in refused:
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"\n{seen(experiments, specs, store)}", soft_wrap=True, markup=False)
    found = costs(left)
    most = max((sum(resources.need(each).memory for each in group) for group in carried_out), default=0)
    together, processors = hours(carried_out, how.device, not how.eager)
    console.print(
        f"{count(len(left), 'run')} to carry out, {sum(each.frames for each in found):,} emulator frames of all members\n"
        f"{_times(together, processors, together * (how.gpus or float(how.device.startswith('cuda'))))}\n"
        f"{sum(each.disk for each in found) / 1e9:,.3f} GB of checkpoints at most, "
        f"{most / 1e9:,.3f} GB of memory for what the largest holds (this machine has {resources.memory().total / 1e9:,.1f})\n"
        f"Times are for this machine ({how.device}) without other programs. The first run of each kind was trained for a moment; chains "
        "that cost more take longer. A range says that compilation could not be timed, or may be done already. "
        "Unfinished runs count whole.",
        soft_wrap=True,
    )


def _times(together: tuple[float, float], processors: tuple[float, float], gpus: tuple[float, float]) -> str:
    from launch.run.estimate import LIMIT

    if math.isinf(together[1]):
        return f"time not known: a kind of run made fewer than two updates in the {LIMIT:g} s that all are given"
    return f"{_span(*together)} one after the other; {_span(*processors)} of processors, {_span(*gpus)} of GPUs"


def _span(least: float, most: float) -> str:
    """Hours, or minutes where there are few."""
    few = most < 1
    low, high = (f"{each * (60 if few else 1):,.1f}" for each in (least, most))
    unit = "min" if few else "h"
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def run_sweep(said: Sequence[Said], store: Store, how: Execution) -> int:
    """Carry out a sweep; a run with a non-finite value is reported, and the others continue. Returns exit code 0, or the last failure's.

    Runs that can train as one do so, with at most `how.at_once` members (see `launch.run.grouped`).
    """
    from launch.run import grouped, resources

    experiments = refuse_first(build(said, how.device), store, how.other_code)
    console, failure, told = Console(highlight=False), 0, 0

    def tell(each: Experiment, folder: RunFolder, outcome: str) -> None:
        nonlocal told
        told += 1
        what = f"{each.label} on {registry.title(each.benchmark)}, seed {each.seed}"
        console.print(f"{told}/{len(experiments)} {what}: {outcome} ({folder})", soft_wrap=True)

    left = []
    for each in experiments:
        folder = store.run(each.key)
        if folder.is_done:
            tell(each, folder, "skipped")
        else:
            left.append(each)
    groups = grouped.groups(left, store, how.at_once)
    resources.check(groups, store, how.device)
    for group in groups:
        began, ends = time.monotonic(), _carry_out(group, store, how)
        along = f" with {len(group) - 1} more" if len(group) > 1 else ""
        for each, (folder, error) in zip(group, ends, strict=True):
            if error is None:
                tell(each, folder, f"done{along} in {time.monotonic() - began:.0f} s")
            else:
                told += 1
                print(f"error: {each.label}: {error}", file=sys.stderr)
                failure = 6 if isinstance(error, FloatingPointError) else 4
    return failure


def _carry_out(group: Sequence[Experiment], store: Store, how: Execution) -> Sequence[tuple[RunFolder, Exception | None]]:
    """Carry out a group; returns each run's folder and the error that ended it early."""
    from agents.acting.messages import ActorsLost
    from envs.reinforcement.backends.pool import EnvironmentFailed
    from launch.run import grouped, runner

    if len(group) > 1:
        return grouped.run_together(group, store, how)
    try:
        folder, _ = runner.run(group[0], store, how)
    except (FloatingPointError, ActorsLost, EnvironmentFailed) as error:
        return [(store.run(group[0].key), error)]
    return [(folder, None)]


def refuse_first(experiments: list[Experiment], store: Store, other_code: bool) -> list[Experiment]:
    """Check all experiments before the first starts, so that an invalid sweep writes nothing. Fetches runs that only the mirror has."""
    from launch.run.provenance import refuse_other_data, refuse_to_resume
    from launch.run.runner import describe

    for each in experiments:
        folder = store.run(each.key)
        if store.mirror:
            store.mirror.meet(folder)
        if folder.is_done:
            refuse_other_data(folder, describe(each))
        else:
            refuse_to_resume(folder, describe(each), other_code)
    return experiments
