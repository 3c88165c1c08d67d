"""Files of published scores, given as text: PATH is the project's table, KIND:PATH,FIELD=VALUE,... another program's file."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from analysis.published import dopamine, monitor, rliable, table, wandb
from analysis.published.scores import PublishedScores, Row, gather
from plasticity_rl.checks import UsageError, choose, nearest

KINDS: dict[str, Callable[..., Iterator[Row]]] = {
    "dopamine": dopamine.read,
    "monitor": monitor.read,
    "rliable": rliable.read,
    "wandb": wandb.read,
}


def read_published(texts: Iterable[str]) -> tuple[PublishedScores, ...]:
    """The agents of some files. Raises UsageError for an unknown kind or setting, and for files that the kind's reader refuses."""
    return gather(row for text in texts for row in _rows(text))


def _rows(text: str) -> Iterator[Row]:
    kind, colon, rest = text.partition(":")
    if not colon or Path(text).exists():
        return table.read(Path(text))
    read = KINDS[choose("kind of scores", kind, KINDS)]
    path, *words = re.split(r",(?=\w+=)", rest)  # other commas belong to the path or a value
    known = {name: each for name, each in inspect.signature(read).parameters.items() if name != "path"}
    settings: dict[str, Any] = {}
    for name, _, value in (word.partition("=") for word in words):
        if name not in known:
            raise UsageError(f"{kind} has no setting {name!r}; {nearest(name, known)}")
        if name in settings:
            raise UsageError(f"{name} is set twice in {text!r}")
        settings[name] = _value(f"{kind}: {name}", value, known[name].annotation)
    absent = [name for name, each in known.items() if each.default is each.empty and name not in settings]
    if not path or absent:
        needs = ["a path"] * (not path) + [f"{name}={_meant(known[name].annotation)}" for name in absent]
        raise UsageError(f"{text!r} lacks {' and '.join(needs)}: {kind}:PATH,FIELD=VALUE,... with {', '.join(known)}")
    return read(Path(path), **settings)


def _value(where: str, text: str, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        return choose(where, text, get_args(hint))
    if hint is str:
        if not text:
            raise UsageError(f"{where} is empty")
        return text
    if not re.fullmatch(r"[\d_]*\d", text):
        raise UsageError(f"{where} must be a whole number from 0 on, not {text!r}")
    return int(text)


def _meant(hint: Any) -> str:
    return "|".join(get_args(hint)) if get_origin(hint) is Literal else "NAME"
