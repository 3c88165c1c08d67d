"""Numbers, estimates with their intervals, shares, chances and counts as text: the one place where a value becomes words."""

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

UNDEFINED = "\N{EN DASH}"
DIGITS = 2
"""significant ones that the largest of the numbers written together has at least"""
SMALL = 1e-4
"""below which numbers are written with an exponent"""
ALIKE = 1e-6
"""an interval narrower than this share of its ends is rounding's"""
NOTHING = 1e-12
"""a number that is not larger is rounding's"""


class Interval(Protocol):
    """A value with its interval: a statistics.intervals.Estimate, which takes long to import."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def number(value: float) -> str:
    """Three decimals for fractions, more where these hold fewer than two significant digits, fewer the larger it is."""
    return _written([value])[0]


def with_interval(found: Interval) -> str:
    """`0.371 [0.355, 0.382]`: the value with its interval, in one line."""
    return " ".join(filter(None, parts(found)))


def parts(found: Interval) -> tuple[str, str]:
    """The value, and its interval where it has one: with as many decimals as tell the interval's ends apart."""
    if not math.isfinite(found.value):
        return UNDEFINED, ""
    if found.low is None or found.high is None:
        return number(found.value), ""
    value, low, high = _written([found.value, found.low, found.high])
    return value, f"[{low}, {high}]"


def percent(found: Interval) -> str:
    """`47% [38, 59]`: a ratio with its interval, in hundredths."""
    if not math.isfinite(found.value):
        return UNDEFINED
    ends = [] if found.low is None or found.high is None else [found.low, found.high]
    value, *interval = _written([100 * each for each in (found.value, *ends)], least=0, digits=1)
    return f"{value}%" + (f" [{', '.join(interval)}]" if interval else "")


def share(value: float) -> str:
    """`57%` of a whole; 0% and 100% are of none and of all alone."""
    if not math.isfinite(value):
        return UNDEFINED
    rest = min(value, 1 - value)
    decimals = max(0, _place(100 * rest)) if rest > ALIKE else 0
    return f"{100 * value:.{decimals}f}%"


def chance(p: float) -> str:
    """A p-value with three decimals."""
    if not math.isfinite(p):
        return UNDEFINED
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def count(many: int, noun: str) -> str:
    """`1 row`, `3 rows`."""
    return f"{many:,} {noun}{'' if many == 1 else 's'}"


def numbered(noun: str, values: Iterable[int]) -> str:
    """`member 3`, `members 0-4`, `visits 2, 7-9`."""
    values = sorted(set(values))
    spans: list[list[int]] = []
    for value in values:
        if spans and value == spans[-1][1] + 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    shown = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)
    return f"{noun}{'s' if len(values) > 1 else ''} {shown}"


def _written(values: Sequence[float], least: int = 3, digits: int = DIGITS) -> list[str]:
    """Numbers that stand together, all with the same decimals: `least`, fewer the larger they are; more where the largest has fewer than
    `digits` significant ones by that, or where they would all look the same and are not."""
    largest, width = max(map(abs, values)), max(values) - min(values)
    if not NOTHING < largest < math.inf:
        return [f"{value:z.{least}f}" if math.isfinite(value) else UNDEFINED for value in values]
    decimals = max(0 if largest >= 99.95 else min(1, least) if largest >= 9.995 else least, _place(largest) + digits - 1)
    if width > ALIKE * largest:
        decimals = max(decimals, _place(width))
    if largest < SMALL:
        return [f"{value:.{decimals - _place(largest)}e}" if value else "0" for value in values]
    return [f"{value:z,.{decimals}f}" for value in values]


def _place(value: float) -> int:
    """The decimal at which a number above 0 has its first significant digit."""
    return -math.floor(math.log10(value) + 1e-9)  # 0.1 may come as 0.0999999
