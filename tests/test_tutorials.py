"""Files and command lines of tutorials and recipes: each line is parsed, and its experiments are made, without training."""

import functools
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from gymnasium.envs import registration

from launch import __main__ as program
from launch.config.parse import experiment, read_experiment
from launch.run.sweep import build, own_controls, read_sweep
from plasticity_rl import plugins

PAGES = sorted(page for room in ("tutorials", "how-to") for page in (Path(__file__).parents[1] / "docs" / room).glob("*.md"))
FILE = re.compile(r'^```(?:python|toml)\n((?:"""|# )([\w-]+\.(?:py|toml))\b.*?)^```', re.DOTALL | re.MULTILINE)
"""a file that the reader writes; its first line names it"""
BLOCK = re.compile(r"^```\n(.*?)^```", re.DOTALL | re.MULTILINE)
"""command lines, or what they print"""


def commands(page: Path) -> list[list[str]]:
    """Text after `python -m launch` in each line of the page's blocks; printed ones are among them, placeholders are not."""
    lines = [line for block in BLOCK.findall(page.read_text()) for line in block.splitlines()]
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


def test_every_page_has_commands_or_files() -> None:
    assert PAGES
    for page in PAGES:
        assert commands(page) or FILE.search(page.read_text()), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_tutorial_is_valid(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, name in FILE.findall(page.read_text()):
        Path(name).write_text(text)
        monkeypatch.setitem(sys.modules, Path(name).stem, ModuleType(name))  # so that the test leaves no trace
        del sys.modules[Path(name).stem]
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
