"""Tutorials and recipes: each command line is parsed, and its experiments are made, without training. Notebooks, made small."""

import functools
import json
import re
import runpy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import scipy.stats
from gymnasium.envs import registration

from launch import __main__ as program
from launch.config.parse import experiment, read_experiment
from launch.run.sweep import build, own_controls, read_sweep
from plasticity_rl import plugins

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGES = sorted(page for room in ("tutorials", "how-to") for page in (Path(__file__).parents[1] / "docs" / room).glob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
"""language and text; blocks without a language are command lines, or what they print"""
NAME = re.compile(r'(?:"""|# )([\w-]+\.(?:py|toml))\b')
"""of a file that the reader writes, in its first line"""


def files(page: Path) -> list[tuple[str, str]]:
    """Name and text of each."""
    return [(found[1], text) for language, text in BLOCK.findall(page.read_text()) if language and (found := NAME.match(text))]


def commands(page: Path) -> list[list[str]]:
    """Text after `python -m launch` in each line of the page's blocks; printed ones are among them, placeholders are not."""
    lines = [line for language, block in BLOCK.findall(page.read_text()) if not language for line in block.splitlines()]
    found = [shlex.split(line, comments=True)[3:] for line in dict.fromkeys(lines) if line.startswith("python -m launch ")]
    return [words for words in found if words[0].isalpha()]


@functools.cache
def parsed(words: tuple[str, ...]) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Name and arguments of the command that a line calls; it is not called."""
    called: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def noted(command: Callable[..., int]) -> Callable[..., Callable[[], int]]:
        @functools.wraps(command)
        def remember(*given: Any, **named: Any) -> Callable[[], int]:
            called.append((command.__name__, given, named))
            return lambda: 0

        return remember

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "_later", noted)
        assert program.main(words) == 0, shlex.join(words)
    return called


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder, and nothing left behind of the plugins that are imported from it."""
    monkeypatch.setattr(plugins, "_allowed", [])
    monkeypatch.setattr(registration, "registry", dict(registration.registry))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_file_has_one_content_in_all_tutorials_and_every_page_has_commands() -> None:
    found = {each for page in PAGES if page.parent.name == "tutorials" for each in files(page)}
    assert len(found) == len({name for name, _ in found}) >= 10
    assert all(commands(page) for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_tutorial_is_valid(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {name: text for each in (*PAGES, page) for name, text in files(each)}.items():
        Path(name).write_text(text)
        monkeypatch.setitem(sys.modules, Path(name).stem, ModuleType(name))  # so that the test leaves no trace
        del sys.modules[Path(name).stem]
    if "python my_data.py" in page.read_text():  # writes the table that later commands name
        runpy.run_path("my_data.py")
    for words in commands(page):
        (name, given, named), *rest = parsed(tuple(words))
        assert not rest
        if "plugin" in named:
            plugins.allow(named["plugin"])
        if name == "run":
            said = (read_experiment(named["file"]) if named["file"] else {}) | named["fields"].words()
            assert experiment(said, "cpu").key
        if name == "sweep":
            said = read_sweep(given[0])
            assert build([*said, *(own_controls(said, "cpu") if named["own_control"] else [])], "cpu")


def carried_out(notebook: str, smaller: dict[str, str]) -> dict[str, Any]:
    """Names after all cells of a notebook of examples/, in this folder; `smaller`: text of a setting -> what takes its place."""
    cells = [cell for cell in json.loads((EXAMPLES / notebook).read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    sources = ["".join(cell["source"]) for cell in cells]
    for large, small in smaller.items():
        assert sum(each.count(large) for each in sources) == 1, large
        sources = [each.replace(large, small) for each in sources]
    names: dict[str, Any] = {}
    for source in sources:
        exec(source, names)
    return names


@pytest.mark.long
def test_the_notebook_of_the_first_study_ends_with_its_verdict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smaller = {"tasks=10,updates=1000": "tasks=2,updates=20,images=60", '"10"': '"2"', "OPTIONS: list[str] = []": 'OPTIONS = ["--eager"]'}
    smaller |= {', ["nap"], ["reset"])': ', ["reset"])'}
    names = carried_out("first_study.ipynb", smaller)
    kept = names["verdict"].set_index("chain").plasticity_kept
    areas = names["curves"].to_dict()  # chain -> visit -> mean area
    assert set(areas) == {"none", "l2-init", "fresh"}
    assert kept["l2-init"] == pytest.approx(areas["l2-init"][1] / areas["l2-init"][0])  # tasks are alike: its first visit is its control
    assert "l2-init keeps" in capsys.readouterr().out


@pytest.mark.long
def test_the_notebook_of_own_parts_trains_each(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smaller = {
        "tasks=5,updates=300": "tasks=2,updates=40",
        "tasks=2,frames=4096": "tasks=2,frames=512",
        '"3", "--eager"': '"2", "--eager"',
    }
    acted = carried_out("own_parts.ipynb", smaller)["acted"]
    assert len(acted) == 2 and not acted.pop("none") and all(acted.values())
    assert (folder / "runs/board").is_dir()


@pytest.mark.long
def test_the_notebook_of_the_lesson_ends_with_its_solutions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = "TASKS, UPDATES, MEMBERS = 3, 20, 4"
    smaller = {"TASKS, UPDATES, MEMBERS = 10, 1000, 10": small, "OPTIONS: list[str] = []": 'OPTIONS = ["--eager"]'}
    names = carried_out("lesson.ipynb", smaller)
    area, metrics = names["area"], names["metrics"]
    assert set(area.columns.levels[0]) == set(metrics.index.levels[0]) == {"none", "l2-init", "nap", "redo", "fresh"}
    assert area["nap"].shape == (4, 3)
    pairs = scipy.stats.ttest_rel(area["l2-init"].mean(axis=1), area["none"].mean(axis=1)).confidence_interval()
    assert f"4 members: +- {(pairs.high - pairs.low) / 2:.3f}" in capsys.readouterr().out
