"""Build the documentation's site: `python docs/build.py`, or `make site`. Needs the extra `docs`.

Pages are Markdown that reads well in a repository's browser too. They are copied to build/pages with their links changed to the site's
paths; pages of methods and of the API are added, written from the code. zensical then makes build/site, warnings being errors.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BUILD = ROOT / "build"
PAGES = BUILD / "pages"
ABOVE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""page at the top of the checkout -> its path on the site"""
LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)#\s]+)((?:#[^)\s]*)?\))")
FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
LISTED = "    # docs/build.py lists the families here"
"""line of zensical.toml in whose place the pages of methods are listed"""
API = {
    "attach": ("The methods in your own loop", ["plasticity_rl.attach", "plasticity_rl.attach.plan"]),
    "check": ("Is a network still plastic?", ["plasticity_rl.checkup.examine"]),
    "learner": ("The learner", ["plasticity_rl.training.learner"]),
    "networks": ("Networks", ["plasticity_rl.networks.specs", "plasticity_rl.networks.network", "plasticity_rl.networks.layers"]),
    "interventions": ("The shape of a method", ["plasticity_rl.interventions.base", "plasticity_rl.interventions.chain"]),
    "optimizers": ("Optimizers and schedules", ["plasticity_rl.optim.optimizers", "plasticity_rl.optim.schedules"]),
    "metrics": ("Metrics", [f"plasticity_rl.metrics.{name}" for name in ("units", "ranks", "norms", "curvature", "function")]),
    "records": ("Run folders", ["plasticity_rl.records.folder", "plasticity_rl.records.spec", "plasticity_rl.records.events"]),
    "benchmarks": ("Benchmarks of your own", ["envs.sequences", "envs.supervised.base", "envs.reinforcement.base"]),
    "agents": ("Agents of your own", ["agents.base"]),
    "statistics": ("Statistics", ["analysis.statistics.intervals", "analysis.statistics.aggregates"]),
    "runs": ("Reading runs", ["analysis.data.load"]),
}
"""page of the API -> its title and modules"""


def sources() -> Iterator[tuple[Path, Path]]:
    """All pages: file and path on the site."""
    for name, path in ABOVE.items():
        yield ROOT / name, Path(path)
    for file in sorted(DOCS.rglob("*.md")):
        yield file, file.relative_to(DOCS)


def relinked(text: str, file: Path, path: Path) -> tuple[str, set[Path]]:
    """Change a page's links to the site's paths; returns the text, and the files other than pages that it links to.

    Raises FileNotFoundError if a link leads nowhere.
    """
    linked: set[Path] = set()

    def change(found: re.Match[str]) -> str:
        target = (file.parent / found[2]).resolve()
        if not target.exists() and target.parent != DOCS / "methods":  # pages of methods are written: zensical checks these links
            raise FileNotFoundError(f"{file.relative_to(ROOT)}: {found[2]}")
        if target.suffix != ".md":
            linked.add(target)
        return f"{found[1]}{os.path.relpath(_place(target), path.parent)}{found[3]}"

    kept: list[str] = []
    last = 0
    for fence in FENCE.finditer(text):
        kept += [LINK.sub(change, text[last : fence.start()]), fence[0]]
        last = fence.end()
    return "".join([*kept, LINK.sub(change, text[last:])]), linked


def _place(target: Path) -> Path:
    """Path on the site of a file of the checkout."""
    if target.is_relative_to(DOCS):
        return target.relative_to(DOCS)
    name = str(target.relative_to(ROOT))
    return Path(ABOVE.get(name, f"files/{name}"))


def write_pages() -> None:
    """Write all pages, and the files that they link to."""
    for file, path in sources():
        text, linked = relinked(file.read_text("utf-8"), file, path)
        _write(path, text)
        for target in linked:
            (PAGES / _place(target)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(target, PAGES / _place(target))
    shutil.copyfile(DOCS / "site.css", PAGES / "site.css")


def write_methods() -> None:
    """Write a page for each method, one of all, and the configuration, whose navigation lists them."""
    from launch.config.method_pages import FAMILIES, entries, index, page

    texts = entries()
    pages = {"index": index(texts)} | {word: page(word, entry) for word, entry in texts.items()}
    for name, text in pages.items():
        path = Path(f"methods/{name}.md")
        _write(path, relinked(text, DOCS / path, path)[0])
    words = {family: [f'"methods/{word}.md"' for word in texts if texts[word]["family"] == family] for family in FAMILIES}
    rows = [f'    {{ "{family.capitalize()}" = [{", ".join(pages)}] }},' for family, pages in words.items()]
    settings = (DOCS / "zensical.toml").read_text("utf-8")
    (BUILD / "zensical.toml").write_text(settings.replace(LISTED, "\n".join(rows)), "utf-8")


def write_api() -> None:
    """Write the pages of the API, which mkdocstrings fills from the docstrings."""
    rows = [f"- [{title}]({name}.md): {', '.join(f'`{module}`' for module in modules)}" for name, (title, modules) in API.items()]
    intro = "Modules that are meant to be imported; `plasticity_rl` is the library, the others are the testbed's."
    _write(Path("api/index.md"), "\n".join(["# API", "", intro, "", *rows, ""]))
    for name, (title, modules) in API.items():
        _write(Path(f"api/{name}.md"), "\n\n".join([f"# {title}", *(f"::: {module}" for module in modules), ""]))


def _write(path: Path, text: str) -> None:
    (PAGES / path).parent.mkdir(parents=True, exist_ok=True)
    (PAGES / path).write_text(text, "utf-8")


def main() -> int:
    """Build the site; returns zensical's exit code, which is not 0 if a link or an anchor leads nowhere."""
    shutil.rmtree(BUILD, ignore_errors=True)
    write_pages()
    write_methods()
    write_api()
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(BUILD / "zensical.toml")]
    code = subprocess.run(command, cwd=BUILD, env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode
    if code == 0:
        print(BUILD / "site" / "index.html")
    return code


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
