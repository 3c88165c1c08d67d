"""Validation of frozen dataclasses, with errors for people. Imports no torch."""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Protocol

from plasticity_rl.synonyms import find, plain

ADDED = {"added": True}
"""metadata of a part's field that the JSON leaves out at its default, so that experiments from before the field keep their keys"""
PREFIX = ADDED | {"prefix": True}
"""metadata of an ADDED field whose value words have before the part's own, with a dot: `critic.redo`"""
SHORT = 12  # longest list of choices in an error that can refer to a list elsewhere


class UsageError(ValueError):
    """A user's mistake: one line that says what was wrong and what is allowed. Commands exit with code 2."""


def nearest(name: str, choices: Iterable[str], listed: str = "") -> str:
    """Clause that names the choice meant by `name`: equal up to case and dashes, a synonym (synonyms.py), or the closest.

    Lists all choices if none is near. For words of experiments, `listed` is a clause that says where choices are listed: it replaces a list
    of more than a dozen, and lets a synonym point to another option.
    """
    alike = {plain(choice): choice for choice in sorted(choices)}
    rows = find(name)
    for wanted in (name, *(ours for row in rows for ours in row.ours.split())):
        if plain(wanted) in alike:
            return f"did you mean {alike[plain(wanted)]}?"
    for row in rows:
        if listed and row.elsewhere:
            return row.elsewhere
    if close := difflib.get_close_matches(plain(name), alike, n=1):
        return f"did you mean {alike[close[0]]}?"
    if not alike:
        return "there is none"
    return listed if listed and len(alike) > SHORT else f"one of: {', '.join(alike.values())}"


def choose(what: str, name: str, choices: Iterable[str], listed: str = "") -> str:
    """Return `name` if it is one of `choices`; raise a UsageError that names the nearest otherwise. `listed` as for `nearest`."""
    choices = list(choices)
    if name not in choices:
        raise UsageError(f"unknown {what} {name!r}; {nearest(str(name), choices, listed)}")
    return name


class Method(Protocol):
    """Part of an intervention that `check_repeats` reads."""

    repeatable: ClassVar[bool]

    @property
    def only(self) -> str: ...


def check_repeats(chain: Iterable[Method]) -> None:
    """Raises UsageError if a method stands in the chain twice with equal settings, or twice for one network without being `repeatable`."""
    seen: list[Method] = []
    for each in chain:
        if each in seen:
            raise UsageError(f"{name_of(each)} is twice in the chain with the same settings: name it once")
        for other in seen if not each.repeatable else ():
            if type(other) is type(each) and _overlap(each.only, other.only):
                twice = f"{name_of(each)} is" if each.only == other.only else f"with {name_of(other)} and {name_of(each)}, a method is"
                raise UsageError(f"{twice} twice in the chain, and only one of its settings can act: name it once")
        seen.append(each)


def name_of(method: Method) -> str:
    """Name of a method's class, after the networks that it is limited to: `ReDo`, `critic.ReDo`."""
    return f"{method.only}.{type(method).__name__}" if method.only else type(method).__name__


def named_together(name: str) -> str:
    """Name that a network shares with those of other digits: `critic` for `critic0`."""
    return name.rstrip("0123456789")


def _overlap(one: str, other: str) -> bool:
    """True if two limits of methods may name one network."""
    return not one or not other or one in (other, named_together(other)) or other == named_together(one)


@dataclasses.dataclass(frozen=True)
class Interval:
    """Range of a number, stated beside its type: `tau: Annotated[float, Interval("[0, 1)")]`.

    Square brackets include an end, round ones exclude it; `inf` is no bound.
    """

    text: str

    def __post_init__(self) -> None:
        assert re.fullmatch(r"[\[(]\s*[^\s,]+\s*,\s*[^\s,]+\s*[\])]", self.text), f"not an interval: {self.text}"

    def __contains__(self, value: float) -> bool:
        low, high = map(float, self.text[1:-1].split(","))
        above = value >= low if self.text[0] == "[" else value > low
        return above and (value <= high if self.text[-1] == "]" else value < high)


def check(part: Any, **ranges: str) -> None:
    """Check a frozen dataclass against its annotations; call from `__post_init__`.

    Every field must have its type (int, float, bool, str, Literal, tuple[X, ...], X | None) and lie in its `Interval`; floats must be
    finite; ints are accepted as floats. `ranges` are intervals that depend on other fields, as in `check(self, high=f"({self.low}, inf)")`.
    Raises UsageError.
    """
    check_given(type(part), {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}, **ranges)


def check_given(made: type, given: Mapping[str, Any], **ranges: str) -> None:
    """Check values for some fields of a dataclass, made or not, as `check` does. Raises UsageError."""
    for field, hint, interval in annotations(made):
        if field not in given:
            continue
        value, where = given[field], f"{made.__name__}: {field}"
        _check_type(where, value, hint)
        interval = Interval(ranges[field]) if field in ranges else interval
        if interval is not None and value is not None and value not in interval:
            raise UsageError(f"{where} must lie in {interval.text}, not {value!r}")


@cache
def annotations(made: type) -> tuple[tuple[str, Any, Interval | None], ...]:
    """Name, type and interval of each field of a dataclass; a redefined field inherits its interval."""
    hints = [typing.get_type_hints(each, include_extras=True) for each in made.__mro__ if dataclasses.is_dataclass(each)]
    found = []
    for field in dataclasses.fields(made):
        stated = [hint[field.name] for hint in hints if field.name in hint]
        extras = (extra for hint in stated for extra in getattr(hint, "__metadata__", ()))
        interval = next((extra for extra in extras if isinstance(extra, Interval)), None)
        plain_hint = typing.get_args(stated[0])[0] if typing.get_origin(stated[0]) is Annotated else stated[0]
        found.append((field.name, plain_hint, interval))
    return tuple(found)


def _check_type(where: str, value: Any, hint: Any) -> None:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or getattr(hint, "_is_protocol", False):
        return
    if origin is typing.Literal:
        if value not in arguments:
            raise UsageError(f"{where} cannot be {value!r}; {nearest(str(value), map(str, arguments))}")
    elif origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return
        (inner,) = (argument for argument in arguments if argument is not type(None))
        _check_type(where, value, inner)
    elif origin is tuple:
        if not isinstance(value, tuple):
            raise UsageError(f"{where} must be several values, not {value!r}")
        for item in value:
            _check_type(where, item, arguments[0])
    elif hint is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise UsageError(f"{where} must be a finite number, not {value!r}")
    elif hint is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise UsageError(f"{where} must be a whole number, not {value!r}")
    elif isinstance(hint, type) and not isinstance(value, hint):
        raise UsageError(f"{where} must be a {hint.__name__}, not {value!r}")
