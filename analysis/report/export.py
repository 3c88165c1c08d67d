"""The report's files of numbers: each table as CSV for people and as Parquet for programs; missing numbers are empty cells, and null."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import parquet

from analysis.data.provenance import Origin, boundaries
from analysis.report.columns import VERDICT
from analysis.report.sections import Section, SuiteSection
from analysis.scores.matrix import ScoreMatrix
from analysis.scores.ratios import member_ratios, own_control, plain_control
from analysis.scores.setting import Setting
from analysis.statistics.aggregates import METHOD as BOOTSTRAP
from analysis.statistics.intervals import METHOD, Estimate

Part = Section | SuiteSection
WHICH = ["setting", "benchmark", "chain", "fresh_control"]
INTERVAL = ["value", "low", "high", "runs", "of", "note"]


class DataTable(NamedTuple):
    """Columns and rows; a cell is text, a number, a boolean, or None."""

    columns: list[str]
    rows: list[list[Any]]

    def csv(self) -> bytes:
        """Numbers with ten significant digits."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([f"{each:.10g}" if isinstance(each, float) else "" if each is None else each for each in row] for row in self.rows)
        return text.getvalue().encode()

    def parquet(self) -> bytes:
        """The same numbers in full precision."""
        cells = zip(*self.rows, strict=True) if self.rows else ([] for _ in self.columns)
        sink = io.BytesIO()
        parquet.write_table(pa.table(dict(zip(self.columns, map(list, cells), strict=True))), sink)
        return sink.getvalue()


def data_tables(sections: Sequence[Section], suites: Sequence[SuiteSection], origins: Sequence[Origin]) -> dict[str, DataTable]:
    """The tables by file name. `sequence` only for sequences of games, `policies` only for agents that learn from rewards, `rewards` only
    where task changes are not told, `own-metrics` only with metrics of own modules."""
    made = {
        "scores": DataTable(SCORES, [row for part in sections for row in _scores(part.setting)]),
        "verdict": _verdict(sections),
        "aggregates": DataTable(AGGREGATES, [row for part in (*suites, *sections) for row in _aggregates(part)]),
        "comparisons": DataTable(COMPARISONS, [row for part in (*suites, *sections) for row in _comparisons(part)]),
        "costs": DataTable(COSTS, [row for part in sections for row in _costs(part)]),
        "runs": _runs(origins),
    }
    if any(part.sequence for part in sections):
        made["sequence"] = DataTable(SEQUENCE, [row for part in sections for row in _sequence(part)])
    if any(part.policies for part in sections):
        made["policies"] = DataTable(POLICIES, [row for part in sections for row in _policies(part)])
    if any(part.own_metrics for part in sections):
        made["own-metrics"] = DataTable(OWN, [row for part in sections for row in _own(part)])
    if any(part.rewards for part in sections):
        made["rewards"] = DataTable(REWARDS, [row for part in sections for row in _rewards(part)])
    return made


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _interval(found: Estimate) -> list[Any]:
    return [_finite(found.value), _finite(found.low), _finite(found.high), found.members, found.of, found.note]


SCORES = [*WHICH, "seed", "member", "visit", "task", "cycle", "kind", "area", "human_normalised_area", "plasticity_kept", "performance"]
SCORES += ["no_plasticity_kept", "no_performance"]
"""one row for each member and visit; the last two say why there is no ratio"""


def _scores(setting: Setting) -> Iterator[list[Any]]:
    spec = setting.spec
    for chain in setting.chains:
        own, plain = own_control(setting, chain), plain_control(setting)
        kept, performance, shown = *(member_ratios(setting, chain, each) for each in (own, plain)), setting.shown(chain.area)
        for run, (seed, member) in enumerate(setting.pairs):
            for visit, described in enumerate(spec.visits):
                where = [spec.setting, spec.benchmark, chain.label, chain.fresh_control, seed, member, visit]
                where += [described["task"], described["cycle"], setting.kind]
                normalised = shown[run, visit] if setting.normalised else None
                numbers = [_finite(value) for value in (chain.area[run, visit], normalised, kept[run, visit], performance[run, visit])]
                yield [*where, *numbers, own.reasons[visit], plain.reasons[visit]]


def _verdict(sections: Sequence[Section]) -> DataTable:
    """The verdict table of each setting: each estimate with its interval, its members, and its note."""
    columns = [*WHICH, "best", "members", "of", "first_visits", "last_visits", "own_control"]
    for column in VERDICT:
        columns += [column.name, *(f"{column.name}_{end}" for end in ("low", "high", "members", "note"))]
    rows: list[list[Any]] = []
    for section in sections:
        spec = section.setting.spec
        for row in section.rows:
            line: list[Any] = [spec.setting, spec.benchmark, row.label, row.fresh_control, row.best, row.members, row.of, *section.spans]
            line.append("" if row.fresh_control else row.own.name)
            for found in (column.value(section, row) for column in VERDICT):
                line += [_finite(found.value), _finite(found.low), _finite(found.high), found.members, found.note]
            rows.append([*line, METHOD])
    return DataTable([*columns, "intervals"], rows)


AGGREGATES = ["section", "over", "tasks", "chain", "fresh_control", "normalised", "aggregate", *INTERVAL, "intervals"]
"""rliable's, over visits or tasks; `normalised` by what"""


def _aggregates(part: Part) -> Iterator[list[Any]]:
    matrix: ScoreMatrix = part.matrix
    for row in matrix.rows:
        for normalised, found in ((matrix.scale, matrix.scores), ("plasticity kept", matrix.kept), ("performance", matrix.performance)):
            for name, each in found.get(row.label, {}).items():
                where = [part.name, matrix.noun, len(matrix.tasks), row.label, row.fresh_control, normalised, name]
                yield [*where, *_interval(each), METHOD if matrix.whole else BOOTSTRAP]


COMPARISONS = ["section", "of", "chain", "reference", "paired", "difference", "low", "high", "members", "improvement", "p"]
COMPARISONS += ["p_holm", "intervals"]
"""over the last visits of a setting, or over a suite's tasks"""


def _comparisons(part: Part) -> Iterator[list[Any]]:
    suite = isinstance(part, SuiteSection)
    for lead in part.matrix.leads if isinstance(part, SuiteSection) else part.leads:
        found = lead.difference
        where = [part.name, "mean over tasks" if suite else "mean over the last visits", lead.label, lead.reference, lead.paired]
        numbers = [_finite(each) for each in (found.value, found.low, found.high)]
        yield [*where, *numbers, found.members, *map(_finite, (lead.improvement, lead.p, lead.corrected)), METHOD]


COSTS = [*WHICH, "told_of_task_boundaries", "update_ms", "by_the_clock", "times_none"]
COSTS += ["updates_per_second", "memory_mb"]
"""median time of a member's update, by the processor unless `by_the_clock`, and how many times that without intervention; the most memory
that was seen"""


def _costs(section: Section) -> Iterator[list[Any]]:
    spec, runs = section.setting.spec, {run.spec.label: run for run in section.runs}
    for cost in section.costs:
        run = runs[cost.label]
        where = [spec.setting, spec.benchmark, cost.label, run.spec.fresh_control, bool(boundaries(run))]
        yield [*where, _finite(cost.milliseconds), cost.clocked, *map(_finite, (cost.relative, cost.speed, cost.memory))]


SEQUENCE = [*WHICH, "measure", "task", "visit", *INTERVAL[:-1], "reached", "attempts", "note", "intervals"]
"""one row for each measure and column of sequential.py, and one for the mean over columns, without task and visit; `reached` of
`attempts` visits of members reached the level"""


def _sequence(section: Section) -> Iterator[list[Any]]:
    spec = section.setting.spec
    for row in section.sequence:
        for name, compared in row.measures.items():
            cells: list[Any] = [((None, None), compared.overall, compared.counts())]
            cells += [
                (at, found, compared.counts(column)) for column, (at, found) in enumerate(zip(compared.at, compared.each, strict=True))
            ]
            for at, found, reached in cells:
                line = [spec.setting, spec.benchmark, row.label, row.fresh_control, name, *at]
                yield [*line, *_interval(found)[:-1], *(reached or (None, None)), found.note, METHOD]


POLICIES = [*WHICH, "diagnosis", "still", "quantity", *INTERVAL, "intervals"]
"""one row for each quantity of a chain's agents (see policies.py), for value-based ones their probe alone; `still` members do not explore
by their own share of entropy"""


def _policies(section: Section) -> Iterator[list[Any]]:
    spec = section.setting.spec
    for row in section.policies:
        found = {"entropy": row.entropy, "entropy_share": row.share, "smallest_probability": row.smallest, "logit_scale": row.scale}
        found |= {"policy_information_ratio": row.information} if row.information.defined else {}
        found = found if row.samples else {}
        found |= {f"probe_{network}_ratio": ratio for network, ratio in row.probes.items()}
        for quantity, each in found.items():
            where = [spec.setting, spec.benchmark, row.label, row.fresh_control, row.diagnosis, row.still, quantity]
            yield [*where, *_interval(each), METHOD]


OWN = [*WHICH, "metric", "untrained", *INTERVAL, "intervals"]
"""one row for each metric of own modules of a chain, and of untrained networks"""


def _own(section: Section) -> Iterator[list[Any]]:
    spec = section.setting.spec
    for row in section.own_metrics:
        for untrained, found in ((False, row.values), (True, row.untrained)):
            for name, each in found.items():
                yield [spec.setting, spec.benchmark, row.label, row.fresh_control, name, untrained, *_interval(each), METHOD]


REWARDS = [*WHICH, "step", *INTERVAL, "intervals"]
"""one row for each number of a chain's reward per step: weighted means at two steps, and without a step the mean over the whole run"""


def _rewards(section: Section) -> Iterator[list[Any]]:
    spec, edges = section.setting.spec, section.setting.edges
    for row in section.rewards:
        for step, found in ((int(edges[1]), row.at(edges[1])), (int(edges[-1]), row.at(edges[-1])), (None, row.whole)):
            yield [spec.setting, spec.benchmark, row.label, row.fresh_control, step, *_interval(found), METHOD]


def _runs(origins: Sequence[Origin]) -> DataTable:
    """Every run that was read: what it is, what code made it, and the hash of its files."""
    columns = ["key", *WHICH, "seed", "members", "finished", "commit", "dirty", "code", "sha256", "experiment"]
    rows: list[list[Any]] = []
    for run, digest in origins:
        spec, context = run.spec, run.context
        made = [None if context.get(name) is None else str(context[name]) for name in ("commit", "dirty", "code")]
        where = [spec.key, spec.setting, spec.benchmark, spec.label, spec.fresh_control, spec.seed, spec.members, run.done]
        rows.append([*where, *made, digest, json.dumps(spec.experiment, sort_keys=True)])
    return DataTable(columns, rows)
