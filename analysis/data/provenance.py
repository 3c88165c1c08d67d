"""Provenance: the hash of every run used, machines and versions, and the choice of hyper-parameters."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from analysis.data.comparable import Run, part_fields
from plasticity_rl.files import read_text

CHOICE = "hyperparameters.txt"
"""file beside the folders of runs that describes how their hyper-parameters were chosen"""
NOT_RECORDED = f"not recorded; {CHOICE} beside the folders of the runs can say it"


class Origin(NamedTuple):
    """One run as it was read."""

    run: Run
    digest: str
    """64 hexadecimal digits: SHA-256 of the names and contents of its files"""


def origins(runs: Iterable[Run]) -> tuple[Origin, ...]:
    """Each run with the hash of its files."""
    return tuple(Origin(run, _digest(run)) for run in runs)


def _digest(run: Run) -> str:
    digest = hashlib.sha256()
    for path in run.folder.records:
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def choices(runs: Iterable[Run]) -> str:
    """The choice of hyper-parameters, as documented in files beside the runs."""
    found: dict[str, None] = {}
    for folder in dict.fromkeys(run.folder.path.parent for run in runs):
        text = read_text(folder / CHOICE) if (folder / CHOICE).exists() else ""
        found[" ".join(text.split()) or NOT_RECORDED] = None
    return " | ".join(found)


def contexts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Machines and versions of the runs, from context.json, with all values if they differ."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, value in _flat({name: value for name, value in run.context.items() if name != "modules"}):
            found.setdefault(name, {})[value] = None
    return [(name, _joined(list(values))) for name, values in found.items()]


def _joined(values: list[str]) -> str:
    """The value of all runs, or up to four of those in which they differ."""
    differ = f"{len(values)} values among the runs: " if len(values) > 1 else ""
    return differ + " | ".join(values[:4]) + (" | ..." if len(values) > 4 else "")


def _flat(value: dict[str, Any], above: str = "") -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for name, inner in value.items():
        lines += _flat(inner, f"{above}{name}.") if isinstance(inner, dict) else [(above + name, str(inner))]
    return lines


def boundaries(run: Run) -> tuple[str, ...]:
    """The parts of a run's chain that are notified of task changes."""
    chain = run.spec.experiment.get("chain", [])
    return tuple(str(part[0]) for part in chain if part_fields(part).get("clock") == "task")


def told(run: Run) -> tuple[str, ...]:
    """Other parts that are notified of task changes, in every chain."""
    benchmark, agent, schedule = (part_fields(run.spec.experiment.get(name)) for name in ("benchmark", "agent", "schedule"))
    if not benchmark.get("told", True):
        return ()
    known = {
        "the replay is cleared": agent.get("replay_at_switch") == "clear",
        "each task has a head of its own": benchmark.get("heads") == "per-task",
        "the learning rate's schedule starts again": schedule.get("clock") == "visit",
    }
    return tuple(what for what, so in known.items() if so)
