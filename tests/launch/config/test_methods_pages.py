"""Pages of methods: their texts are complete, their links lead somewhere, and the numbers that they quote stand on the project's pages."""

import dataclasses
import inspect
import re
from functools import cache
from pathlib import Path

import pytest
import torch

from launch.config.method_pages import FAMILIES, costs, entries, index, page, paragraphs
from launch.config.methods import spec_line
from launch.config.parse import part_class
from plasticity_rl import registry
from plasticity_rl.attach import attach
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import PlasticityInjection

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
METHODS = list(registry.METHODS)
GUIDE = DOCS / "which-intervention.md"
LINK = re.compile(r"\]\(([^)\s]+)\)")
QUOTED = re.compile(r"-?[\d.]+%? \[-?[\d.]+(?:, |-)-?[\d.]+\]")


def anchors(path: Path) -> set[str]:
    """Names that a link into a page may have: its headings as repository browsers name them, and its own."""
    text = path.read_text("utf-8")
    heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads} | set(re.findall(r'<a id="([^"]+)">', text))


def check_links(text: str, folder: Path) -> None:
    for target in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (folder / name).resolve() if name else GUIDE
        if folder.name == "methods" and path.parent == folder:
            assert path.stem in METHODS, target
            continue
        assert path.is_file(), target
        assert not anchor or anchor in anchors(path), target


@cache
def measured() -> str:
    return "".join(path.read_text("utf-8") for path in (ROOT / "README.md", *sorted(DOCS.glob("*.md"))) if path != GUIDE)


def check_numbers(statement: str) -> None:
    """Numbers with intervals stand on a page, as quoted. The first edition of the claims is history once its page is replaced."""
    if "claims.md#" in statement and "first edition" not in (DOCS / "claims.md").read_text("utf-8"):
        return
    for number in QUOTED.findall(statement):
        assert number in measured(), number


def test_every_method_has_its_texts() -> None:
    texts = entries()
    assert list(texts) == METHODS
    for word, entry in texts.items():
        assert set(entry) == {"family", "formula", "try_when", "here"}, word
        assert entry["family"] in FAMILIES, word
        assert 1 <= len(entry["formula"].strip().splitlines()) <= 2, word
        assert "`" not in entry["formula"], word  # shown as code
        for text in (entry["try_when"], *entry["here"]):
            assert text.rstrip().endswith("."), text
            assert not re.search(r"(?:^|[.:] )(?:Of|What|Whoever)\b", text.strip()), text
        assert entry["here"], word
    assert {entry["family"] for entry in texts.values()} == set(FAMILIES)


@pytest.mark.parametrize("word", METHODS)
def test_a_page_is_whole(word: str) -> None:
    entry, made = entries()[word], part_class("method", word)
    text = page(word, entry)
    check_links(text, DOCS / "methods")
    for statement in entry["here"]:
        check_numbers(" ".join(statement.split()))
    assert text.startswith(f"# {word}\n") and entry["formula"].strip() in text
    assert f"--chain {word}{':' * bool(spec_line(made()))}{spec_line(made())}" in text
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    assert [name for name, *_ in rows] == [*(field.name for field in dataclasses.fields(made) if field.name != "only"), "only"]

    def words_of(text: str) -> list[str]:
        return re.findall(r"\w+", re.sub(r"\]\([^)]*\)|&lt;|```text", " ", text.replace("\\", "")))

    said = " ".join(words_of(text))
    for paragraph in re.split(r"\n\s*\n", (inspect.getdoc(made) or "").replace("<", " ")):
        assert " ".join(words_of(paragraph)) in said, paragraph
    assert {line.count("|") for line in re.findall(r"^\| `\w+` \|.*$", text, re.MULTILINE)} <= {5}


def test_what_a_page_says_of_attach_is_what_attach_does() -> None:
    for word, entry in entries().items():
        said = re.search(r"\| in your own loop \| (.+) \|", page(word, entry))
        assert said
        for normed in (True, False):
            norms = [torch.nn.LayerNorm(8)] if normed else []
            module = torch.nn.Sequential(torch.nn.Linear(4, 8), *norms, torch.nn.ReLU(), torch.nn.Linear(8, 2))
            try:
                attach(module, torch.optim.Adam(module.parameters()), (part_class("method", word)(),), torch.randn(3, 4))
                taken = True
            except UsageError:
                taken = False
            assert taken == ("`attach`" in said[1] and (normed or "norms" not in said[1])), (word, normed)


def test_the_overview_has_every_method_once() -> None:
    text = index(entries())
    check_links(text, DOCS / "methods")
    assert sorted(re.findall(r"^\| \[`([\w-]+)`\]", text, re.MULTILINE)) == sorted(METHODS)
    assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {5}
    assert [line[3:].lower() for line in text.splitlines() if line.startswith("## ")] == list(FAMILIES)


def test_the_guide_links_to_what_there_is_and_quotes_what_stands_there() -> None:
    text = GUIDE.read_text("utf-8")
    check_links(text, DOCS)
    for statement in re.split(r"\n(?=\n|- |\|)", text):
        check_numbers(" ".join(statement.split()))
    assert len(QUOTED.findall(" ".join(text.split()))) > 80  # the pattern finds them
    words = {each.partition(":")[0] for each in re.findall(r"`([a-z0-9-]+(?::[^`\s]*)?)`", text)}
    assert len(words & set(METHODS)) > 25
    assert not re.search(r"(?:^|[.:] |\n)(?:Of|What|Whoever)\b", text)


def test_docstrings_become_paragraphs_lists_and_code() -> None:
    text = (
        "One two\nthree <four>.\n\nLead:\n- first\n  more\n- second w_0\nAfter.\n\n    a * b_c\n    d\n\n"
        "See ReDo and Reset, `x_y` (arXiv 2302.12902)."
    )
    assert paragraphs(text, PlasticityInjection) == (
        "One two three &lt;four>.\n\nLead:\n\n- first more\n- second w\\_0\n\nAfter.\n\n```text\na * b_c\nd\n```\n\n"
        "See [ReDo](redo.md) and Reset, `x_y` ([arXiv 2302.12902](https://arxiv.org/abs/2302.12902))."
    )


def test_costs_are_read_from_the_tables() -> None:
    found = costs((DOCS / "benchmarks.md").read_text("utf-8"))
    assert found["redo"] == {"mlp": ("1.04 [1.00-1.13]", "1.01 [1.00-1.08]"), "nature": ("1.04 [0.98-1.13]", "1.00 [0.96-1.00]")}
    assert found["trac"] == {"mlp": ("1.16 [1.03-1.22]", "1.28 [1.13-1.43]")}
    assert set(found) == set(METHODS) - {"tailored"}
    section = "## Costs of methods\nbench --networks mlp\n| `one` * | 1.5 [1-2] | - | no |\n| `two` | - | - | no |\n"
    assert costs(f"{section}## Next\n| `three` | 9 | 9 | no |\n") == {"one": {"mlp": ("1.5 [1-2]", "-")}}
