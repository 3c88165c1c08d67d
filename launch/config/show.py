"""List of all words for parts of an experiment and a page for each, read from the classes."""

import dataclasses
import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from launch.config.defaults import DEFAULTS, GAMES, PAPERS, PARTS, preset
from launch.config.parse import part_class
from launch.process import listed
from plasticity_rl import plugins, registry
from plasticity_rl.checks import Interval, annotations, choose

KINDS = ("benchmark", "agent", "network", "optimizer", "schedule", "method", "metric")
SENTENCE = re.compile(r".+?[.?](?=\s+[A-Z`]|$)")
WIDTH = 100  # maximum characters per line of a page
FEW = 3  # maximum number of a setting's values that the list spells out; more are counted
SHORT = 40  # most characters of a setting that the list shows


def words(kind: str) -> list[str]:
    """Return all words of a kind, with those of plugins."""
    return [*PARTS.get(kind, registry.words(kind)), *(plugins.known(kind) if kind in plugins.BASES else [])]


def print_all() -> None:
    """Print one line for each word."""
    console = Console()
    for kind in KINDS:
        table = Table(title=f"{kind}s", title_justify="left", title_style="bold", show_header=False, box=None, padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        if found := words(kind):
            for word in found:
                table.add_row(word, escape(idea(kind, word)))
            console.print(table, "")


def print_page(word: str) -> None:
    """Print a word's meaning and its fields with types, defaults and meanings. Raises UsageError for an unknown word."""
    known = {each: kind for kind in KINDS for each in words(kind)}
    kind = known[choose("word", word, known, listed("show"))]
    made, settings, base = part_class(kind, word), preset(kind, word), base_of(kind, word)
    console = Console(highlight=False)
    console.print(f"[bold]{word}[/] - {made.__module__}.{made.__name__}", soft_wrap=True)
    if word in PAPERS:
        console.print("", PAPERS[word].about, sep="\n", markup=False)
    if base != word:
        told = [f"{name}={value}" for name, value in settings.items()]
        told += [f"{part}: {said}" for part, said in DEFAULTS.get(word, {}).items()]
        told += [f"{part} on games: {said}" for part, said in GAMES.get(word, {}).items()]
        console.print("", f"It is `{base}`, which `show {base}` explains, with", *told, sep="\n", markup=False, soft_wrap=True)
    else:
        text = wrapped(inspect.getdoc(made) or "", min(console.width, WIDTH))
        console.print("", *text, sep="\n", markup=False, soft_wrap=True)
    if dataclasses.fields(made):
        console.print("", fields_table(made, settings))


def base_of(kind: str, word: str) -> str:
    """Return the word that a preset adds settings to; any other word itself."""
    table = PARTS.get(kind, {})
    return next(each for each, path in table.items() if path == table[word]) if word in table else word


def idea(kind: str, word: str) -> str:
    """Return a word's meaning in a sentence; for a preset, the settings that it changes."""
    base = base_of(kind, word)
    if word == base:
        return first_sentence(inspect.getdoc(part_class(kind, word)) or "")
    if kind == "benchmark" and word in PAPERS:
        return first_sentence(PAPERS[word].about)
    told = []
    for name, value in preset(kind, word).items():
        values = value.split("+")
        told.append(f"{name}={value}" if len(values) <= FEW and len(value) <= SHORT else f"{len(values)} {name}")
    return ", ".join([f"`{base}` with {told[0]}", *told[1:], *(f"{part} {said}" for part, said in GAMES.get(word, {}).items())])


def first_sentence(text: str) -> str:
    """Return the first sentence of a docstring, on one line."""
    line = " ".join(text.partition("\n\n")[0].split())
    found = SENTENCE.match(line)
    return found[0] if found else line


def wrapped(text: str, width: int) -> list[str]:
    """Wrap a text whose paragraphs are separated by empty lines, or begin with a hyphen."""
    lines: list[str] = []
    for each in re.split(r"\n(?=\n|- )", text):
        indent = "  " if each.startswith("- ") else ""
        lines += [""] if each.startswith("\n") else []
        lines += textwrap.wrap(" ".join(each.split()), width, subsequent_indent=indent, break_on_hyphens=False)
    return lines


def fields_table(made: type, settings: Mapping[str, str] | None = None) -> Table:
    """Return a table of a class's fields with types, defaults and meanings; `settings` of a preset replace defaults."""
    meanings = field_meanings(made)
    columns = [Column("field", no_wrap=True), *(Column(heading, overflow="fold") for heading in ("type", "default", "meaning"))]
    table = Table(*columns, box=None, padding=(0, 2))
    for field, hint, interval in listed_fields(made):
        kind = (
            " | ".join(map(str, typing.get_args(hint)))
            if typing.get_origin(hint) is typing.Literal
            else getattr(hint, "__name__", str(hint))
        )
        if interval is not None:
            kind += f" in {interval.text}"
        default = "+".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)
        if field.name == "precision":
            kind += " | auto"  # `auto` is resolved by the parser; the class does not accept it
        table.add_row(*map(escape, (field.name, kind, (settings or {}).get(field.name, default), meanings.get(field.name, ""))))
    return table


def listed_fields(made: type) -> list[tuple[dataclasses.Field[Any], Any, Interval | None]]:
    """Return a class's fields with types and intervals: its own, then those that are written before its word."""
    found = [(field, hint, interval) for field, (_, hint, interval) in zip(dataclasses.fields(made), annotations(made), strict=True)]
    return sorted(found, key=lambda each: bool(each[0].metadata.get("prefix")))


def field_meanings(made: type) -> dict[str, str]:
    """Return the docstring behind each field, base classes first."""
    import ast
    import textwrap

    meanings = {}
    homes = [(each, vars(sys.modules[each.__module__]).get(each.__name__)) for each in made.__mro__ if dataclasses.is_dataclass(each)]
    written = [each for each, found in homes if found is each]  # without classes that stand for a plugin's factory
    for owner in reversed(written):
        body = typing.cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]).body
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                meanings[getattr(field.target, "id", "")] = " ".join(str(text.value.value).split())
    return meanings
