"""Options stated once: each command has its own and no others."""

import pickle
import re
from dataclasses import fields
from pathlib import Path

import pytest

from launch.__main__ import COMMANDS, GROUPS, main
from launch.commands.options import ExperimentOptions, execution, flags, settle
from launch.execution import Execution
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment

RUNNING = {
    "demo": {"--eager"},
    "run": {"--device", "--eager", "--deterministic", "--other-code", "--isolate", "--patience", "--address"},
    "sweep": {
        "--device",
        "--eager",
        "--deterministic",
        "--other-code",
        "--at-once",
        "--isolate",
        "--patience",
        "--address",
        "--cpus",
        "--gpus",
        "--retries",
    },
    "claims": {"--device", "--eager", "--other-code"},
    "tune": {"--eager", "--deterministic", "--other-code", "--isolate", "--patience", "--address", "--cpus", "--gpus", "--retries"},
    "probe": {"--device", "--eager"},
}


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in GROUPS])
def test_help_shows_the_options_that_are_understood(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main([name, "--help"])
    shown = set(re.findall(r"^\W*?(--[a-z][a-z-]*)", capsys.readouterr().out, re.MULTILINE))
    assert shown == set(flags(COMMANDS[name]))
    every = {f"--{field.name.replace('_', '-')}" for field in fields(Execution)}
    assert shown & every == RUNNING.get(name, set())


@pytest.mark.parametrize(("name", "option"), [("run", "--cpus"), ("demo", "--device"), ("tune", "--at-once"), ("claims", "--address")])
def test_an_option_of_another_command_is_refused(name: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, option, "1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: unknown option '{option}'") and said.count("\n") == 1


def test_the_fields_of_an_experiment_are_those_of_its_words() -> None:
    assert [field.name for field in fields(ExperimentOptions)] == [field.name for field in fields(Experiment)]


def test_only_what_was_given_is_said() -> None:
    assert ExperimentOptions().words() == {}
    said = ExperimentOptions(chain=(), seed="0", free_running=True).words()
    assert said == {"chain": (), "seed": "0", "free_running": True}


def test_settled_options_travel() -> None:
    settled = settle(execution("eager", "cpus"))
    assert type(settled) is Execution and settled.device in ("cpu", "cuda")
    assert pickle.loads(pickle.dumps(settled)) == settled


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cpus": 0.0}, r"cpus must lie in \(0, 4096\], not 0"),
        ({"gpus": -1.0}, r"gpus must lie in \[0, 64\], not -1"),
        ({"retries": 1001}, r"retries must lie in \[0, 1000\], not 1001"),
        ({"at_once": 0}, r"at_once must lie in \[1, 100000\], not 0"),
    ],
)
def test_numbers_out_of_range(given: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        settle(Execution(**given))  # type: ignore[arg-type]


def test_a_sweep_with_an_impossible_share_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = tmp_path / "s.py"
    sweep.write_text("EXPERIMENTS = [{}]")
    assert main(["sweep", str(sweep), "--on", "ray", "--gpus", "65", "--runs", str(tmp_path / "runs")]) == 2
    assert "gpus must lie in [0, 64], not 65" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
