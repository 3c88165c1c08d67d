"""Comparability of runs: flaws that would make a comparison wrong are refused, those that only weaken it are reported.

Refused, because the correct run cannot be determined: a duplicate run, two runs of one chain and seed, one label for two chains, different
data under one setting and seed, different visits under one setting, two controls of one chain. Reported: a missing control, chains with
unequal seeds or members, several versions of the code.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from typing import Any, NamedTuple

from analysis.format import count, numbered
from plasticity_rl.checks import UsageError
from plasticity_rl.records.folder import RunFolder
from plasticity_rl.records.spec import Spec

OWN = ("chain", "seed", "members")
"""fields in which runs of one setting may differ"""


class Run(NamedTuple):
    """One run folder."""

    folder: RunFolder
    spec: Spec
    done: bool
    """True if the run is finished"""
    context: dict[str, Any]

    @property
    def name(self) -> str:
        """The run's name in messages."""
        return f"{self.spec.label}, seed {self.spec.seed}"

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(seed, member) of each of the run's members."""
        return [(self.spec.seed, member) for member in range(self.spec.members)]


class Missing(NamedTuple):
    """One line about missing data, for the reader of a report."""

    setting: str
    """the affected setting; empty if unknown"""
    what: str


def refuse_mixtures(runs: Sequence[Run]) -> None:
    """Raise UsageError if runs of the same setting are not comparable."""
    _refuse_pairs(runs, lambda run: run.spec.key, lambda run: str(run.folder), "the same run appears twice")
    _refuse_pairs(
        runs,
        lambda run: (run.spec.setting, run.spec.label, run.spec.seed),
        lambda run: str(run.folder),
        "two runs of one setting, chain and seed",
    )
    _refuse_pairs(
        runs,
        lambda run: (run.spec.setting, run.spec.label),
        lambda run: repr((run.spec.experiment.get("chain"), run.spec.fresh_control)),
        "one label for two different chains",
    )
    _refuse_pairs(
        runs,
        lambda run: (run.spec.setting, run.spec.seed, run.spec.members),
        lambda run: run.spec.fingerprint,
        "these claim the same setting, seed and members but met different data",
    )
    _refuse_pairs(
        runs,
        lambda run: run.spec.setting,
        lambda run: repr((run.spec.benchmark, run.spec.unit, run.spec.visits, sorted(run.spec.references.items()))),
        "these claim the same setting but differ in benchmark, visits, unit or references",
    )
    for setting, members in _by_setting(runs):
        for each, controls in _controls(members).items():
            if len(controls) > 1:
                which = "fresh controls" if each == "none" else f"controls of {each}"
                raise UsageError(f"setting {setting} has {len(controls)} {which} ({', '.join(controls)}); leave one of them out")


def _refuse_pairs(runs: Sequence[Run], same: Any, differing: Any, problem: str) -> None:
    """Raise UsageError for two runs that agree in `same` but not in `differing`."""
    first: dict[Any, Run] = {}
    for run in runs:
        other = first.setdefault(same(run), run)
        if differing(other) != differing(run):
            raise UsageError(f"{problem}: {other.folder} ({other.name}) and {run.folder} ({run.name}); leave one of them out")


def _controls(runs: Iterable[Run]) -> dict[str, list[str]]:
    """Label of a chain -> labels of its controls."""
    found: dict[str, set[str]] = {}
    for run in runs:
        if run.spec.fresh_control:
            found.setdefault(run.spec.control_of, set()).add(run.spec.label)
    return {label: sorted(controls) for label, controls in found.items()}


def _by_setting(runs: Iterable[Run]) -> list[tuple[str, list[Run]]]:
    ordered = sorted(runs, key=lambda run: run.spec.setting)
    return [(setting, list(members)) for setting, members in groupby(ordered, key=lambda run: run.spec.setting)]


def differing(one: Spec, other: Spec) -> str:
    """In what two settings differ, part by part."""
    found: list[str] = []
    for name in dict.fromkeys([*one.experiment, *other.experiment]):
        first, second = one.experiment.get(name), other.experiment.get(name)
        if name in OWN or first == second:
            continue
        kinds, our, their = {_word(first), _word(second)}, part_fields(first), part_fields(second)
        if len(kinds) == 1 and our != their:
            names = [each for each in dict.fromkeys([*our, *their]) if our.get(each) != their.get(each)]
            found += [f"{name}'s {each} is {our.get(each)} and {their.get(each)}" for each in names]
        else:
            found.append(f"{name} is {_word(first)} and {_word(second)}")
    return "; ".join(found) or f"their settings differ ({one.setting} and {other.setting})"


def told_apart(specs: Sequence[Spec]) -> list[str]:
    """A distinct name for each setting: its benchmark, and the values in which they differ."""
    described = [_flat(spec) for spec in specs]
    varied = [name for name in dict.fromkeys(chain(*described)) if len({repr(each.get(name)) for each in described}) > 1]
    varied = [
        name for name in varied if name.partition("'s ")[0] not in varied or "'s " not in name
    ]  # a different part differs in all fields
    return [
        f"{spec.benchmark} ({', '.join(f'{name} {each[name]}' for name in varied if name in each) or spec.setting[:8]})"
        for spec, each in zip(specs, described, strict=True)
    ]


def _flat(spec: Spec) -> dict[str, Any]:
    """The experiment's parts and fields as a flat dict, the benchmark's fields under their own names."""
    flat: dict[str, Any] = dict(part_fields(spec.experiment.get("benchmark")))
    for name, part in spec.experiment.items():
        if name not in (*OWN, "benchmark"):
            flat |= {name: _word(part)} | {f"{name}'s {field}": value for field, value in part_fields(part).items()}
    return flat


def part_fields(part: Any) -> dict[str, Any]:
    """The fields of a part of spec.json, [word, fields]."""
    return part[1] if isinstance(part, list) and len(part) == 2 and isinstance(part[1], dict) else {}


def _word(value: Any) -> str:
    return value[0].rpartition(".")[2] if isinstance(value, list) and value and isinstance(value[0], str) else str(value)


def unequal(runs: Sequence[Run]) -> list[Missing]:
    """Weaknesses in comparing these runs, except those in their rows."""
    missing: list[Missing] = []
    for setting, members in _by_setting(runs):
        controls = _controls(members)
        if "none" not in controls:
            missing.append(Missing(setting, "no fresh control: performance is not defined"))
        chains = sorted({run.spec.label for run in members if not run.spec.fresh_control} - {*controls, "none"})
        if chains and not any(run.spec.tasks_alike for run in members):
            what = f"no own control of {', '.join(chains)}: plasticity kept is not defined"
            missing.append(Missing(setting, f"{what}; --own-control trains each chain with a reset at every visit"))
        everything = {pair for run in members for pair in run.pairs}
        for label in sorted({run.spec.label for run in members}):
            lacking = everything - {pair for run in members if run.spec.label == label for pair in run.pairs}
            for seed in sorted({seed for seed, _ in lacking}):
                absent = [member for lacking_seed, member in sorted(lacking) if lacking_seed == seed]
                missing.append(Missing(setting, f"{label}: no {numbered('member', absent)} of seed {seed}, which other chains have"))
        for seed in sorted({run.spec.seed for run in members}):
            sizes = sorted({run.spec.members for run in members if run.spec.seed == seed})
            if len(sizes) > 1:
                shown = " and ".join(map(str, sizes))
                missing.append(Missing(setting, f"seed {seed} has runs of {shown} members: that they met the same data cannot be checked"))
        if differing := _code_differences(members):
            missing.append(Missing(setting, differing))
    return missing


def _code_differences(runs: Sequence[Run]) -> str:
    """Modules of the code in which runs differ, among those that two of them import; empty if there are none."""
    recorded = [modules for run in runs if isinstance(modules := run.context.get("modules"), dict)]
    if len(recorded) < len(runs):
        versions = sorted({str(run.context.get("code", "unknown")) for run in runs})
        return f"the runs were made by {len(versions)} versions of the code: {', '.join(versions)}" if len(versions) > 1 else ""
    digests: dict[str, set[str]] = {}
    for name, digest in (pair for each in recorded for pair in each.items()):
        digests.setdefault(name, set()).add(digest)
    differing = sorted(name for name, found in digests.items() if len(found) > 1)
    more = f" and {count(len(differing) - 3, 'other module')}" if len(differing) > 3 else ""
    return f"the runs were made by different code: {', '.join(differing[:3])}{more}" if differing else ""
