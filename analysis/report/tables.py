"""The report's tables, as the page, the Markdown summary and the terminal show them: rows of chains, cells with intervals."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from analysis.data.provenance import boundaries
from analysis.format import UNDEFINED, chance, count, number, parts, share
from analysis.report.columns import AGGREGATES, CONTROLS, SEQUENCE, SUITE, VERDICT, Column, PartT, RowT
from analysis.report.sections import Beside, Section, SuiteSection
from analysis.scores.costs import Cost
from analysis.scores.matrix import ScoreMatrix
from analysis.scores.policies import EXPLORES, FITS, PASSES, PROBES, TARGETS
from analysis.scores.ratios import FIRST_VISIT
from analysis.scores.sequential import MEASURES, Comparison
from analysis.statistics.aggregates import ENOUGH
from analysis.statistics.aggregates import METHOD as BOOTSTRAP
from analysis.statistics.comparisons import Lead
from analysis.statistics.intervals import LEVEL, METHOD, Estimate

BY_MEMBERS = f"{LEVEL:.0%} {METHOD}."
"""the method of intervals, unless a table says another"""


class Cell(NamedTuple):
    """One cell: a value, its interval and small print."""

    value: str
    interval: str = ""
    """`[low, high]`"""
    note: str = ""
    """small print: how many members, and why a value is missing"""

    @property
    def text(self) -> str:
        """The value with its interval, in one line."""
        return f"{self.value} {self.interval}".strip()


class Heading(NamedTuple):
    """The head of a column."""

    title: str
    small: str = ""
    """the small print"""
    terminal: bool = True
    """whether a terminal shows the column"""


class Line(NamedTuple):
    """One row."""

    label: str
    cells: tuple[Cell, ...]
    mark: str = ""
    """`best`, `published`"""
    control: bool = False


class Table(NamedTuple):
    """One table."""

    title: str
    """empty for the verdict"""
    headings: tuple[Heading, ...]
    """one for the labels, then one for each cell of a line"""
    lines: tuple[Line, ...]
    caption: str
    by: str = BY_MEMBERS
    """method of the intervals, if there are any"""

    @property
    def intervals(self) -> str:
        """Method of the intervals; empty if there are none."""
        return self.by if any(cell.interval for line in self.lines for cell in line.cells) else ""

    @property
    def text(self) -> str:
        """The caption, with the method."""
        return f"{self.caption} {self.intervals}".strip()


CHAIN = Heading("Chain")
BY_STRATA = f"{LEVEL:.0%} t intervals over the members of all tasks."


def cell(found: Estimate, noun: str = "members") -> Cell:
    """A value with its interval, and the small print."""
    there = f"{found.members} of {found.of} {noun}" if found.defined and found.members < found.of else ""
    return Cell(*parts(found), "; ".join(filter(None, [there, found.note])))


def setting_tables(section: Section) -> list[Table]:
    """All tables of one setting, the verdict first."""
    made = [verdict(section)]
    if any(row.fresh_control for row in section.rows):
        made.append(controls(section))
    if section.leads:
        made.append(comparisons(section.leads, f"over the last visits ({section.spans[1]})", section.setting.scale))
    if len(section.matrix.tasks) > 1 or section.published:
        made += aggregates(section.matrix, "all visits", section.published)
    if section.sequence:
        made.append(sequence(section))
    if section.policies:
        made.append(policy_table(section))
    return [*made, needs(section.costs, section)]


def suite_tables(section: SuiteSection) -> list[Table]:
    """All tables of a suite, the verdict first."""
    matrix = section.suite.matrix
    leads = comparisons(matrix.leads, f"mean over {len(matrix.tasks)} tasks", matrix.scale, BY_STRATA) if matrix.leads else None
    return [
        suite_verdict(section),
        *filter(None, [leads]),
        *aggregates(matrix, "last visits", ())[1:],
        each_task(section),
        needs(section.costs, section),
    ]


def by_tasks(matrix: ScoreMatrix) -> str:
    """Method of the intervals of aggregates, with a warning where tasks have too few members for the bootstrap's to hold."""
    if matrix.whole:
        return BY_MEMBERS
    method = f"{LEVEL:.0%} intervals by {BOOTSTRAP}."
    if not 0 < matrix.fewest < ENOUGH:
        return method
    runs = count(matrix.fewest, "run")
    return f"{method} With {runs} of a task they are too narrow; from {ENOUGH} on they hold the truth in about 93% (simulated)."


def verdict(section: Section) -> Table:
    """One row a chain: what the report opens with."""
    rows = [row for row in section.rows if not row.fresh_control]
    lines = [Line(row.label, tuple(cell(column.value(section, row)) for column in VERDICT), "best" if row.best else "") for row in rows]
    complete = {f"{row.members} of {row.of}" for row in rows}
    alike = f"{complete.pop()} members of each chain are complete." if len(complete) == 1 else ""
    members = alike or "Complete members: " + ", ".join(f"{row.label} {row.members} of {row.of}" for row in rows) + "."
    scale = f"Scores are the {section.setting.scale}, means over visits and members;"
    own: dict[str, list[str]] = {}
    for row in rows:
        own.setdefault(row.own.name, []).append(row.label)
    named = [f"{'their' if len(some) > 1 else 'its'} first visit" if name == FIRST_VISIT else name for name, some in own.items()]
    controls = "; ".join(f"{name} for {', '.join(some)}" for name, some in zip(named, own.values(), strict=True) if name)
    used = f" Own control: {controls}." if controls else ""
    says = f"{scale} ratios are measured above the floor.{used} {members} Visits are counted from 0."
    return Table("", _headings(VERDICT, section), tuple(lines), says)


def controls(section: Section) -> Table:
    """One row for each chain that starts over at every visit."""
    rows = [row for row in section.rows if row.fresh_control]
    lines = [
        Line(row.label, (Cell(row.chain.control_of), *(cell(column.value(section, row)) for column in CONTROLS)), control=True)
        for row in rows
    ]
    headings = _headings(CONTROLS, section)
    caption = (
        "Chains that start over at every visit, by which the others are measured; they are told of task changes, so they are no chains to "
        "choose from, and never best. Where tasks are alike, a control scores in every visit what its chain scores in the first."
    )
    return Table("Controls", (headings[0], Heading("Control of"), *headings[1:]), tuple(lines), caption)


def _headings(columns: Sequence[Column[PartT, RowT]], part: PartT) -> tuple[Heading, ...]:
    return (CHAIN, *(Heading(column.title, column.small(part), column.terminal) for column in columns))


def comparisons(leads: Sequence[Lead], where: str, scale: str, by: str = BY_MEMBERS) -> Table:
    """Every chain beside no intervention and beside the fresh control."""
    references = list(dict.fromkeys(lead.reference for lead in leads))
    found = {(lead.label, lead.reference): lead for lead in leads}
    headings = [CHAIN]
    for reference in references:
        headings += [Heading(f"Minus {reference}", where), Heading(f"Above {reference}", "share of pairs"), Heading("p", "after Holm")]
    lines = []
    for label in dict.fromkeys(lead.label for lead in leads):
        cells: list[Cell] = []
        for reference in references:
            lead = found.get((label, reference))
            cells += _lead(lead) if lead else [Cell("")] * 3
        lines.append(Line(label, tuple(cells)))
    caption = (
        f"Differences of the {scale}, paired: the same seeds on the same data. p is the paired t test's after Holm's correction for all "
        f"{len(leads)} comparisons of this table; the intervals are not corrected."
    )
    return Table("Comparisons", tuple(headings), tuple(lines), caption, by)


def _lead(lead: Lead) -> list[Cell]:
    return [cell(lead.difference), Cell(share(lead.improvement)), Cell(chance(lead.corrected))]


def aggregates(matrix: ScoreMatrix, where: str, published: Beside) -> list[Table]:
    """rliable's aggregates over tasks: of scores, and of plasticity."""
    headings = (CHAIN, *(Heading(title, "lower is better" if name == "optimality_gap" else "") for name, title in AGGREGATES.items()))
    names, noun = tuple(AGGREGATES), "scores"
    lines = [_aggregates(row.label, row.fresh_control, matrix.scores[row.label], matrix.names, noun) for row in matrix.rows]
    lines += [Line(each.label, tuple(cell(found[name], "scores") for name in matrix.names), "published") for each, found in published]
    over = count(len(matrix.tasks), matrix.noun.removesuffix("s"))
    scores = Table(
        f"Aggregates: scores over {over}",
        headings if matrix.bounded else headings[:-1],
        tuple(lines),
        f"Scores are the {matrix.scale}.",
        by_tasks(matrix),
    )
    ratios = (
        ("plasticity kept", matrix.kept, "what a chain scores above the random score over what its own control does"),
        ("performance", matrix.performance, "what a chain scores above the random score over what the fresh control does"),
    )
    made = [scores]
    for name, found, what in ratios:
        if not found:
            continue
        lines = [_aggregates(label, False, each, names, noun) for label, each in found.items()]
        caption = f"{where.capitalize()}: {what}, a ratio of means for each of the {matrix.noun}, aggregated. 1 is the control."
        made.append(Table(f"Aggregates: {name} over {over}", headings, tuple(lines), caption, by_tasks(matrix)))
    return made


def _aggregates(label: str, control: bool, found: dict[str, Estimate], names: Iterable[str], noun: str) -> Line:
    return Line(label, tuple(cell(found[name], noun) for name in names), control=control)


def sequence(section: Section) -> Table:
    """Retention, re-learning and transfer in a sequence of games."""
    measures = section.sequence[0].measures
    headings = [
        Heading(MEASURES[name], SEQUENCE[name].small.format(count(len(each.at), each.noun.removesuffix("s"))))
        for name, each in measures.items()
    ]
    lines = [Line(row.label, tuple(map(_compared, row.measures.values())), control=row.fresh_control) for row in section.sequence]
    return Table("Sequence", (CHAIN, *headings), tuple(lines), " ".join(SEQUENCE[name].caption for name in measures))


def _compared(compared: Comparison) -> Cell:
    """The mean over all columns with its interval, a dash where it is not defined; and the small print."""
    made = cell(compared.overall)
    reached = compared.counts() if compared.overall.defined else None
    return made._replace(note="; ".join(filter(None, [f"{reached[0]} of {reached[1]} reached it" if reached else "", made.note])))


def policy_table(section: Section) -> Table:
    """Can the networks of an agent that learns from rewards fit, does it explore, does it get a gradient, had it the time?"""
    returns = {row.label: row.last for row in section.rows}
    samples = any(row.samples for row in section.policies)
    probed = [name for name in PROBES if (name != "network") == samples]
    informed = any(row.information.defined for row in section.policies)
    lines = []
    for row in section.policies:
        entropy = cell(row.entropy)
        small = "; ".join(filter(None, [f"{share(row.share.value)} of untrained" * row.share.defined, entropy.note]))
        policy = (entropy._replace(note=small), cell(row.smallest), cell(row.scale), *[cell(row.information)] * informed) if samples else ()
        probes = [cell(row.probes[name]) if name in row.probes else Cell(UNDEFINED, "", "not probed") for name in probed]
        diagnosis = Cell(row.word, "", row.diagnosis if row.diagnosis != row.word else "")
        lines.append(Line(row.label, (cell(returns[row.label]), *probes, *policy, diagnosis), control=row.fresh_control))
    exploring = (
        Heading("Entropy", "nats"),
        Heading("Smallest probability", "of an action"),
        Heading("Scale of logits", "standard deviation"),
        *[Heading("Fisher information", "over untrained")] * informed,
    )
    headings = [
        CHAIN,
        Heading("Last visits", section.setting.scale),
        *(Heading(f"Probe, {name}" if samples else "Probe", "learned, over untrained") for name in probed),
        *(exploring if samples else ()),
        Heading("Diagnosis"),
    ]
    explores = (
        f"Does not explore: entropy below {share(EXPLORES)} of an untrained network's on the same observations; a policy may also be sure "
        "because it is right, so read it beside the return. "
        + f"Gets no gradient: it explores, and its Fisher information is below {share(PASSES)} of an untrained network's. "
        * informed
    )
    caption = (
        f"Second halves of the last visits ({section.spans[1]}), means over members. Cannot fit: copies of the "
        f"network learn less than {share(FITS)} of the variance of the probe `{TARGETS[0]}` (in older runs of value-based agents, "
        f"`{TARGETS[1]}`) that untrained networks learn. {explores * samples}Had no time: neither the chain nor its control is above the "
        "floor. Each is decided by the whole interval. The thresholds are this project's."
    )
    title = "Policies: can they fit, and do they explore?" if samples else "Networks: can they fit?"
    return Table(title, tuple(headings), tuple(lines), caption)


def needs(costs: Sequence[Cost], section: Section | SuiteSection) -> Table:
    """Needs and costs of each chain."""
    runs = {run.spec.label: run for run in section.runs}
    lines = []
    for cost in costs:
        methods = boundaries(runs[cost.label])
        told = Cell("yes", "", ", ".join(name.rpartition(".")[2] for name in methods)) if methods else Cell("no")
        small = [f"{cost.relative:.2f} x none" if cost.relative == cost.relative else "", "by the clock" * cost.clocked]
        took = Cell(number(cost.milliseconds), "", "; ".join(filter(None, small)))
        speed = number(cost.speed) if cost.speed == cost.speed else "not recorded"
        memory = f"{cost.memory:,.0f} MB" if cost.memory == cost.memory else "not recorded"
        took = took if cost.milliseconds == cost.milliseconds else Cell("not recorded")
        lines.append(Line(cost.label, (told, took, Cell(speed), Cell(memory)), control=runs[cost.label].spec.fresh_control))
    headings = (
        CHAIN,
        Heading("Told of task boundaries"),
        Heading("Time of an update", "ms of a member, median"),
        Heading("Updates a second", "by the clock, all else included"),
        Heading("Memory", "peak"),
    )
    return Table(
        "Costs: what each chain needs",
        headings,
        tuple(lines),
        "Measured during training, on the machine under Methods. The time of an update is processor time of the thread that updates, so "
        "neither other programs nor simulators count; by the clock, they do: on a GPU, and in runs that did not record it. Updates a "
        "second include diagnostics, checkpoints and whatever else the machine did.",
    )


def suite_verdict(section: SuiteSection) -> Table:
    """One row a chain: aggregates over all tasks."""
    matrix = section.suite.matrix
    lines = [
        Line(
            row.label,
            tuple(cell(column.value(section, row), "runs") for column in SUITE),
            "best" if row is matrix.best else "",
            row.fresh_control,
        )
        for row in matrix.rows
    ]
    for each, found in section.published:
        cells = (cell(found[column.name], "scores") if column.name in found else Cell("") for column in SUITE)
        lines.append(Line(each.label, tuple(cells), "published"))
    caption = f"Scores are the {matrix.scale}, means over visits; ratios are measured above the random score."
    return Table("", _headings(SUITE, section), tuple(lines), caption, by_tasks(matrix))


def each_task(section: SuiteSection) -> Table:
    """A row for each task, a column for each chain."""
    matrix = section.suite.matrix
    lines = []
    for task, name in enumerate(matrix.tasks):
        cells = []
        for row in matrix.rows:
            there = row.score[:, task][row.score[:, task] == row.score[:, task]]
            kept = matrix.kept_of(row, task)
            small = f"{share(kept)} kept" if kept == kept and not row.fresh_control else ""
            cells.append(Cell(number(float(there.mean())), "", small) if len(there) else Cell(UNDEFINED))
        lines.append(Line(name, tuple(cells)))
    headings = (Heading("Task"), *(Heading(row.label) for row in matrix.rows))
    caption = f"Mean {matrix.scale} over runs and visits; below it plasticity kept over the last visits."
    return Table("Each task", headings, tuple(lines), caption)
