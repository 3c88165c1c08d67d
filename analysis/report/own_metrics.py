"""The table of metrics of people's own modules."""

from analysis.format import number
from analysis.report.sections import Section
from analysis.report.tables import CHAIN, Heading, Line, Table, cell
from analysis.statistics.intervals import LEVEL


def own_table(section: Section) -> Table:
    """A column for each metric: its value at the end, and below it an untrained network's."""
    rows = section.own_metrics
    lines = []
    for row in rows:
        cells = []
        for name, found in row.values.items():
            fresh = row.untrained[name]
            small = "; ".join(filter(None, [f"untrained {number(fresh.value)}" * fresh.defined, found.note]))
            cells.append(cell(found)._replace(note=small))
        lines.append(Line(row.label, tuple(cells), control=row.fresh_control))
    headings = (CHAIN, *(Heading(name, "mean over layers or other keys") for name in rows[0].values))
    caption = (
        f"Metrics of own modules over the second halves of the last visits ({section.spans[1]}): means over members with {LEVEL:.0%} "
        "intervals, and below them those of untrained networks on the same inputs. The figure of diagnostics has a panel of each."
    )
    return Table("Metrics of own modules", headings, tuple(lines), caption)
