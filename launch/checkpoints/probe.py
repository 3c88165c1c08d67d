"""Trainability of a run's checkpoint: copies of its networks compared with untrained ones, as a table and a CSV file in the run."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agents.acting.random_streams import RandomStreams
from agents.base import ReplayAgent
from agents.diagnostics.probing import FUNCTIONS, SEEN, TARGETS, TASKS, Batches, Probing, seen_of_replay, seen_of_stream
from agents.loops.replay import make_replay
from analysis.format import number, with_interval
from analysis.statistics.intervals import Estimate, estimate, mean
from envs.reinforcement.base import ReinforcementBenchmark
from launch.checkpoints.play import find_checkpoint
from launch.execution import Execution
from launch.run.runner import THREADS
from plasticity_rl.checks import UsageError, choose
from plasticity_rl.experiment import Experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.records import checkpoint
from plasticity_rl.records.events import Snapshot
from plasticity_rl.records.folder import RunFolder
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.probes import Outcome
from plasticity_rl.training.update import Batch

COLUMNS = ("checkpoint", "updates", "functions", "target", "member", *Outcome._fields)


def probe(run: RunFolder, number: int | None, targets: Sequence[str], updates: int, functions: int, how: Execution) -> dict[str, Outcome]:
    """Probe checkpoint `number` of a run, or the newest complete one; print the result and write it to RUN/probes/NUMBER.csv.

    Raises UsageError, before anything is written, if the run cannot be probed.
    """
    for name, value, high in (("updates", updates, 10_000_000), ("functions", functions, 1000)):
        if not 1 <= value <= high:
            raise UsageError(f"{name} must lie in [1, {high}], not {value}")
    for target in targets:
        choose("target", target, TARGETS)
    experiment = Experiment.from_json(run.read_spec().experiment)
    place = find_checkpoint(run, number)
    torch.set_num_threads(THREADS)  # dozens of networks are enough work for all threads
    torch.set_flush_denormal(True)  # as in the run
    snapshot = checkpoint.read(place)
    learner = read_learner(experiment, snapshot, how.device)
    visit = learner.ticks["task"]
    chosen = targets or tuple(target for target in TARGETS if target != "scaled")
    console, found = Console(highlight=False), Probing(learner, experiment, updates, targets or None, functions, not how.eager)
    columns = BarColumn(), TextColumn("{task.completed:,} of {task.total:,} updates"), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:

        def watch(batches: Batches) -> Batches:
            row = bar.add_task("", total=updates)

            def watched(update: int) -> Batch:
                bar.advance(row)
                return batches(update)

            return watched

        outcomes = found.outcomes(visit, observations(experiment, snapshot, learner), watch)
    if not outcomes:
        raise UsageError(f"checkpoint {int(place.name)} of {run} has no {' and no '.join(chosen)} task to probe")
    run.refuse_links()
    table = run.probes / f"{place.name}.csv"
    write(table, int(place.name), updates, functions, outcomes)
    task = experiment.benchmark.visits()[visit].task
    console.print(f"checkpoint {int(place.name)}, in visit {visit} ({task}): losses in {updates:,} updates", soft_wrap=True)
    console.print(summary(outcomes))
    console.print("Above 1, the run's networks learn less than untrained ones; 95% t intervals over members.", soft_wrap=True)
    absent = [task for task in TASKS if task in chosen and task not in outcomes]
    if absent:
        told = "it is the last visit" if experiment.benchmark.supervision == "labels" else "a game's data must be played for"
        console.print(f"not probed: {' and '.join(absent)} task ({told})")
    console.print(str(table), soft_wrap=True)
    return outcomes


def read_learner(experiment: Experiment, snapshot: Snapshot, device: str) -> Learner:
    """Restore the checkpoint's learner, which is never trained. Raises UsageError if the checkpoint is of another network."""
    benchmark = experiment.benchmark
    network, optimizer = assemble(
        experiment.network, experiment.optimizer, experiment.chain, benchmark.inputs, experiment.agent.heads(benchmark)
    )
    learner = Learner(network, _none, optimizer, experiment.chain, experiment.members, experiment.seed, device, compile=False)
    try:
        learner.load(snapshot.tensors, snapshot.counters["ticks"])
    except (KeyError, RuntimeError) as error:
        raise UsageError("the checkpoint was written by other code: its network differs from the one built here") from error
    return learner


def observations(experiment: Experiment, snapshot: Snapshot, learner: Learner) -> torch.Tensor:
    """Return the run's latest observations (S, n, *shape): from its stream, its replay, its last rollout if the run had probes, or else the
    last training batch."""
    benchmark, agent, visit = experiment.benchmark, experiment.agent, learner.ticks["task"]
    if benchmark.supervision == "labels":
        begun = sum(each.budget for each in benchmark.visits()[:visit])
        return seen_of_stream(experiment, learner.device, visit, learner.ticks["update"] - begun)
    if snapshot.counters.get("written", 0) > 1:
        replay = make_replay(cast(ReplayAgent, agent), cast(ReinforcementBenchmark, benchmark), learner.members, learner.device)
        replay.load(snapshot.tensors, snapshot.counters["written"])
        streams = RandomStreams(experiment.seed, learner.members, learner.device)
        return seen_of_replay(replay, streams, learner.ticks["update"], learner.network)
    if SEEN in snapshot.tensors:
        return snapshot.tensors[SEEN].to(learner.device)
    if learner.inputs is None:
        raise UsageError("nothing was learned yet at this checkpoint: there are no observations to probe with")
    return learner.inputs


def write(path: Path, number: int, updates: int, functions: int, outcomes: dict[str, Outcome]) -> None:
    """Write a row for each target and member; overwrites earlier results of the checkpoint."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for target, outcome in outcomes.items():
        drawn = functions if target in FUNCTIONS else 1
        for member, losses in enumerate(zip(*(part.tolist() for part in outcome), strict=True)):
            writer.writerow((number, updates, drawn, target, member, *losses))
    path.parent.mkdir(exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(text.getvalue(), encoding="utf-8")
    os.replace(beside, path)


def summary(outcomes: dict[str, Outcome]) -> Table:
    """Make a table of the mean losses over members, and their ratios."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for heading in ("target", "loss"):
        table.add_column(heading, no_wrap=True)
    for heading in ("the run's", "untrained", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for target, outcome in outcomes.items():
        for name, own, fresh in (("final", outcome.final, outcome.fresh_final), ("mean", outcome.mean, outcome.fresh_mean)):
            pair = [losses.cpu().double().numpy()[:, None] for losses in (own, fresh)]
            levels = (number(estimate(mean, losses).value) for losses in pair)
            table.add_row(target if name == "final" else "", name, *levels, _cell(estimate(_ratio, *pair, denominator=pair[1])))
    return table


def _ratio(own: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Ratio of means over members. (..., members, 1) twice -> (...)."""
    return mean(own) / mean(fresh)


def _cell(found: Estimate) -> str:
    lacking = f" ({found.members} of {found.of})" if found.members < found.of else ""
    return escape(with_interval(found)) + lacking


def _none(*_: object) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    raise AssertionError("this learner only stands there")
