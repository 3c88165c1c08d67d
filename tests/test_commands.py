"""The commands of docs/commands.md, in their order, at small budgets. One rule makes them small: see `shrunk` and ADDED."""

import dataclasses
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from launch.__main__ import main
from launch.config import defaults, parse
from tests.conftest import Begin
from tests.run_folders import run_paths

ROOT = Path(__file__).parents[1]
BENCHMARK = {"tasks": "2", "updates": "40", "images": "60", "held_out": "0", "cycles": "1", "frames": "480", "episode_frames": "400"}
AGENT = {
    "num_envs": "2",
    "batch_size": "8",
    "record_every": "10",
    "replay": "400",
    "min_replay": "100",
    "train_every": "4",
    "rollout_length": "8",
    "minibatches": "2",
}
NETWORK = {"width": "8", "precision": "float32"}  # bfloat16 convolutions crawl on a busy processor
ADDED = {  # command -> options that shorten it or let it end
    "run": {"--eager": "", "--members": "2", "--diagnose-every": "20"},
    "sweep": {"--eager": ""},
    "tune": {"--eager": "", "--trials": "2"},
    "probe": {"--eager": "", "--updates": "20"},
    "check": {"--updates": "20", "--pairs": "2", "--twins": "2"},
    "play": {"--steps": "40"},
    "watch": {"--once": ""},  # looks again until Ctrl-C
    "board": {"--port": "0"},  # serves until Ctrl-C: see `carry_out`
    "claims": {"--dry-run": ""},  # trains for hours at any scale
    "bench": {"--seconds": "0.01", "--members": "1"},
}


def commands() -> list[list[str]]:
    """Text after `python -m launch` in each line of the page."""
    page = (ROOT / "docs/commands.md").read_text()
    lines = [line for block in re.findall(r"^```\n(.*?)^```", page, re.DOTALL | re.MULTILINE) for line in block.splitlines()]
    return [shlex.split(line, comments=True)[3:] for line in lines]


def shrunk(said: dict[str, Any]) -> dict[str, Any]:
    """The experiment with the settings above, for parts with such fields."""
    benchmark = said.get("benchmark", "random-labels")
    usual = defaults.DEFAULTS["atari" if (word := benchmark.partition(":")[0]) in defaults.PRESETS else word]
    small = {"benchmark": benchmark, "agent": said.get("agent", usual["agent"].partition(":")[0])}
    small["network"] = said.get("network", usual["network"].partition(":")[0])
    for kind, settings in (("benchmark", BENCHMARK), ("agent", AGENT), ("network", NETWORK)):
        word, given = parse._split(kind, small[kind])
        fields = {field.name for field in dataclasses.fields(parse.part_class(kind, word))}
        given |= {name: value for name, value in settings.items() if name in fields}
        small[kind] = word + ":" + ",".join(f"{name}={value}" for name, value in given.items())
    return {name: value for name, value in said.items() if name not in ("members", "diagnose_every")} | small


def small(line: list[str], folder: Path) -> list[str]:
    """Run the command line at a small budget; files that it reads are shrunk in `folder`, a copy of the commands' folder."""
    name, *rest = line
    for file in (Path(each) for each in rest if each.endswith(".toml")):
        text, search, table = file.read_text().partition("[search]")
        made = shrunk(tomllib.loads(text))
        file.write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in made.items()) + f"\n{search}{table}")
    if name == "sweep":
        module = importlib.import_module(rest[0].removesuffix(".py").replace("/", "."))
        (folder / rest[0]).write_text(f"EXPERIMENTS = {[shrunk(each) for each in module.EXPERIMENTS]!r}")
    if name == "run" and "--file" not in rest:
        options: dict[str, list[str]] = {}
        for each in rest:
            if each.startswith("--"):
                options[each] = []
            else:
                options[[*options][-1]].append(each)
        said = {option[2:]: values[0] for option, values in options.items() if option in ("--benchmark", "--agent", "--network")}
        options |= {f"--{part}": [text] for part, text in shrunk(said).items()}
        rest = [word for option, values in options.items() for word in (option, *values)]
    for option, value in ADDED.get(name, {}).items():
        if option in rest:
            place = rest.index(option)
            del rest[place : place + 1 + bool(value)]
        rest += [option, value] if value else [option]
    if name == "run" and "--evaluate" in rest:
        rest[rest.index("--evaluate") + 1] = "1"
    for i, each in enumerate(rest):
        if each.endswith("/KEY"):
            rest[i] = str(run_paths(Path(each).parent)[0])
    return [name, *rest]


def carry_out(line: list[str], begin: Begin) -> int:
    """Its exit code; the board, a server, is stopped once it serves."""
    command = [sys.executable, "-u", "-m", "launch", *line]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    # PyTorch's compiler warns, and warnings are errors in this process; Ray reads once a process whether clusters have a token.
    if line[0] in ("bench", "tune") or "ray" in line or "--actors" in line:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        print(done.stdout, done.stderr)
        return done.returncode
    if line[0] != "board":
        return main(line)
    server = begin(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    assert server.stdout
    served = any("http://" in text for text in server.stdout)
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=60)
    return 0 if served and server.returncode in (0, 130) else 1


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the commands' input files."""
    for name in ("examples", "launch/sweeps"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def follow(lines: list[list[str]], folder: Path, capsys: pytest.CaptureFixture[str], begin: Begin) -> None:
    for line in lines:
        shorter = small(line, folder)
        code = carry_out(shorter, begin)
        said = capsys.readouterr()
        assert code == 0, f"{shlex.join(line)}\nas {shlex.join(shorter)}\n{said.out[-2000:]}{said.err[-2000:]}"


def test_files_are_there_and_runs_come_before_what_looks_at_them() -> None:
    lines, named = commands(), set()
    assert len(lines) >= 20
    for line in lines:
        for each in line:
            assert not each.endswith((".toml", ".py")) or (ROOT / each).is_file(), each
            assert not each.startswith("runs/") or each.split("/")[1] in named, f"{shlex.join(line)} comes before its run"
        named |= {line[line.index("--name") + 1]} if "--name" in line else set()


@pytest.mark.process
def test_the_first_steps_end_well(checkout: Path, capsys: pytest.CaptureFixture[str], begin: Begin) -> None:
    lines = commands()
    follow(lines[: next(i for i, line in enumerate(lines) if line[0] == "rebuild-board") + 1], checkout, capsys, begin)
    assert (checkout / "runs/first/report/report.html").is_file()


@pytest.mark.process
@pytest.mark.timeout(1800)
def test_all_commands_end_well_in_their_order(checkout: Path, capsys: pytest.CaptureFixture[str], begin: Begin) -> None:
    follow(commands(), checkout, capsys, begin)
