"""Test claims: select values by a rule, report runs with other seeds, derive the verdict from the data, look by look.

All runs of a scale are in one folder, so that an experiment of several claims is trained once; finished runs are skipped, interrupted ones
resumed. The page is made from the run folders only.
"""

import importlib
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from analysis.claims.page import Entry, write_page
from analysis.format import count
from launch.claims.definition import SELECTORS, Claim, added, cells, fill
from launch.claims.trial import Trial, needs_record
from launch.config.parse import experiment
from launch.execution import Execution
from launch.run import resources
from launch.run.provenance import machine
from launch.run.store import Store
from launch.run.sweep import Said, run_sweep
from plasticity_rl.checks import UsageError, choose
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.folder import refuse_file, write_json

CALIBRATION = 120.0
"""seconds of training from which a dry run extrapolates"""
CLAIMS = {
    int(name[len("claim") : name.index("_")]): f"launch.claims.papers.{name}"
    for name in (
        "claim1_trainability",
        "claim2_nap",
        "claim3_schedules",
        "claim4_adam",
        "claim5_large_means",
        "claim6_reinitialisation",
        "claim7_permuted",
        "claim8_optimizers",
        "claim9_widths",
        "claim10_continual_control",
        "claim12_kumar_labels",
        "claim13_kumar_permuted",
        "claim14_slow_bits",
    )
}
"""number -> module of the claim"""


def load_claims() -> dict[int, Claim]:
    """Return number -> claim."""
    return {number: importlib.import_module(module).CLAIM for number, module in CLAIMS.items()}


def carry_out(trial: Trial, how: Execution) -> int:
    """Train a claim's missing runs; returns the exit code. Adds the time taken to the recorded time.

    The first look is reported at the chosen and at the common values; the second is made only if the first leaves a part open.
    """
    began, earlier = time.monotonic(), _spent(trial)["seconds"] if trial.spent.exists() else 0.0

    def sweep(said: Sequence[Said]) -> int:
        different = list({experiment(each).key: each for each in said}.values())
        return run_sweep(different, Store(trial.folder.parent, trial.folder.name), how)

    def report(look: int) -> int:
        chosen = [choices, trial.common(choices)] if look == 0 else [choices]
        failed = 0
        for _ in range(2):  # the second pass has the arms that need a record
            failed = sweep([said for each in chosen for said in trial.reported(each, look).values()]) or failed
        return failed

    if trial.claim.sweep:
        return 0
    try:
        sweep([said for each in trial.searched().values() for _, said in each])  # a cell with a non-finite loss is excluded
        choices, failed = trial.choices(), 0
        for look in range(len(trial.scale.looks)):
            if look and not _open(trial, look):
                break
            failed = report(look) or failed
    finally:
        if trial.folder.exists():
            _note_time(trial, earlier, time.monotonic() - began, how.device)
    return failed


def _open(trial: Trial, looks: int) -> bool:
    """True if these looks leave a part open, so that the next is made."""
    verdict, _ = trial.verdict(trial.choices(), looks)
    return verdict.outcome != "not applicable" and "open" in verdict.decisions


def _spent(trial: Trial) -> dict[str, Any]:
    """Read the recorded time of a claim. Raises UsageError if the file cannot be read."""
    try:
        spent = json.loads(trial.spent.read_text("utf-8"))
        return {"seconds": float(spent["seconds"]), "machine": str(spent["machine"]), "load": float(spent["load"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{trial.spent} cannot be read, so the time spent is unknown; remove it to count from zero") from error


def _note_time(trial: Trial, earlier: float, seconds: float, device: str) -> None:
    """Add a session's time to the recorded time."""
    spent = {"seconds": earlier + seconds, "machine": machine(device)["machine"], "load": os.getloadavg()[2]}
    write_json(trial.spent, spent)


def trials(numbers: Sequence[int], scale: str, runs: Path, tuned_on: str = "lifetime") -> list[Trial]:
    """Return the claims of these numbers, or all that have the scale. Raises UsageError for a number without it, or an invalid folder."""
    known = {number: claim for number, claim in load_claims().items() if scale in claim.scales}
    Store(runs, f"claims-{scale}").run("")
    for number in numbers:
        choose(f"claim at scale {scale}", str(number), map(str, known))
    return [Trial(number, known[number], scale, runs / f"claims-{scale}", tuned_on) for number in numbers or known]


def run_claims(numbers: Sequence[int], scale: str, tuned_on: str, runs: Path, out: Path | None, how: Execution) -> int:
    """Test claims, then write the page of all that have run. Returns exit code 0, or that of the last failure."""
    asked, folder = trials(numbers, scale, runs, tuned_on), out or runs / f"claims-{scale}"
    refuse_file(folder, "page")
    resources.check([[made] for trial in asked for made in _largest(trial)], Store(runs, f"claims-{scale}"), how.device)
    console, failure = Console(highlight=False), 0
    for trial in asked:
        console.print(f"claim {trial.number}: {trial.claim.title}", soft_wrap=True)
        try:
            failure = carry_out(trial, how) or failure
        except UsageError as error:  # concerns one claim: the others continue
            print(f"error: {error}", file=sys.stderr)
            failure = 2
    page = write_page([entry(trial) for trial in trials((), scale, runs, tuned_on)], folder, scale, tuned_on)
    for number, headline in page.headlines.items():
        console.print(f"claim {number}: {headline}", soft_wrap=True)
    console.print(f"\n{page.path}", soft_wrap=True)
    return failure


def _largest(trial: Trial) -> list[Experiment]:
    """Return the unfinished reported run of each arm that needs no record, with the values of its first cell."""
    members, seed = added(trial.scale.looks)[0]
    arms = [
        (arm, next(cells(trial.claim, trial.scale, arm))) for arm in trial.claim.arms if not needs_record(arm) and not trial.claim.sweep
    ]
    made = [experiment(fill(trial.scale, arm, values, members, seed)) for arm, values in arms]
    return [each for each in made if not trial.place(each).is_done]


def entry(trial: Trial) -> Entry:
    """Return a claim's entry on the page; without results if its runs are missing or unfinished."""
    claim = trial.claim
    arms = {arm.key: (arm.panel, arm.name) for arm in claim.arms}
    said = Entry(trial.number, claim.title, claim.says, claim.paper, claim.notes, claim.shows, claim.score, arms)
    if not trial.spent.exists() and not claim.sweep:
        return said
    try:
        choices = trial.choices()
        verdict, results = trial.verdict(choices, max(1, trial.looks_made(choices)))
        beside = _beside(trial) if claim.common else None
        spent = {"seconds": 0.0, "machine": "", "load": 0.0} if claim.sweep else _spent(trial)
        curves = trial.rate_curves()
    except UsageError as error:
        return replace(said, missing=f"{error}.")
    return replace(
        said,
        verdict=verdict,
        results=results,
        choices=choices,
        common=f"at {', '.join(f'{name} {value}' for name, value in claim.common.items())} for all arms" if claim.common else "",
        beside=beside,
        curves=curves,
        members=len(next(iter(results.values())).curve),
        selectors=_selectors(trial),
        seconds=spent["seconds"],
        where=f"{spent['machine']}, load {spent['load']:.1f}",
        sweep=claim.sweep,
    )


def _beside(trial: Trial) -> Any:
    """The verdict of the first look at the common values."""
    found = replace(trial, claim=replace(trial.claim, scales={trial.scale_name: replace(trial.scale, looks=trial.scale.looks[:1])}))
    return found.verdict(found.common(found.choices()), 1)[0]


def _selectors(trial: Trial) -> str:
    runs = {experiment(said).key for each in trial.searched().values() for _, said in each}
    return f"Chosen by {count(len(runs), 'run')} of {SELECTORS} other members, of full length." if runs else "Nothing was chosen."


def planned(trial: Trial) -> tuple[list[Experiment], list[Experiment]]:
    """Selection runs, and the reported runs of the first look: with the values of each arm's first cell, and of its last one beside them
    where the claim has common values. Arms with a record are left out."""
    if trial.claim.sweep:
        return [], []
    members, seed = added(trial.scale.looks)[0]
    searching = [experiment(said) for each in trial.searched().values() for _, said in each]
    found = [(arm, list(cells(trial.claim, trial.scale, arm))) for arm in trial.claim.arms if not needs_record(arm)]
    arms = [(arm, each[end]) for arm, each in found for end in ((0, -1) if trial.claim.common else (0,))]
    return searching, [experiment(fill(trial.scale, arm, values, members, seed)) for arm, values in arms]


def print_claims(numbers: Sequence[int], scale: str, runs: Path, how: Execution) -> None:
    """Print the claims' runs, and how long those that are missing take, extrapolated from some seconds of training."""
    from launch.run import grouped
    from launch.run.estimate import hours

    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for heading in ("", "claim", "arms", "choosing", "done", "reported", "updates each"):
        table.add_column(heading, justify="left" if heading == "claim" else "right", no_wrap=heading != "claim")
    left: dict[str, Experiment] = {}
    for trial in trials(numbers, scale, runs):
        searching, reported = planned(trial)
        keys = {each.key for each in searching}
        done = sum(trial.place(each).is_done for each in {each.key: each for each in searching}.values())
        members = " then ".join(map(str, trial.scale.looks))
        whole = f"{max(_updates(each) for each in reported):,}" if reported else "by a sweep"
        table.add_row(
            str(trial.number), trial.claim.title, str(len(trial.claim.arms)), f"{len(keys)} x {SELECTORS}", str(done),
            f"{len(trial.claim.arms)} x {members}", whole,
        )  # fmt: skip
        left |= {each.key: each for each in (*searching, *reported) if not trial.place(each).is_done}
    console = Console(highlight=False)
    console.print(table)
    groups = grouped.groups(list(left.values()), Store(runs, f"claims-{scale}"), how.at_once)
    most = sum(_updates(each) * each.members for each in left.values())
    console.print(
        f"\n{count(len(left), 'run')} in {count(len(groups), 'group')} to train, {most:,} updates of single networks", soft_wrap=True
    )
    if not groups or scale == "paper":
        return
    try:
        (low, high), _ = hours(groups, how.device, not how.eager, CALIBRATION)
    except UsageError as error:  # data that this machine lacks
        console.print(f"hours unknown: {error}", soft_wrap=True)
        return
    few = f"at least {low:.1f}" if high == math.inf else f"{low:.1f} to {high:.1f}"
    console.print(f"{few} h on this machine alone, without recorded schedules and second looks", soft_wrap=True)


def _updates(made: Experiment) -> int:
    return sum(visit.budget for visit in made.benchmark.visits())
