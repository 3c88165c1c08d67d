"""Runs of one kind trained as one, in this process; each writes its own folder, as if it were alone."""

import math
from collections.abc import Hashable, Sequence
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from agents.loops.grouping import kind
from analysis.format import count
from launch.execution import Execution
from launch.run import runner
from launch.run.progress import Display
from launch.run.store import Destination
from launch.signals import Signals, Stopped
from plasticity_rl.experiment import Experiment
from plasticity_rl.records import checkpoint
from plasticity_rl.records.folder import Score, Tick, write_json


def groups(experiments: Sequence[Experiment], to: Destination, at_once: int) -> list[list[Experiment]]:
    """Which runs are trained as one: those of one kind that are equally far, about `at_once` members together at most, in equal shares."""
    alike: dict[Hashable, list[Experiment]] = {}
    for each in experiments:
        same = kind(each)
        alike.setdefault(each.key if same is None else (same, _updates(to.folder(each.key))), []).append(each)
    return [group for runs in alike.values() for group in _shares(runs, at_once)]


def _updates(folder: Path) -> int:
    """After how many updates a run would be resumed."""
    snapshot, _ = checkpoint.load_latest(folder / "checkpoints")
    return snapshot.facts["number"] if snapshot else 0


def _shares(runs: list[Experiment], at_once: int) -> list[list[Experiment]]:
    total = sum(each.members for each in runs)
    parts, before = math.ceil(total / at_once), 0
    shares: dict[int, list[Experiment]] = {}
    for each in runs:
        shares.setdefault(before * parts // total, []).append(each)
        before += each.members
    return list(shares.values())


def run_together(experiments: Sequence[Experiment], to: Destination, how: Execution) -> list[tuple[Path, FloatingPointError | None]]:
    """Carry out a group of `groups`: the folder of each, and what ended it before its time. The others go on meanwhile.

    Raises what `runner.run` does, but for FloatingPointError.
    """
    specs = [runner.describe(each) for each in experiments]
    folders = [to.folder(spec.key) for spec in specs]
    contexts = [
        runner.made_by(spec, not how.eager) | runner.refuse_to_resume(folder, spec, how.other_code)
        for spec, folder in zip(specs, folders, strict=True)
    ]
    failures: dict[int, FloatingPointError] = {}
    members = [spec.members for spec in specs]
    with ExitStack() as stack:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(FileLock(folder / ".lock", timeout=0))
            except Timeout as error:
                raise runner.FolderTaken(f"{folder} is being written by another process") from error
        recorders = [runner.Recorder(spec, to) for spec in specs]
        resumes = [recorder.resume for recorder in recorders if recorder.resume]
        if len(resumes) not in (0, len(specs)) or len({resume.facts["number"] for resume in resumes}) > 1:
            raise runner.FolderTaken(f"runs in {to.root / to.name} were gone on with meanwhile by another process")
        runner.prepare(experiments[0], how.device, members=sum(members))
        where = runner.machine(how.device) | {"together": {"runs": len(specs), "members": sum(members)}}
        for folder, context in zip(folders, contexts, strict=True):
            write_json(folder / "context.json", context | where)
        for recorder in recorders:
            stack.enter_context(recorder)
        signals = stack.enter_context(Signals())
        label = f"{specs[0].label} and {count(len(specs) - 1, 'more run')} as one"
        display = stack.enter_context(Display(specs[0]._replace(label=label, members=sum(members))))
        shown = -1
        for place, event in experiments[0].agent.train_together(experiments, how.device, not how.eager, resumes or None):
            if place in failures:
                continue
            try:
                if isinstance(event, FloatingPointError):
                    raise event
                recorders[place].take(event)
            except FloatingPointError as error:
                failures[place] = error
                recorders[place].fail(error)
                continue
            if isinstance(event, Score):
                display.score(event._replace(member=sum(members[:place]) + event.member))
            elif isinstance(event, Tick) and event.updates != shown:
                display.tick(event)
                shown = event.updates
            if signals.caught:
                message = f"stopped; the same command resumes {count(len(specs), 'run')} in {to.root / to.name} from their last checkpoints"
                raise Stopped(signals.caught, message)
        for place, recorder in enumerate(recorders):
            if place not in failures:
                recorder.finish()
    return [(folder, failures.get(place)) for place, folder in enumerate(folders)]
