"""List of methods and a page for each, read from the classes."""

import ast
import dataclasses
import inspect
import re
import shlex
import sys
from typing import Any, NamedTuple

from rich.console import Console

from launch.config.parse import part_class
from launch.config.show import WIDTH, fields_table, first_sentence, words, wrapped
from launch.process import listed
from plasticity_rl.checks import choose

HOOKS = ("build", "optimizer", "penalty", "after_step", "refresh", "project")
ARXIV = re.compile(r"arXiv[:\s]+(\d{4}\.\d{4,5})")
CITATION = re.compile(r"\s*\(([^()]*\b(?:19|20)\d\d\b[^()]*|[^()]*arXiv[^()]*)\)")


class Facts(NamedTuple):
    """Summary of a method."""

    word: str
    name: str
    """name of its class"""
    hooks: tuple[str, ...]
    """hooks of the build and of an update that it uses"""
    needs: tuple[str, ...]
    """requirements besides updates: `task boundaries`, a `second forward pass`"""
    paper: str
    """the first citation's arXiv number; empty if it has none"""
    citation: str
    """first citation of its docstring: text in brackets with a year or an arXiv number; empty if there is none"""
    idea: str
    """the docstring's first sentence, without citations"""


def facts(word: str) -> Facts:
    """Read a method's facts from its class and docstring."""
    from plasticity_rl.interventions import Intervention

    made = part_class("method", word)
    hooks = [hook for hook in HOOKS if getattr(made, hook, None) is not getattr(Intervention, hook, None)]
    needs = {"task boundaries": getattr(made(), "clock", None) == "task", "second forward pass": passes_again(made)}
    text = " ".join((inspect.getdoc(made) or "").split())
    cited = (each.strip() for bracket in CITATION.findall(text) for each in bracket.split(";"))
    citation = next((each for each in cited if re.search(r"\d{4}", each)), "")
    found = ARXIV.search(citation)
    bare = CITATION.sub("", " ".join((inspect.getdoc(made) or "").partition("\n\n")[0].split()))
    return Facts(
        word,
        made.__name__,
        tuple(hook.replace("_", "-") for hook in hooks),
        tuple(need for need, there in needs.items() if there),
        found[1] if found else "",
        citation,
        first_sentence(bare),
    )


def passes_again(made: type) -> bool:
    """True if its code, or a function of its module, uses `context.apply`, which costs a second forward pass in every update."""
    from plasticity_rl.interventions import Intervention

    owners = [each for each in made.__mro__ if issubclass(each, Intervention) and each.__module__ != Intervention.__module__]
    nodes: list[ast.AST] = []
    for module in {each.__module__ for each in owners}:
        names = {each.__name__ for each in owners if each.__module__ == module}
        body = ast.parse(inspect.getsource(sys.modules[module])).body
        nodes += [inner for node in body if not isinstance(node, ast.ClassDef) or node.name in names for inner in ast.walk(node)]
    return any(isinstance(node, ast.Attribute) and ast.unparse(node) == "context.apply" for node in nodes)


def spec_line(made: Any) -> str:
    """Write all settings of a part as words, in the form used after the colon."""
    after = [field.name for field in dataclasses.fields(made) if not field.metadata.get("prefix")]
    return ",".join(f"{name}={_spelt(getattr(made, name))}" for name in after)


def print_all() -> None:
    """Print one line for each method."""
    found = [facts(word) for word in words("method")]
    heads = ("word", "hooks", "needs", "arXiv")
    columns = [(each.word, ", ".join(each.hooks), ", ".join(each.needs), each.paper) for each in found]
    widths = [max(map(len, column)) for column in zip(heads, *columns, strict=True)]
    for cells, idea in zip([heads, *columns], ["idea", *(each.idea for each in found)], strict=True):
        print("  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), idea]))


def print_markdown() -> None:
    """Print the table of docs/interventions.md."""
    print("| method | word | hooks | needs | paper |\n|---|---|---|---|---|")
    for each in map(facts, words("method")):
        print(f"| {each.name} | `{each.word}` | {', '.join(each.hooks)} | {', '.join(each.needs)} | {each.citation} |")


def print_page(word: str) -> None:
    """Print a method's page. Raises UsageError for an unknown word."""
    found = facts(choose("method", word, words("method"), listed("interventions")))
    made = part_class("method", word)
    console = Console(highlight=False)
    console.print(f"[bold]{word}[/] - {made.__module__}.{made.__name__}", soft_wrap=True)
    console.print(f"acts in: {', '.join(found.hooks) or 'nothing'}; needs: {', '.join(found.needs) or 'nothing but updates'}", markup=False)
    if found.paper:
        console.print(f"https://arxiv.org/abs/{found.paper}", markup=False)
    text = wrapped(inspect.getdoc(made) or "", min(console.width, WIDTH))
    console.print("", *text, "", sep="\n", markup=False, soft_wrap=True)
    settings = spec_line(made())
    console.print(fields_table(made), "")
    console.print(shlex.join(["--chain", f"{word}{settings and ':'}{settings}"]), markup=False, soft_wrap=True)


def _spelt(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(map(_spelt, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
