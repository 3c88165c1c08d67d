"""Test claims: select values on the first tenth of the tasks, report runs with other seeds, derive the verdict from the data.

All runs of a scale are in one folder, so that an experiment of several claims is trained once; finished runs are skipped, interrupted ones
resumed. The page is made from the run folders only.
"""

import importlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from analysis.claims.page import Choice, Entry, write_page
from analysis.claims.results import Result, read, record
from analysis.format import count
from launch.claims.definition import SELECTORS, Arm, Claim, Scale, Values, cells, fill, placeholders
from launch.config.parse import experiment
from launch.execution import Execution
from launch.run import resources
from launch.run.provenance import machine
from launch.run.store import Store
from launch.run.sweep import Said, run_sweep
from plasticity_rl.checks import UsageError, choose
from plasticity_rl.experiment import Experiment
from plasticity_rl.files import parse_json
from plasticity_rl.records.folder import RunFolder, refuse_file, write_json

RECORD = {"moments", "factors", "layer_factors"}


CLAIMS = {
    int(name[len("claim") : name.index("_")]): f"launch.claims.{name}"
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
    )
}
"""number -> module of the claim"""


def load_claims() -> dict[int, Claim]:
    """Return number -> claim."""
    return {number: importlib.import_module(module).CLAIM for number, module in CLAIMS.items()}


@dataclass(frozen=True)
class Trial:
    """A claim at a scale, and the folder of its runs."""

    number: int
    claim: Claim
    scale_name: str
    folder: Path

    @property
    def scale(self) -> Scale:
        return self.claim.scales[self.scale_name]

    @property
    def spent(self) -> Path:
        """File with the time that the claim took; exists after its first run."""
        return self.folder / f"claim{self.number}.json"

    def place(self, made: Experiment) -> RunFolder:
        return Store(self.folder.parent, self.folder.name).run(made.key)

    def searched(self) -> Mapping[str, Sequence[tuple[Values, Said]]]:
        """Arm -> cells of its grid. Arms with another arm's values, or with a single cell, are left out."""
        found = {
            arm.key: [(values, fill(self.scale, arm, values, False)) for values in cells(self.claim, self.scale, arm)] for arm in self._free
        }
        return {key: each for key, each in found.items() if len(each) > 1}

    def choices(self) -> dict[str, Choice]:
        """Return the cell of each arm with the best mean score; cells with a non-finite loss are excluded. Raises UsageError."""
        searched, chosen = self.searched(), {}
        for arm in self._free:
            if arm.key not in searched:
                (values,) = cells(self.claim, self.scale, arm)
                chosen[arm.key] = Choice(values, {})
                continue
            scores = {
                ", ".join(values.values()): float(read(self.place(made).path).area.mean()) if self.place(made).is_done else -np.inf
                for values, made in ((values, experiment(said)) for values, said in searched[arm.key])
            }
            best = int(np.argmax(list(scores.values())))
            if not np.isfinite(list(scores.values())[best]):
                raise UsageError(f"claim {self.number}: no selection run of {arm.key} has finished in {self.folder}")
            chosen[arm.key] = Choice(searched[arm.key][best][0], scores)
        return chosen | {arm.key: Choice(chosen[arm.like].values, {}) for arm in self.claim.arms if arm.like}

    def reported(self, choices: Mapping[str, Choice]) -> Mapping[str, Said]:
        """Return arm -> reported run. An arm that needs another arm's record is left out until that run is done."""
        said = {arm.key: fill(self.scale, arm, choices[arm.key].values, True) for arm in self.claim.arms if not _needs_record(arm)}
        for arm in self.claim.arms:
            if _needs_record(arm) and self.place(original := experiment(said[arm.like])).is_done:
                values = {**choices[arm.key].values, **recorded(original, self.place(original))}
                said[arm.key] = fill(self.scale, arm, values, True)
        return said

    def results(self, choices: Mapping[str, Choice]) -> dict[str, Result]:
        """Return arm -> its scores, in the claim's order. Raises UsageError if a run is unfinished."""
        said = self.reported(choices)
        for arm in self.claim.arms:
            if arm.key not in said or not self.place(experiment(said[arm.key])).is_done:
                raise UsageError(f"claim {self.number}: the reported run of {arm.key} has not finished in {self.folder}")
        return {arm.key: read(self.place(experiment(said[arm.key])).path) for arm in self.claim.arms}

    @property
    def _free(self) -> list[Arm]:
        return [arm for arm in self.claim.arms if not arm.like]


def _needs_record(arm: Arm) -> bool:
    return bool(RECORD & placeholders(arm.words))


def recorded(made: Experiment, run: RunFolder) -> Values:
    """Return the ratios of initial to current norm of a run's hidden weights, as words: by layer, and their geometric mean."""
    updates, lengths = record(run.path)
    born = born_lengths(made)
    factors = {layer: [1.0, *(length / each for each in lengths[layer])] for layer, length in born.items() if layer in lengths}
    common = np.exp(np.mean([np.log(each) for each in factors.values()], axis=0))
    return {
        "moments": "+".join(map(str, [0, *updates])),
        "factors": "+".join(f"{factor:.5g}" for factor in common),
        "layer_factors": "+".join(f"{factor:.5g}" for each in factors.values() for factor in each),
    }


def born_lengths(made: Experiment) -> dict[str, float]:
    """Return each layer's weight norm before the first update, mean over members."""
    from plasticity_rl.interventions import assemble
    from plasticity_rl.metrics.norms import weight_norm
    from plasticity_rl.training.learner import Learner
    from plasticity_rl.training.lift import lift

    network, optimizer = assemble(made.network, made.optimizer, made.chain, made.benchmark.inputs, made.agent.heads(made.benchmark))
    learner = Learner(network, lambda params, batch: None, optimizer, made.chain, made.members, made.seed, compile=False)  # type: ignore[arg-type, return-value]
    lengths = lift(lambda params: weight_norm(params, network.layers))(learner.net.params)
    return {layer: float(length.mean()) for layer, length in lengths.items()}


def carry_out(trial: Trial, how: Execution) -> int:
    """Train a claim's missing runs; returns the exit code. Adds the time taken to the recorded time."""
    began, earlier = time.monotonic(), _spent(trial)["seconds"] if trial.spent.exists() else 0.0

    def sweep(said: Sequence[Said]) -> int:
        different = list({experiment(each).key: each for each in said}.values())
        return run_sweep(different, Store(trial.folder.parent, trial.folder.name), how)

    try:
        sweep([said for each in trial.searched().values() for _, said in each])  # a cell with a non-finite loss is excluded
        choices = trial.choices()
        failed = 0
        for _ in range(2):  # the second pass has the arms that need a record
            failed = sweep(list(trial.reported(choices).values())) or failed
    finally:
        if trial.folder.exists():
            _note_time(trial, earlier, time.monotonic() - began, how.device)
    return failed


def _spent(trial: Trial) -> dict[str, Any]:
    """Read the recorded time of a claim. Raises UsageError if the file cannot be read."""
    try:
        spent = parse_json(trial.spent.read_text("utf-8"))
        return {"seconds": float(spent["seconds"]), "machine": str(spent["machine"]), "load": float(spent["load"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{trial.spent} cannot be read, so the time spent is unknown; remove it to count from zero") from error


def _note_time(trial: Trial, earlier: float, seconds: float, device: str) -> None:
    """Add a session's time to the recorded time."""
    spent = {"seconds": earlier + seconds, "machine": machine(device)["machine"], "load": os.getloadavg()[2]}
    write_json(trial.spent, spent)


def trials(numbers: Sequence[int], scale: str, runs: Path) -> list[Trial]:
    """Return the claims of these numbers, or all. Raises UsageError for an unknown number or an invalid folder."""
    known = load_claims()
    Store(runs, f"claims-{scale}").run("")
    for number in numbers:
        choose("claim", str(number), map(str, known))
    return [Trial(number, known[number], scale, runs / f"claims-{scale}") for number in numbers or known]


def run_claims(numbers: Sequence[int], scale: str, runs: Path, out: Path | None, how: Execution) -> int:
    """Test claims, then write the page of all that have run. Returns exit code 0, or that of the last failure."""
    asked, folder = trials(numbers, scale, runs), out or runs / f"claims-{scale}"
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
    page = write_page([entry(trial) for trial in trials((), scale, runs)], folder, scale)
    for number, verdict in page.verdicts.items():
        console.print(f"claim {number}: {verdict}", soft_wrap=True)
    console.print(f"\n{page.path}", soft_wrap=True)
    return failure


def _largest(trial: Trial) -> list[Experiment]:
    """Return the unfinished reported run of each arm that needs no record, with the values of its first cell."""
    arms = [(arm, next(cells(trial.claim, trial.scale, arm))) for arm in trial.claim.arms if not _needs_record(arm)]
    made = [experiment(fill(trial.scale, arm, values, True)) for arm, values in arms]
    return [each for each in made if not trial.place(each).is_done]


def entry(trial: Trial) -> Entry:
    """Return a claim's entry on the page; without results if its runs are missing or unfinished."""
    claim = trial.claim
    arms = {arm.key: (arm.panel, arm.name) for arm in claim.arms}
    said = Entry(trial.number, claim.title, claim.says, claim.paper, claim.notes, claim.shows, claim.score, arms)
    if not trial.spent.exists():
        return said
    try:
        choices = trial.choices()
        results = trial.results(choices)
        spent = _spent(trial)
    except UsageError as error:
        return replace(said, missing=f"{error}.")
    where = f"{spent['machine']}, load {spent['load']:.1f}"
    shown = dict(members=trial.scale.members, selectors=_selectors(trial), seconds=spent["seconds"], where=where)
    return replace(said, results=results, choices=choices, **shown)


def _selectors(trial: Trial) -> str:
    runs = {experiment(said).key for each in trial.searched().values() for _, said in each}
    reported, selected = trial.scale.reported, trial.scale.selected
    part = " and ".join(f"{value} of {reported[name]} {name}" for name, value in selected.items() if value != reported[name])
    return f"Chosen by {count(len(runs), 'run')} of {SELECTORS} other members on {part}." if runs else "Nothing was chosen."


def print_claims(numbers: Sequence[int], scale: str, runs: Path) -> None:
    """Print the missing runs."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for heading in ("", "claim", "arms", "choosing", "done", "reported", "updates each"):
        table.add_column(heading, justify="left" if heading == "claim" else "right", no_wrap=heading != "claim")
    for trial in trials(numbers, scale, runs):
        searching = {experiment(said).key for each in trial.searched().values() for _, said in each}
        done = sum(RunFolder(trial.folder / key).is_done for key in searching)
        arm = trial.claim.arms[0]
        whole = experiment(fill(trial.scale, arm, next(cells(trial.claim, trial.scale, arm)), True))
        table.add_row(
            str(trial.number),
            trial.claim.title,
            str(len(trial.claim.arms)),
            f"{len(searching)} x {SELECTORS}",
            str(done),
            f"{len(trial.claim.arms)} x {trial.scale.members}",
            f"{sum(visit.budget for visit in whole.benchmark.visits()):,}",
        )
    Console().print(table)
