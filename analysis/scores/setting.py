"""Scores per member and visit: the area under the visit's curve.

The area is the mean of the visit's curve (curves.py), in the unit of the score, independent of the number of episodes. An unfinished visit
has no score, as its budget would be smaller. A visit is finished if its rows reach its end: the row of the last updates does, and so do the
rows of episodes cut by the visit's end.
"""

from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import pandas as pd

from analysis.data.comparable import Run
from analysis.data.load import MEASURED, Loaded
from analysis.format import numbered
from analysis.scores.curves import empty_windows, online_curve, return_curve
from plasticity_rl.checks import UsageError
from plasticity_rl.records.spec import Spec

WINDOWS = 10


@dataclass(frozen=True, eq=False)
class ChainScores:
    """Scores of one chain. Row i of every chain of a setting is the same (seed, member), with the same data."""

    label: str
    control_of: str
    """label of the chain whose control it is, as it starts over at every visit; empty if it is none"""
    curve: np.ndarray
    """(members, visits, windows); NaN where missing"""
    area: np.ndarray = field(init=False)
    """(members, visits): mean of the curve over its finite windows, NaN without one"""

    def __post_init__(self) -> None:
        there = np.isfinite(self.curve)
        count = there.sum(axis=-1)
        total = np.where(there, self.curve, 0.0).sum(axis=-1)
        object.__setattr__(self, "area", np.where(count > 0, total / np.maximum(count, 1), np.nan))

    @property
    def fresh_control(self) -> bool:
        """True if it starts over at every visit."""
        return bool(self.control_of)


@dataclass(frozen=True, eq=False)
class Setting:
    """All scores under one setting, in which chains are comparable."""

    spec: Spec
    """the first run's, for what all runs share: visits, unit, references, benchmark"""
    runs: tuple[Run, ...]
    kind: str
    """`online`, `test` or `return`"""
    pairs: tuple[tuple[int, int], ...]
    """(seed, member) of each row of every chain's matrices"""
    chains: tuple[ChainScores, ...]
    """`none` first, controls last, the others by label"""
    edges: np.ndarray
    """(visits + 1,): start and end of each visit, in the benchmark's unit"""
    floor: np.ndarray
    """(visits,): score without learning: the random score if known, else 0"""
    span: np.ndarray
    """(visits,): human score less random score; NaN if unknown"""
    missing: tuple[str, ...]

    @property
    def control(self) -> ChainScores | None:
        """The fresh control, which has no other intervention."""
        return self.control_of("none")

    def control_of(self, label: str) -> ChainScores | None:
        """The control of a chain: the same chain, reset at every visit."""
        return next((chain for chain in self.chains if chain.control_of == label), None)

    @property
    def rivals(self) -> list[ChainScores]:
        """The chains to choose from: all but controls."""
        return [chain for chain in self.chains if not chain.fresh_control]

    @property
    def compared(self) -> list[ChainScores]:
        """The chains to choose from, then the fresh control if there is one."""
        return [*self.rivals, *filter(None, [self.control])]

    @property
    def tasks_alike(self) -> bool:
        """True if an untrained agent learns every visit as well as the first."""
        return any(run.spec.tasks_alike for run in self.runs)

    @property
    def tasks(self) -> list[str]:
        """The task of each visit, in order."""
        return [visit["task"] for visit in self.spec.visits]

    @property
    def quantity(self) -> str:
        """The quantity whose mean an `online` or `test` score is."""
        _, agent = self.spec.experiment.get("agent", ["", {}])
        return "accuracy" if agent.get("objective", "cross-entropy") == "cross-entropy" else "explained variance"

    @property
    def normalised(self) -> bool:
        """True if scores are shown human-normalised, as returns are if random and human scores are known for every task."""
        return self.kind == "return" and bool(np.isfinite(self.span).all())

    @property
    def comparable(self) -> bool:
        """True if the scores of different visits share a scale and can be averaged, also if all tasks have the same reference scores."""
        references = {repr(sorted(self.spec.references[task].items())) for task in self.tasks if task in self.spec.references}
        alike = set(self.tasks) <= set(self.spec.references) and len(references) == 1
        return self.kind in MEASURED or self.normalised or alike or len(set(self.tasks)) == 1

    @property
    def scale(self) -> str:
        """Name of the displayed score."""
        if self.kind in MEASURED:
            return f"{self.kind} {self.quantity}"
        return "human-normalised return" if self.normalised else "return"

    def shown(self, score: np.ndarray) -> np.ndarray:
        """Convert scores (members, visits, ...) to the scale of the report."""
        if not self.normalised:
            return score
        shape = (-1,) + (1,) * (score.ndim - 2)
        return (score - self.floor.reshape(shape)) / self.span.reshape(shape)


def settings(loaded: Loaded) -> list[str]:
    """The settings found, in the report's order."""
    return list(dict.fromkeys(run.spec.setting for run in loaded.runs))


def score(loaded: Loaded, setting: str, windows: int = WINDOWS) -> Setting:
    """The curves of all members of all chains under one setting, with the missing ones listed.

    If members were tested on held-out examples, the test is the score: a visit's only test, after its last update, is its whole curve.

    Raises UsageError if some runs report episodes and others online scores.
    """
    runs = tuple(run for run in loaded.runs if run.spec.setting == setting)
    spec = runs[0].spec
    tables = {run.spec.key: loaded.of(run) for run in runs}
    tables = {key: table.loc[(table["kind"] != "evaluation").to_numpy()] for key, table in tables.items()}
    kinds = sorted({kind for table in tables.values() for kind in table["kind"].unique()} - {"cut"}) or ["return"]
    kinds = ["test"] if "test" in kinds else kinds
    if len(kinds) > 1:
        raise UsageError(f"runs of setting {setting} report scores of different kinds: {', '.join(kinds)}")
    pairs = tuple(sorted({pair for run in runs for pair in run.pairs}))
    edges = np.cumsum([0, *(visit["budget"] for visit in spec.visits)])
    chains: list[ChainScores] = []
    missing: list[str] = []
    for label in sorted({run.spec.label for run in runs}, key=lambda label: (label != "none", label)):
        curve = np.full((len(pairs), len(spec.visits), windows), np.nan)
        members = [run for run in runs if run.spec.label == label]
        for run in members:
            if len(table := tables[run.spec.key]):
                curve[[pairs.index(pair) for pair in run.pairs]], lacking = _curves(run, table, kinds[0], edges, windows)
                missing += [f"{run.name}: {line}" for line in lacking]
        chains.append(ChainScores(label, members[0].spec.control_of, curve))
    chains.sort(key=lambda chain: (chain.fresh_control, chain.control_of != "none"))
    references = [spec.references.get(visit["task"], {}) for visit in spec.visits]
    floor = np.array([reference.get("random", 0.0) if kinds[0] == "return" else 0.0 for reference in references])
    span = np.array([reference.get("human", np.nan) - reference.get("random", np.nan) for reference in references])
    if kinds[0] == "return" and (unknown := sorted({visit["task"] for visit in spec.visits} - {*_with_random(spec)})):
        missing.append(f"no random score is known for {', '.join(unknown)}: ratios are measured from 0 there")
    return Setting(spec, runs, kinds[0], pairs, tuple(chains), edges, floor, span, tuple(missing))


def _with_random(spec: Spec) -> list[str]:
    return [task for task, reference in spec.references.items() if "random" in reference]


def _curves(run: Run, table: pd.DataFrame, kind: str, edges: np.ndarray, windows: int) -> tuple[np.ndarray, list[str]]:
    """One run's curves (members, visits, windows), and one line for each group of cells that is missing."""
    spec = run.spec
    curves = np.full((spec.members, len(spec.visits), windows), np.nan)
    members, visits, counts = (table[name].to_numpy() for name in ("member", "visit", spec.unit))
    own = np.full(curves.shape[:2], -1)
    np.maximum.at(own, (members, visits), counts)
    anyone, last_visit = own.max(axis=0), int(visits.max())  # members run in lockstep
    scored = (table["kind"] == kind).to_numpy()
    rows = _cells(members[scored] * len(spec.visits) + visits[scored])
    ends, values = counts[scored], table["score"].to_numpy()[scored]
    lacking: list[tuple[str, int, int]] = []
    carried = 0
    for member, visit in np.ndindex(*own.shape):
        start, stop = int(edges[visit]), int(edges[visit + 1])
        there = max(start, int(own[member, visit] if kind in MEASURED else anyone[visit]))
        over = there >= stop or (kind == "return" and visit < last_visit)
        cell = rows.get(member * len(spec.visits) + visit)
        if not over:
            why = f"{there - start:,} of {stop - start:,} {spec.unit}" if there > start else "not begun"
        elif cell is None:
            why = "no finished episode" if kind == "return" else "no rows"
        elif not np.isfinite(values[cell]).all():
            why = "a score that is not a number"
        else:
            curve = online_curve if kind in MEASURED else return_curve
            curves[member, visit] = curve(ends[cell], values[cell], start, stop, windows)
            carried += 0 if kind in MEASURED else empty_windows(ends[cell], start, stop, windows)
            continue
        lacking.append((why, member, visit))
    lines = _summary(lacking)
    if carried:
        lines.append(f"no episode ended in {carried} of {curves.size} windows: missing, or the score before was carried forward")
    return curves, lines


def _cells(codes: np.ndarray) -> dict[int, np.ndarray]:
    """code -> positions of the rows that have it, in their order."""
    order = np.argsort(codes, kind="stable")
    found, starts = np.unique(codes[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, starts[1:]), strict=False))  # one empty part if there are no rows


def _summary(lacking: list[tuple[str, int, int]]) -> list[str]:
    """(reason, member, visit) of each missing cell, as few lines: cells of one reason and the same members together."""
    members: dict[tuple[str, int], list[int]] = {}
    for why, member, visit in lacking:
        members.setdefault((why, visit), []).append(member)
    cells = sorted((why, who, visit) for (why, visit), who in members.items())
    return [
        f"{numbered('visit', (visit for *_, visit in group))} of {numbered('member', who)}: no score, {why}"
        for (why, who), group in groupby(cells, key=lambda cell: (cell[0], cell[1]))
    ]
