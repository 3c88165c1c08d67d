"""Parts in words: `redo:tau=0.1,every=500` is the class of a word (registry.py) and, after the colon, settings of its fields.

Several values of one field are joined by +. A part of a plugin is written `my_methods.Decay`. A method that is limited to one of an agent's
networks has its name before the word: `critic.redo`, `critic.my_methods.Decay`, the same as `redo:only=critic`. Imports no torch.
"""

import dataclasses
import re
import types
import typing
from typing import Any

from plasticity_rl import plugins, registry
from plasticity_rl.checks import UsageError, choose, nearest


def part(kind: str, text: str) -> Any:
    """Part of a kind (a key of registry.TABLES) in words. Raises UsageError, naming the nearest word, field or choice."""
    word, settings = split(f"a {kind}", text)
    if kind == "method":
        word, settings = limited(word, settings)
    made = plugins.find(kind, word) if "." in word and plugins.is_path(word) else registry.find(kind, word)
    return made(**values(made, word, settings))


def split(what: str, text: Any) -> tuple[str, dict[str, str]]:
    """Word and settings. Raises UsageError, which calls the text `what`, if it is not of that form."""
    if not isinstance(text, str):
        raise UsageError(f"{what} must be written as words, not {text!r}")
    word, _, rest = text.partition(":")
    if what == "method" and re.search(r"[,\s+]", word.strip()):
        raise UsageError(f"{text!r} is no method; several are separated by spaces, without quotes, as in --chain nap redo:tau=0.1")
    settings: dict[str, str] = {}
    for setting in filter(None, rest.split(",")):
        name, equals, given = setting.partition("=")
        if not equals or not given:
            raise UsageError(f"{setting!r} in {text!r} is not of the form field=value")
        if name in settings:
            raise UsageError(f"{name} is set twice in {text!r}")
        settings[name] = given
    return word, settings


def limited(word: str, settings: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Word and settings of a method, with a network's name before the word as the setting `only`."""
    network, _, rest = word.partition(".")
    is_method = "." not in rest and rest.islower()  # also one that is misspelt: classes of plugins begin with capitals
    if not network or plugins.is_own(word) or not (is_method or plugins.is_own(rest)):
        return word, settings
    if "only" in settings:
        raise UsageError(f"{word}:only={settings['only']} names its network twice: leave one out")
    return rest, settings | {"only": network}


def values(made: type, word: str, settings: dict[str, str], listed: str = "") -> dict[str, Any]:
    """Settings of a class's fields, converted to their types. `listed`: as for `checks.nearest`."""
    if settings.get("only"):
        settings = getattr(made, "when_limited", {}) | settings
    hints = typing.get_type_hints(made)
    fields = [field.name for field in dataclasses.fields(made)]
    for name in settings:
        if name not in fields:
            raise UsageError(f"{word} has no field {name!r}; {nearest(name, fields, listed)}")
    return {name: value(f"{word}: {name}", text, hints[name]) for name, text in settings.items()}


def value(where: str, text: str, hint: Any) -> Any:
    """Convert `text` to the type `hint`; the dataclass itself checks ranges and choices."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if text == "none" else value(where, text, next(each for each in arguments if each is not type(None)))
    if origin is tuple:
        return () if text == "none" else tuple(value(where, each, arguments[0]) for each in text.split("+"))
    if hint is bool:
        return choose(where, text, ("true", "false")) == "true"
    try:
        if hint is int:
            return int(text.replace("_", ""))
        return float(text) if hint is float else text
    except ValueError:
        raise UsageError(f"{where} must be a {'whole ' if hint is int else ''}number, not {text!r}") from None
