"""Compare two chains under one setting, in the terminal: is B better than A, by how much, and with what confidence?"""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from analysis.data.comparable import Run, differing
from analysis.data.load import load
from analysis.format import chance, count, number, numbered, parts, share
from analysis.report.sections import section
from analysis.report.tables import cell
from analysis.scores.matrix import ENOUGH_MEMBERS
from analysis.scores.setting import Setting
from analysis.scores.verdict import first_and_last
from analysis.statistics.comparisons import Lead, lead
from analysis.statistics.intervals import METHOD, Estimate, estimate, mean
from analysis.statistics.power import CHANCE, visible_errors
from plasticity_rl.checks import UsageError, choose
from plasticity_rl.records.folder import read_specs


class Side(NamedTuple):
    """One chain under one setting."""

    name: str
    """as requested"""
    setting: Setting
    missing: tuple[str, ...]
    banner: str

    @property
    def runs(self) -> tuple[Run, ...]:
        return self.setting.runs

    @property
    def shown(self) -> np.ndarray:
        """(members, visits)"""
        return self.setting.shown(self.setting.chains[0].area)


class Answer(NamedTuple):
    """The comparison under one setting."""

    a: Side
    b: Side
    leads: dict[str, tuple[Estimate, Estimate, Lead]]
    """range of visits -> A's score, B's score, B's lead over A; the first decides"""
    note: str
    """method of comparison"""

    @property
    def sentence(self) -> str:
        """The verdict in one sentence, with its interval."""
        visits, (before, after, found) = next(iter(self.leads.items()))
        if not found.difference.defined:
            return f"Undecided: {found.difference.note}."
        ahead, way = found.difference, "more" if found.difference.value >= 0 else "less"
        scores = f"over {visits} {self.b.name} scores {number(after.value)} and {self.a.name} {number(before.value)}"
        value, interval = parts(_flipped(ahead) if way == "less" else ahead)
        told = f"{scores}, {value} {way} {interval or f'({ahead.note})'}"
        low, high = _limits(ahead)
        smallest = ahead.members if found.paired else min(before.members, after.members)
        if smallest < ENOUGH_MEMBERS:
            return f"Undecided with {count(smallest, 'member')}, minimum {ENOUGH_MEMBERS}: {told}."
        if low > 0:
            return f"Yes: {told}."
        return f"No, it is worse: {told}." if high < 0 else f"Undecided, the difference may be chance: {told}."


def compare(a: str, b: str, folder: Path) -> None:
    """Print the answer for two runs, or two chains of runs below `folder`. Raises UsageError if they cannot be compared."""
    console = Console(highlight=False)
    for index, found in enumerate(answers(a, b, folder)):
        table = Table(box=None, padding=(0, 2), pad_edge=False)
        for heading in ("", found.a.name, found.b.name, "difference", "p"):
            table.add_column(heading, justify="right" if heading else "left")
        for visits, (before, after, ahead) in found.leads.items():
            cells = [cell(each) for each in (before, after, ahead.difference)]
            texts = [f"{each.value}\n{each.interval.replace(', ', ',')}".strip() for each in cells]
            table.add_row(visits, *texts, chance(ahead.p) if np.isfinite(ahead.p) else "")
        lines: list[Any] = [""] if index else []
        lines += [f"{found.b.setting.spec.benchmark}: is {found.b.name} better than {found.a.name}?", "", found.sentence, "", table, ""]
        lines += [found.note, *([found.a.banner] if found.a.banner else [])]
        missing = dict.fromkeys(found.a.missing + found.b.missing)
        lines += ["Missing:", *(f"- {line}" for line in missing)] if missing else []
        for line in lines:
            console.print(line, markup=False, soft_wrap=isinstance(line, str))


def answers(a: str, b: str, folder: Path) -> list[Answer]:
    """One answer per common setting."""
    before, after = _sides(a, folder), _sides(b, folder)
    same = {run.spec.key for side in before.values() for run in side.runs} & {run.spec.key for side in after.values() for run in side.runs}
    if same:
        raise UsageError(f"{a} and {b} have a run in common ({min(same)}): name two different ones")
    if shared := [key for key in before if key in after]:
        return [_answer(before[key], after[key]) for key in shared]
    one, other = next(iter(before.values())), next(iter(after.values()))
    raise UsageError(f"{a} and {b} cannot be compared: {differing(one.runs[0].spec, other.runs[0].spec)}")


def _sides(word: str, folder: Path) -> dict[str, Side]:
    """setting -> side, for a word that is a folder with runs of one chain or a chain's label."""
    broken: list[str] = []
    if Path(word).is_dir():
        folders = [Path(word)]
    elif "/" in word and not folder.is_dir():
        raise UsageError(f"no such folder: {word}")
    else:
        if not folder.is_dir():
            raise UsageError(f"{word} is neither a folder nor a chain: there is no folder of runs {folder}")
        specs, unreadable = read_specs(folder)
        broken = [f"a run is left out: {why}" for why in unreadable.values()]
        try:
            choose(f"folder or chain of the runs in {folder}", word, {spec.label for spec in specs.values()})
        except UsageError as error:
            raise UsageError("; ".join([str(error), *broken])) from None
        folders = [run.path for run, spec in specs.items() if spec.label == word]
    loaded = load(folders)
    chains = sorted({run.spec.label for run in loaded.runs})
    if len(chains) > 1:
        raise UsageError(f"{word} holds {len(chains)} chains ({', '.join(chains)}): name two of them, with {shlex.join(['--runs', word])}")
    found: dict[str, Side] = {}
    for key in dict.fromkeys(run.spec.setting for run in loaded.runs):
        part = section(loaded, key, alone=True)
        lines = [line for line in loaded.lacking(key) if not line.startswith(("no fresh control", "no own control"))]
        found[key] = Side(word, part.setting, (*broken, *lines, *part.setting.missing), part.banner)
    return found


def _answer(a: Side, b: Side) -> Answer:
    if not a.setting.comparable:
        raise UsageError(
            f"{a.name} and {b.name} cannot be compared over visits: their tasks share no scale, as no reference scores are known"
        )
    shared, unsure = _counterparts(a, b)
    paired = len(shared) > 1
    before, after = a.shown, b.shown
    if paired:
        before = before[[a.setting.pairs.index(pair) for pair in shared]]
        after = after[[b.setting.pairs.index(pair) for pair in shared]]
    last, every = first_and_last(a.setting)[1], list(range(len(a.setting.tasks)))
    spans = {numbered("visit", last): last, "all visits": every}
    if last == every:
        del spans["all visits"]
    leads = {
        name: (
            estimate(mean, before[:, visits]),
            estimate(mean, after[:, visits]),
            lead(b.name, after[:, visits], a.name, before[:, visits], paired),
        )
        for name, visits in spans.items()
    }
    found = next(iter(leads.values()))
    return Answer(a, b, leads, _note(a, b, found, len(shared) if paired else 0, unsure))


def _counterparts(a: Side, b: Side) -> tuple[list[tuple[int, int]], str]:
    """(seed, member) pairs with the same data in both; and why it is unknown for other pairs of the same seeds."""
    others, shared, unsure = {run.spec.seed: run for run in b.runs}, [], ""
    for run in a.runs:
        other = others.get(run.spec.seed)
        if other is None:
            continue
        if run.spec.members != other.spec.members:
            unsure = (
                f"seed {run.spec.seed} has {run.spec.members} and {other.spec.members} members: whether they met the same data is not known"
            )
        elif run.spec.fingerprint != other.spec.fingerprint:
            raise UsageError(
                f"{run.folder} and {other.folder} claim the same setting and seed but met different data; leave one of them out"
            )
        else:
            shared += run.pairs
    return shared, unsure


def _note(a: Side, b: Side, found: tuple[Estimate, Estimate, Lead], shared: int, unsure: str) -> str:
    """The method of comparison, and the reliability of its interval and test."""
    before, after, ahead = found
    parts: list[str] = []
    if ahead.paired:
        members = ahead.difference.members
        parts.append(f"Paired: {count(members, 'member')} of the same seeds on the same data")
        if members:
            parts[-1] += f"; {share(ahead.improvement)} of them score more with {b.name} than with {a.name}"
        alone = len(a.setting.pairs) + len(b.setting.pairs) - 2 * shared
        if alone:
            parts.append(f"Left out: {count(alone, 'member')} without a counterpart")
    else:
        reason = unsure or "no two members of the same seeds"
        parts.append(f"Unpaired ({reason}): {before.members} against {count(after.members, 'member')}, less precise than pairs")
        if np.isfinite(ahead.improvement):
            parts.append(f"A member with {b.name} outscores one with {a.name} in {share(ahead.improvement)} of all pairs")
    if ahead.difference.error is not None:
        test = "the paired t test's" if ahead.paired else "Welch's, as is the interval of the difference"
        parts.append(f"Intervals are 95% {METHOD}; p is {test}. One comparison is decided, so nothing is corrected")
        seen = ahead.difference.error * visible_errors(ahead.difference.freedom)
        parts.append(f"With such a spread, a true difference of {number(seen)} is seen with {share(CHANCE)} chance")
    return ". ".join(parts) + "."


def _limits(found: Estimate) -> tuple[float, float]:
    """The interval; the value itself if members do not differ."""
    return (found.value, found.value) if found.low is None or found.high is None else (found.low, found.high)


def _flipped(found: Estimate) -> Estimate:
    """The estimate, sign flipped."""
    low, high = (None if end is None else -end for end in (found.high, found.low))
    return replace(found, value=-found.value, low=low, high=high)
