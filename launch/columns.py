"""Tables for a terminal of any width: a narrow one omits the least important columns."""

from collections.abc import Collection, Mapping, Sequence

from rich.cells import cell_len
from rich.table import Table

FOLDED = 24  # characters of the first column that are kept before other columns are omitted


def fitted(columns: Mapping[str, Sequence[str]], width: int, least: Sequence[str] = (), numbers: Collection[str] = ()) -> Table:
    """Make a table of at most `width` characters from heading -> cells. The first column folds; others are omitted, in the order of
    `least`, until the rest fits. Columns in `numbers` are aligned to the right."""
    needed = {name: max(cell_len(text) for text in (name, *cells)) + 2 for name, cells in columns.items()}
    first, *_ = columns
    needed[first] = min(needed[first], FOLDED + 2)
    for name in least:
        if sum(needed.values()) - 2 > width:
            needed.pop(name, None)
    shown = Table(box=None, padding=(0, 1), pad_edge=False)
    for name in needed:
        shown.add_column(name, no_wrap=name != first, overflow="fold", justify="right" if name in numbers else "left")
    for cells in zip(*(columns[name] for name in needed), strict=True):
        shown.add_row(*cells)
    return shown


def shortest(names: Sequence[str], least: int = 8) -> int:
    """Return the length of the shortest prefixes that distinguish all names, at least `least`, as for commit hashes."""
    longest = max(map(len, names), default=least)
    return next((many for many in range(least, longest) if len({name[:many] for name in names}) == len(set(names))), longest)
