"""A page of Markdown for each method, from its class and from docs/methods.toml, and an overview of all."""

import inspect
import re
import shlex
import tomllib
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from launch.config.methods import Facts, facts, spec_line
from launch.config.parse import part_class
from launch.config.show import field_meanings, listed_fields, words

DOCS = Path(__file__).parents[2] / "docs"
FAMILIES = {
    "normalisation": "a norm before every activation",
    "activation": "another nonlinearity",
    "initialisation": "other first weights",
    "optimizer and step size": "how far a step goes",
    "penalty on weights, and decay": "a pull of the weights toward zero, the start, or a spectrum",
    "penalty on outputs and features": "a pull of what the network computes toward what it computed",
    "constraint on weights": "a length or bound, restored after every update",
    "shrinking, noise and averages": "all weights moved a little, or at intervals by much",
    "recycling of units and weights": "single units or weights that start anew",
    "reset of networks and layers": "whole layers that start anew",
    "sparsity and reparametrisation": "absent weights, or others in their place",
}
"""family of a method -> its meaning, in the order of the overview"""
NETWORKS = {"mlp": "MLP of 3 x 100, digits", "nature": "Nature CNN, DQN"}
"""network of `bench interventions` -> its name on a page"""

READING = (
    "Brackets are 95% intervals. *Keeps* N% is plasticity kept, *performance* is beside a fresh agent ([reports](../report.md)); scores of "
    "random labels and permuted digits are online accuracies."
)

Entry = Mapping[str, Any]
"""one method's texts: `family`, `formula`, `try_when`, and `here`, a list of statements"""


def entries() -> dict[str, Entry]:
    """Read docs/methods.toml: word -> its texts."""
    return tomllib.loads((DOCS / "methods.toml").read_text("utf-8"))


def page(word: str, entry: Entry) -> str:
    """Write the page of one method. Links lead from docs/methods/, where pages of other methods lie beside it."""
    found, made = facts(word), part_class("method", word)
    settings = spec_line(made())
    chain = shlex.join(["--chain", f"{word}{settings and ':'}{settings}"])
    idea, _, more = (inspect.getdoc(made) or "").partition("\n\n")
    about = [
        ("family", entry["family"]),
        ("class", f"`{made.__module__}.{made.__name__}`"),
        ("paper", _cited(found) or "none"),
        ("hooks", ", ".join(found.hooks) or "none"),
        ("needs", ", ".join(found.needs) or "nothing but updates"),
        ("in your own loop", _attached(found, made)),
    ]
    parts = [
        f"# {word}",
        paragraphs(idea, made),
        _table(("", ""), about),
        f"```\n{chain}\n```",
        "## Formula",
        f"```text\n{entry['formula'].strip()}\n```",
        *(("## Details", paragraphs(more, made)) if more else ()),
        "## Settings",
        _settings(made),
        "## Cost",
        _cost(word),
        "## When to try it",
        _moved(entry["try_when"]),
        "Symptoms, and what to try first: [which intervention?](../which-intervention.md)",
        "## Shown here",
        _shown(entry["here"]),
    ]
    return "\n\n".join(parts) + "\n"


def index(texts: Mapping[str, Entry]) -> str:
    """Write the overview, methods/index.md: a table of the methods of each family."""
    parts = [
        "# Methods",
        "A page for each intervention: formula, settings with the origin of each default, cost, when to try it, and what this project's "
        "runs have shown of it. [Which intervention should I try?](../which-intervention.md) begins with the symptom, and "
        "[interventions](../interventions.md) says how methods act together.",
    ]
    for family, meaning in FAMILIES.items():
        found = [facts(word) for word in words("method") if word in texts and texts[word]["family"] == family]
        rows = [(f"[`{each.word}`]({each.word}.md)", _text(each.idea), ", ".join(each.needs), _cited(each)) for each in found]
        name = family[0].upper() + family[1:]
        parts += [f"## {name}", f"{meaning[0].upper()}{meaning[1:]}.", _table(("method", "idea", "needs", "paper"), rows)]
    return "\n\n".join(parts) + "\n"


def paragraphs(text: str, made: type | None = None) -> str:
    """Render a docstring as Markdown: wrapped lines become paragraphs, points a list, indented lines code. Names of other methods than
    `made` become links to their pages."""
    blocks: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        if block.startswith("    "):
            blocks.append("```text\n" + inspect.cleandoc(block) + "\n```")
            continue
        pieces: list[str] = []
        for line in block.splitlines():  # a line that continues a point is indented
            if not pieces or line.startswith("- ") or (pieces[-1].startswith("- ") and not line.startswith(" ")):
                pieces.append(line)
            else:
                pieces[-1] += f" {line.strip()}"
        for before, piece in zip(["", *pieces], pieces, strict=False):
            point = piece.startswith("- ")
            told = "- " * point + _text(piece.removeprefix("- "), made)
            if point and before.startswith("- "):
                blocks[-1] += f"\n{told}"
            else:
                blocks.append(told)
    return "\n\n".join(blocks)


def costs(text: str) -> dict[str, dict[str, tuple[str, str]]]:
    """Read docs/benchmarks.md's tables of costs: word -> network -> times of an update over those without the method, for one network
    and for five at once."""
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (lines,) = (each.splitlines() for each in section if each.startswith("Costs of methods\n"))
    found: dict[str, dict[str, tuple[str, str]]] = {}
    network = ""
    for line in lines:
        if named := re.search(r"--networks (\w+)", line):
            network = named[1]
        elif (row := re.match(r"\| `([\w-]+)`(?: \*)? \| ([^|]+) \| ([^|]+) \|", line)) and row[2] != "-":
            found.setdefault(row[1], {})[network] = (row[2], row[3])
    return found


@cache
def _measured() -> dict[str, dict[str, tuple[str, str]]]:
    return costs((DOCS / "benchmarks.md").read_text("utf-8"))


def _cost(word: str) -> str:
    source = "[benchmarks](../benchmarks.md#costs-of-methods)"
    rows = [(name, *_measured().get(word, {}).get(network, ("not measured", "not measured"))) for network, name in NETWORKS.items()]
    if all(row[1:] == ("not measured", "not measured") for row in rows):
        return f"Not measured ({source})."
    told = f"Time of an update over that without the method, median [lowest-highest]; {source} has machine and command."
    return f"{told}\n\n{_table(('network', 'one', 'five at once'), rows)}"


def _shown(statements: list[str]) -> str:
    texts = [_moved(each) for each in statements]
    told = "\n".join(f"- {each}" for each in texts) if len(texts) > 1 else texts[0]
    return f"{told}\n\n{READING}" if re.search(r"\d%? \[", told) else told


def _attached(found: Facts, made: type) -> str:
    """How the method gets into a training loop of one's own: what plasticity_rl.attach accepts."""
    if "optimizer" in found.hooks:
        return "settings of your `torch.optim` optimizer"
    if builds := made().build():
        return "build your module with it" if set(builds) != {"norm"} or found.hooks == ("build",) else "`attach`, to a module with norms"
    return "[`attach`](../library.md)"


def _settings(made: type) -> str:
    meanings = field_meanings(made)
    rows = []
    for field, hint, interval in listed_fields(made):
        allowed = _allowed(hint, "" if interval is None else f" in {interval.text}")
        default = "+".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)
        if field.name == "every" and field.default is None and (ticks := getattr(made, "default_every", {})):
            default = ", ".join(f"{count} (clock={clock})" for clock, count in ticks.items())
        rows.append((f"`{field.name}`", allowed, default or "none", _text(meanings.get(field.name, ""), made)))
    return _table(("setting", "allowed", "default", "meaning"), rows)


def _allowed(hint: Any, interval: str) -> str:
    """A field's type in words; `interval` belongs to its number."""
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{each}`" for each in typing.get_args(hint))
    kinds = [getattr(each, "__name__", str(each)) for each in typing.get_args(hint) if each is not type(None)]
    if typing.get_origin(hint) is tuple:
        return f"{kinds[0]}s joined by +"
    return " or ".join(kinds) + interval + " or `None`" if kinds else hint.__name__ + interval


def _cited(found: Facts) -> str:
    return f"[{_text(found.citation, link=False)}](https://arxiv.org/abs/{found.paper})" if found.paper else _text(found.citation)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "&#124;") for cell in line) + " |" for line in lines)


def _moved(text: str) -> str:
    """A text of methods.toml, whose links lead from docs/, for a page in docs/methods/."""
    return re.sub(r"\]\((?!https?:|#)", "](../", " ".join(text.split()))


def _text(text: str, made: type | None = None, link: bool = True) -> str:
    """Plain text as Markdown, outside of code: marks of Markdown are escaped, arXiv numbers and, with `made`, other methods are links."""

    def other(match: re.Match[str]) -> str:
        word = _pages().get(match[0])
        return match[0] if word is None or made is None or match[0] == made.__name__ else f"[{match[0]}]({word}.md)"

    pieces = re.split(r"(`[^`]*`)", text)
    for place in range(0, len(pieces), 2):
        piece = re.sub(r"([\\*_\[\]])", r"\\\1", pieces[place]).replace("<", "&lt;")
        if link:
            piece = re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", piece)
        pieces[place] = re.sub(r"\b[A-Z]\w+\b", other, piece)
    return "".join(pieces)


@cache
def _pages() -> dict[str, str]:
    """Class name -> word, of the methods whose name is no English word."""
    found = {part_class("method", word).__name__: word for word in words("method")}
    return {name: word for name, word in found.items() if name not in (name.capitalize(), name.upper())}
