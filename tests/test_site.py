"""The documentation's site: links of pages become the site's, and no page is forgotten. `make site` builds it."""

import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILD = runpy.run_path(str(DOCS / "build.py"))


@pytest.mark.parametrize(
    ("page", "link", "there"),
    [
        ("README.md", "[a](docs/check.md#own)", "[a](check.md#own)"),
        ("README.md", "![a](docs/demo.png)", "![a](demo.png)"),
        ("docs/check.md", "[a](../README.md)", "[a](index.md)"),
        ("docs/check.md", "[a](../CONTRIBUTING.md#x)", "[a](contributing.md#x)"),
        ("docs/claims/x.md", "[a](../check.md)", "[a](../check.md)"),
        ("docs/check.md", "[a](../examples/search.toml)", "[a](files/examples/search.toml)"),
        ("docs/check.md", "[a](#own) [b](https://example.org/x.md)", "[a](#own) [b](https://example.org/x.md)"),
        ("docs/check.md", "```\n[a](nowhere.md)\n```", "```\n[a](nowhere.md)\n```"),
    ],
)
def test_a_link_leads_to_the_same_file_on_the_site(page: str, link: str, there: str) -> None:
    paths = {"README.md": "index.md"}
    text, linked = BUILD["relinked"](link, ROOT / page, Path(paths.get(page, page.removeprefix("docs/"))))
    assert text == there
    assert linked == {ROOT / found for found in ("docs/demo.png", "examples/search.toml") if Path(found).name in link}


def test_a_link_that_leads_nowhere_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"docs/check.md: nowhere.md"):
        BUILD["relinked"]("[a](nowhere.md)", DOCS / "check.md", Path("check.md"))


def listed(nav: Any) -> list[str]:
    """Pages of a navigation, in order."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in listed(part)]


def test_the_navigation_has_every_page_once() -> None:
    pages = listed(tomllib.loads((DOCS / "zensical.toml").read_text())["project"]["nav"])
    written = [str(path) for _, path in BUILD["sources"]()]
    made = ["methods/index.md", "api/index.md", *(f"api/{name}.md" for name in BUILD["API"])]
    assert sorted(pages) == sorted([*written, *made])
