"""The contents of a report's parts: one setting, or a suite of settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.data.comparable import Run
from analysis.data.load import Loaded
from analysis.format import count, numbered, with_interval
from analysis.published.scores import PublishedScores, beside
from analysis.scores.costs import Cost, costs
from analysis.scores.evaluations import Evaluations, evaluations
from analysis.scores.matrix import ENOUGH_MEMBERS, ScoreMatrix
from analysis.scores.own_metrics import OwnMetrics, own_metrics
from analysis.scores.policies import Policy, policies
from analysis.scores.ratios import agrees, plain_control
from analysis.scores.rewards import Rewards, rewards
from analysis.scores.sequential import SequenceRow, sequence_rows, undefined
from analysis.scores.setting import Setting, score
from analysis.scores.suites import Suite, score_matrix
from analysis.scores.verdict import Verdict, first_and_last, reading, suite_reading, verdicts
from analysis.statistics.comparisons import Lead, against
from analysis.statistics.intervals import Estimate

Beside = tuple[tuple[PublishedScores, dict[str, Estimate]], ...]
"""other people's agents with the aggregates of their scores on the same tasks"""
ENOUGH_FRAMES = 1_000_000
"""frames of a visit to a game, below which nothing should be concluded, unless the fresh control learned in ENOUGH_LEARNED of the visits"""
ENOUGH_LEARNED = 0.75
"""our choice"""


@dataclass(frozen=True, eq=False)
class Section:
    """Everything that the page, the tables and the terminal show for one setting."""

    name: str
    setting: Setting
    rows: tuple[Verdict, ...]
    sequence: tuple[SequenceRow, ...]
    """a row for each chain of a sequence of games with tasks left or met again; empty for other settings"""
    policies: tuple[Policy, ...]
    """a row for each chain of an agent that learns from rewards; empty for other agents"""
    own_metrics: tuple[OwnMetrics, ...]
    """a row for each chain of runs with metrics of people's own; empty elsewhere"""
    rewards: tuple[Rewards, ...]
    """a row for each chain where task changes are not told; empty elsewhere"""
    evaluations: Evaluations | None
    """evaluations of such a sequence"""
    costs: tuple[Cost, ...]
    others: tuple[PublishedScores, ...]
    """other people's scores, of whatever tasks"""
    reading: str
    banner: str
    """a warning above everything else; empty where there is none"""
    missing: tuple[str, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        return self.setting.runs

    @property
    def spans(self) -> tuple[str, str]:
        """The first and the last visits that are compared: `0-2`, `17-19`."""
        first, last = (f"{visits[0]}-{visits[-1]}" if len(visits) > 1 else str(visits[0]) for visits in first_and_last(self.setting))
        return first, last

    @cached_property
    def matrix(self) -> ScoreMatrix:
        """All visits."""
        return score_matrix(self.setting)

    @cached_property
    def published(self) -> Beside:
        return _published(self.matrix, self.others)

    @cached_property
    def leads(self) -> tuple[Lead, ...]:
        """Every chain beside no intervention and beside the fresh control, over the last visits."""
        if not self.setting.comparable:
            return ()
        last = first_and_last(self.setting)[1]
        areas = {chain.label: self.setting.shown(chain.area)[:, last] for chain in self.setting.compared}
        return tuple(against(areas, self.matrix.references))


@dataclass(frozen=True, eq=False)
class SuiteSection:
    """The same for a suite: settings that differ in their tasks alone."""

    name: str
    suite: Suite
    costs: tuple[Cost, ...]
    others: tuple[PublishedScores, ...]
    banner: str
    missing: tuple[str, ...]

    @property
    def matrix(self) -> ScoreMatrix:
        return self.suite.matrix

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        return tuple(run for setting in self.suite.settings for run in setting.runs)

    @cached_property
    def published(self) -> Beside:
        return _published(self.matrix, self.others)

    @cached_property
    def reading(self) -> str:
        return _hedged(suite_reading(self.matrix), self.banner)


def _published(matrix: ScoreMatrix, others: Sequence[PublishedScores]) -> Beside:
    return tuple((each, found) for each in others if (found := beside(matrix, each)) is not None)


def section(loaded: Loaded, key: str, alone: bool, apart: str = "", others: Sequence[PublishedScores] = ()) -> Section:
    """Score and describe one setting.

    `alone`: no other setting of the report has its benchmark; `apart`: why it is in no suite with one that has; `others`: scores to stand
    beside.
    """
    setting = score(loaded, key)
    rows = tuple(verdicts(setting))
    evaluated = evaluations(loaded, setting)
    sequence = sequence_rows(setting, evaluated)
    found = policies(loaded, setting)
    banner = _banner([setting])
    missing = [apart] * bool(apart) + loaded.lacking(key) + list(setting.missing)
    controls = {"performance": plain_control(setting)} if setting.control is not None else {}
    controls |= {f"plasticity kept of {row.label}": row.own for row in rows if row.own.name and not row.fresh_control}
    for what, control in controls.items():
        for reason in sorted(set(control.reasons) - {"", "the reference"}):
            visits = [visit for visit, found in enumerate(control.reasons) if found == reason]
            missing.append(f"no {what} at {numbered('visit', visits)}: {reason}")
    for row in rows:
        if row.drift.defined and not agrees(row.drift):
            missing.append(
                f"{row.label} and the first visit of {row.chain.control_of} differ by {with_interval(row.drift)}, although tasks are "
                f"alike: plasticity kept is measured by {row.label}"
            )
    for row in rows:
        if row.last.note.startswith("no interval"):
            missing.append(f"{row.label}: {row.last.note}")
    missing += [*(evaluated.missing if evaluated and sequence else ()), *undefined(sequence)]
    return Section(
        name=setting.spec.benchmark if alone else f"{setting.spec.benchmark} ({key[:8]})",
        setting=setting,
        rows=rows,
        sequence=sequence,
        policies=found,
        own_metrics=own_metrics(loaded, setting),
        rewards=rewards(loaded, setting),
        evaluations=evaluated if sequence else None,
        costs=costs(setting.runs, loaded.metrics),
        others=tuple(others),
        reading=_hedged(" ".join(filter(None, [reading(setting, list(rows)), _diagnosis(found)])), banner),
        banner=banner,
        missing=tuple(missing),
    )


def suite_section(loaded: Loaded, found: Suite, sections: Sequence[Section], others: Sequence[PublishedScores] = ()) -> SuiteSection:
    """Describe a suite; `sections` are those of its settings."""
    everywhere = loaded.lacking("")
    missing = [*everywhere, *found.missing]
    for name, part in zip(found.matrix.tasks, sections, strict=True):
        own = (line for line in part.missing if line not in everywhere)
        missing += [f"{name}: {line}" for line in own if not line.startswith(("no plasticity kept", "no performance"))]
    if 0 < found.matrix.fewest < ENOUGH_MEMBERS:
        missing.append(f"fewer than {ENOUGH_MEMBERS} members of some task: no chain is called best")
    runs = [run for setting in found.settings for run in setting.runs]
    return SuiteSection(
        name=f"{found.settings[0].spec.benchmark}: {len(found.settings)} tasks",
        suite=found,
        costs=costs(runs, loaded.metrics),
        others=tuple(others),
        banner=_banner(found.settings),
        missing=tuple(missing),
    )


def conclusiveness(part: Section | SuiteSection) -> int:
    """Place of a part on the page: 0 if a ratio's interval excludes 1, 1 if a ratio is defined, 2 if none is, 3 if its budget is too
    small."""
    if part.banner:
        return 3
    if isinstance(part, SuiteSection):
        ratios = [found["iqm"] for of in (part.matrix.kept, part.matrix.performance) for found in of.values()]
    else:
        ratios = [found for row in part.rows if not row.fresh_control for found in (row.kept, row.performance)]
    defined = [each for each in ratios if each.defined]
    decided = any(each.low is not None and each.high is not None and not each.low <= 1 <= each.high for each in defined)
    return 0 if decided else 1 if defined else 2


def _diagnosis(found: Sequence[Policy]) -> str:
    """A sentence on the agents of the first chain, which is that without intervention if there is one."""
    if not found or not (found[0].share.defined or found[0].probes or found[0].had_no_time):
        return ""
    what = "Policies and networks" if found[0].samples else "Networks"
    return f"{what} of {found[0].label} at the end: {found[0].diagnosis}."


def _hedged(says: str, banner: str) -> str:
    return f"As far as so small a budget tells, {says[0].lower()}{says[1:]}" if banner else says


def _banner(settings: Sequence[Setting]) -> str:
    budget = min(visit["budget"] for setting in settings for visit in setting.spec.visits)
    known = any(np.isfinite(setting.span).any() for setting in settings)
    if settings[0].spec.unit != "frames" or not known or budget >= ENOUGH_FRAMES:
        return ""
    learned = [not reason for setting in settings for reason in plain_control(setting).reasons]
    if sum(learned) >= ENOUGH_LEARNED * len(learned):
        return ""
    return (
        f"Budget too small for conclusions: {budget:,} frames a visit, where agents need many millions to learn games from images, and a "
        f"fresh control that learned in {sum(learned)} of {count(len(learned), 'visit')}. This report shows that the path works; its "
        "numbers say nothing about plasticity."
    )
