"""What there is: every word an experiment can be made of, and a page for each, from the classes themselves."""

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from itertools import pairwise

from rich.console import Console
from rich.table import Table

from launch.words import DEFAULTS, PAPERS, PARTS, methods, part_class, preset
from plasticity_rl import plugins
from plasticity_rl.checks import choose

KINDS = ("benchmark", "agent", "network", "optimizer", "schedule", "method")


def words(kind: str) -> list[str]:
    """All words of a kind; methods, those of plugins too."""
    return [*methods(), *plugins.known()] if kind == "method" else list(PARTS[kind])


def print_all() -> None:
    """One line for each word."""
    console = Console()
    for kind in KINDS:
        table = Table(title=f"{kind}s", title_justify="left", title_style="bold", show_header=False, box=None, padding=(0, 2))
        for word in words(kind):
            table.add_row(word, about(kind, word).partition("\n")[0])
        console.print(table, "")


def print_page(word: str) -> None:
    """What a word stands for, and its fields with types, defaults and meanings. Raises UsageError for an unknown word."""
    known = {each: kind for kind in KINDS for each in words(kind)}
    kind = known[choose("word", word, known)]
    made, settings = part_class(kind, word), preset(kind, word)
    console = Console(highlight=False)
    console.print(f"[bold]{word}[/] - {made.__module__}.{made.__name__}" + (" with settings" if settings else "") + "\n")
    console.print(about(kind, word), markup=False)
    if word in PAPERS:
        parts = DEFAULTS[word]
        told = [f"{part}: {parts[part]}" for part in ("agent", "network", "optimizer", "schedule")]
        console.print("", f"It is `{PAPERS[word].of}`, which `show {PAPERS[word].of}` explains, with", *told, sep="\n", markup=False)
    console.print("", fields_table(made, settings))


def about(kind: str, word: str) -> str:
    """What a word stands for, in lines."""
    return PAPERS[word].about if kind == "benchmark" and word in PAPERS else inspect.getdoc(part_class(kind, word)) or ""


def fields_table(made: type, settings: Mapping[str, str] | None = None) -> Table:
    """A class's fields with types, defaults and meanings; `settings` are what a preset has in the defaults' place."""
    hints, meanings = typing.get_type_hints(made), field_meanings(made)
    table = Table("field", "type", "default", "meaning", box=None, padding=(0, 2))
    for field in dataclasses.fields(made):
        hint = hints[field.name]
        kind = (
            " | ".join(map(str, typing.get_args(hint)))
            if typing.get_origin(hint) is typing.Literal
            else getattr(hint, "__name__", str(hint))
        )
        default = "+".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)
        table.add_row(field.name, kind, (settings or {}).get(field.name, default), meanings.get(field.name, ""))
    return table


def field_meanings(made: type) -> dict[str, str]:
    """The docstring behind each field, base classes first."""
    import ast
    import textwrap

    meanings = {}
    for owner in reversed([each for each in made.__mro__ if dataclasses.is_dataclass(each)]):
        body = typing.cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]).body
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                meanings[getattr(field.target, "id", "")] = " ".join(str(text.value.value).split())
    return meanings
