"""Validation of frozen dataclasses, with errors for the person who made the mistake. Imports no torch."""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterable
from typing import Any

from plasticity_rl.synonyms import find, plain

SHORT = 12  # as many choices are listed in an error, whatever else lists them


class UsageError(ValueError):
    """A person's mistake: one line that says what was wrong and what is allowed. Programs end with exit code 2."""


def nearest(name: str, choices: Iterable[str], listed: str = "") -> str:
    """A clause that names the choice meant by `name`: the same but for case and dashes, what others call so (`synonyms`), or the closest.

    All choices where there is none. For words of experiments, `listed` is a clause that says where they are listed: it stands in for more
    than a dozen, and what others call so may then be something that is said elsewhere.
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
    """`name` itself if it is one of `choices`; a UsageError that names the nearest one otherwise. `listed` as for `nearest`."""
    choices = list(choices)
    if name not in choices:
        raise UsageError(f"unknown {what} {name!r}; {nearest(str(name), choices, listed)}")
    return name


def check_repeats(chain: Iterable[Any]) -> None:
    """Raises UsageError where a method stands in a chain more often than it acts: twice alike, or with other settings that do not add up
    (`Intervention.adds`)."""
    seen: list[Any] = []
    for each in chain:
        name = type(each).__name__
        if each in seen:
            raise UsageError(f"{name} stands twice in the chain with the same settings: name it once")
        if not each.adds and any(type(other) is type(each) for other in seen):
            raise UsageError(f"{name} stands twice in the chain, and its settings do not add up: name it once")
        seen.append(each)


def check(part: Any, **ranges: str) -> None:
    """Hold a frozen dataclass to its annotations and to ranges written as intervals.

    `check(self, tau="[0, 1]", rate="(0, inf)")`, from `__post_init__`. Every field is held to its annotation (int, float, bool, str,
    Literal, tuple[X, ...], X | None); floats must be finite; an int is taken where a float is asked for.
    """
    hints = typing.get_type_hints(type(part))
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        where = f"{type(part).__name__}: {field.name}"
        _check_type(where, value, hints[field.name])
        if field.name in ranges and value is not None:
            _check_range(where, value, ranges[field.name])


def _check_type(where: str, value: Any, hint: Any) -> None:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
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


def _check_range(where: str, value: float, interval: str) -> None:
    match = re.fullmatch(r"([\[(])\s*(\S+)\s*,\s*(\S+)\s*([\])])", interval)
    assert match, f"not an interval: {interval}"
    low, high = float(match[2]), float(match[3])
    above = value >= low if match[1] == "[" else value > low
    below = value <= high if match[4] == "]" else value < high
    if not (above and below):
        raise UsageError(f"{where} must lie in {interval}, not {value!r}")
