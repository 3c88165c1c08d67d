"""Joint training of compatible runs in one process; each writes its own folder, as if trained alone."""

import math
from collections.abc import Hashable, Sequence
from contextlib import ExitStack
from typing import Any, cast

from agents.loops.grouping import group_key
from analysis.format import count
from launch.execution import Execution
from launch.run import runner
from launch.run.progress import Display
from launch.run.provenance import machine, made_by, refuse_to_resume
from launch.run.store import Store
from launch.run.writer import RunWriter
from launch.signals import LONGEST, Signals, Stopped
from plasticity_rl.experiment import Experiment
from plasticity_rl.records import checkpoint
from plasticity_rl.records.events import Dialogue, Score, Snapshot, Tick
from plasticity_rl.records.folder import FolderTaken, RunFolder, write_json


def groups(experiments: Sequence[Experiment], store: Store, at_once: int) -> list[list[Experiment]]:
    """Group runs of one kind with equal progress for joint training, in equal shares of at most about `at_once` members."""
    alike: dict[Hashable, list[Experiment]] = {}
    for each in experiments:
        same = group_key(each)
        alike.setdefault(each.key if same is None else (same, _updates(store.run(each.key))), []).append(each)
    return [group for runs in alike.values() for group in _shares(runs, at_once)]


def _updates(folder: RunFolder) -> int:
    """Return the number of updates after which a run would be resumed."""
    snapshot, _ = checkpoint.load_latest(folder.checkpoints)
    return snapshot.counters["number"] if snapshot else 0


def _shares(runs: list[Experiment], at_once: int) -> list[list[Experiment]]:
    total = sum(each.members for each in runs)
    parts, before = math.ceil(total / at_once), 0
    shares: dict[int, list[Experiment]] = {}
    for each in runs:
        shares.setdefault(before * parts // total, []).append(each)
        before += each.members
    return list(shares.values())


def run_together(experiments: Sequence[Experiment], store: Store, how: Execution) -> list[tuple[RunFolder, FloatingPointError | None]]:
    """Carry out a group of `groups`; returns each run's folder and the error that ended it early. The other runs continue.

    Raises the same errors as `runner.run`, except FloatingPointError.
    """
    specs = [runner.describe(each) for each in experiments]
    folders = [store.run(spec.key) for spec in specs]
    contexts = [
        made_by(spec, not how.eager) | refuse_to_resume(folder, spec, how.other_code) for spec, folder in zip(specs, folders, strict=True)
    ]
    failures: dict[int, FloatingPointError] = {}
    members = [spec.members for spec in specs]
    with ExitStack() as stack:
        for folder in folders:
            folder.path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(folder.lock())
        writers = [RunWriter(spec, store) for spec in specs]
        resumes = [writer.resume for writer in writers if writer.resume]
        if len(resumes) not in (0, len(specs)) or len({resume.counters["number"] for resume in resumes}) > 1:
            raise FolderTaken(f"runs in {store.path} were gone on with meanwhile by another process")
        runner.prepare(experiments[0], how.device, members=sum(members), deterministic=how.deterministic)
        where = machine(how.device) | {"together": {"runs": len(specs), "members": sum(members)}}
        for folder, context in zip(folders, contexts, strict=True):
            write_json(folder.context, context | where)
        for writer in writers:
            stack.enter_context(writer)
        signals = stack.enter_context(Signals())
        label = f"{specs[0].label} and {count(len(specs) - 1, 'more run')} as one"
        display = stack.enter_context(Display(specs[0]._replace(label=label, members=sum(members)), compiled=bool(contexts[0]["compiled"])))
        shown = -1
        saved: set[int] = set()
        talk = Dialogue(cast(Any, experiments[0].agent).train_group(experiments, how.device, not how.eager, resumes or None))
        for place, event in talk:
            if place in failures:
                continue
            try:
                if isinstance(event, FloatingPointError):
                    raise event
                writers[place].take(event)
            except FloatingPointError as error:
                failures[place] = error
                writers[place].fail(error)
                continue
            if isinstance(event, Score):
                display.score(event._replace(member=sum(members[:place]) + event.member))
            elif isinstance(event, Tick) and event.updates != shown:
                display.tick(event)
                shown = event.updates
            if signals.caught:
                saved |= {place} if talk.answer and isinstance(event, Snapshot) else set()
                whole = saved | failures.keys() == set(range(len(specs)))
                if whole or signals.waited >= LONGEST:
                    since = "from here" if whole else "from their last checkpoints"
                    message = f"stopped; the same command resumes {count(len(specs), 'run')} in {store.path} {since}"
                    raise Stopped(signals.caught, message)
                talk.answer = True
        if signals.caught:
            raise Stopped(signals.caught, f"stopped; the same command ends {count(len(specs), 'run')} in {store.path}")
        for place, writer in enumerate(writers):
            if place not in failures:
                writer.finish()
    return [(folder, failures.get(place)) for place, folder in enumerate(folders)]
