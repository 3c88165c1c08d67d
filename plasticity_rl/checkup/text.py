"""Results of checks as text: one column for each checkpoint, and one for the twins."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plasticity_rl.checkup.measures import MEASURES
from plasticity_rl.margins import FITS

if TYPE_CHECKING:
    from plasticity_rl.checkup.examine import Checkup

MARK = " !"
"""behind a number that stands out"""


LABEL = 13
"""characters of a column's heading"""


def table(checkups: Sequence["Checkup"], width: int, labels: Sequence[str] = ()) -> str:
    """Checks of one network in several checkpoints, as text of at most `width` characters; `labels` head the columns."""
    first = checkups[0]
    labels = labels or ["checkpoint"]
    headings = [label if len(label) <= LABEL else "\N{HORIZONTAL ELLIPSIS}" + label[1 - LABEL :] for label in labels]
    rows = [["", *headings, "twins", "least", "most"]]
    for what in ("trainability", "over all updates", "your targets"):
        learned = [each.targets if what == "your targets" else each.trainability for each in checkups]
        ratios = [each.area if what == "over all updates" else each.final for each in learned if each is not None]
        if len(ratios) == len(checkups):
            rows.append([what, *(f"{each.value:.2f}" for each in ratios), "1", "", ""])
            if any(each.interval for each in ratios):
                rows.append(["", *(each.interval for each in ratios), "", "", ""])
    layer = None
    for measure in sorted(first.measures, key=lambda each: _place(first, each.layer)):
        found = [
            next((other for other in each.measures if (other.name, other.layer) == (measure.name, measure.layer)), None)
            for each in checkups
        ]
        if measure.layer != layer:
            layer = measure.layer
            rows.append([layer or "whole network"])
        cells = ["" if each is None else number(each.own) + MARK * each.stands_out for each in found]
        rows.append(
            ["  " + MEASURES[measure.name].title, *cells, number(measure.fresh), number(min(measure.twins)), number(max(measure.twins))]
        )
    lines = [first.name, *_aligned(rows, width), ""]
    for label, each in zip(labels, checkups, strict=True):
        about = f"{label}: " if len(checkups) > 1 else ""
        lines += textwrap.wrap(about + each.verdict.reading, width)
        lines += textwrap.wrap(f"Try first: {each.verdict.first}.", width)
        lines += [f"    {line}" for line in each.verdict.lines]
        lines.append("")
    for note in dict.fromkeys(note for each in checkups for note in each.notes):
        lines += textwrap.wrap(f"Note: {note}.", width)
    learned = first.trainability
    method = (
        f"{first.examples} examples; {len(learned.own)} pairs of {learned.updates} updates, Adam at {first.learning_rate:g}; ratios to "
        f"twins with 95% t intervals over pairs, margin {FITS:g};{MARK} worse than all {len(first.measures[0].twins)} twins, and by much."
    )
    return "\n".join([*lines, *textwrap.wrap(method, width)])


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _place(checkup: "Checkup", layer: str) -> int:
    order = list(dict.fromkeys(each.layer for each in checkup.measures if each.layer))
    return order.index(layer) if layer else len(order)


def _aligned(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Columns that fit: the twins' range goes first where there is no place for it."""
    full = max(map(len, rows))
    for shown in (full, full - 2):
        cut = [row[:shown] for row in rows]
        sizes = [max((len(row[i]) for row in cut if len(row) > 1 and i < len(row)), default=0) for i in range(shown)]
        if sum(sizes) + 2 * (shown - 1) <= width:
            break
    return ["  ".join(cell.ljust(sizes[i]) if i == 0 else cell.rjust(sizes[i]) for i, cell in enumerate(row)).rstrip() for row in cut]
