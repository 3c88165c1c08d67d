"""The list of a sweep's runs before it starts."""

import json
from pathlib import Path

import pytest

from launch.__main__ import main
from launch.run import estimate
from launch.run.sweep import build, own_controls
from plasticity_rl.records.folder import RunFolder
from tests.run_folders import run_paths

SWEEP = """
[[experiments]]
benchmark = "random-labels:images=40,tasks=1,updates=10"
network = "mlp:width=4,depth=1"
members = 1
seed = {}
"""


def test_a_dry_run_lists_what_each_run_is_and_why_one_would_be_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "calibrate", lambda *_: None)
    sweep, runs = tmp_path / "four.toml", tmp_path / "runs"
    words = ["sweep", str(sweep), "--runs", str(runs), "--device", "cpu", "--eager"]
    sweep.write_text("".join(SWEEP.format(seed) for seed in range(3)))
    assert main([*words, "--at-once", "1"]) == 0
    by_seed = {RunFolder(path).read_spec().seed: path for path in run_paths(runs)}
    for seed in (1, 2):
        (by_seed[seed] / "DONE").unlink()
    context = json.loads((by_seed[2] / "context.json").read_text())
    (by_seed[2] / "context.json").write_text(json.dumps(context | {"code": "0" * 16}))
    sweep.write_text("".join(SWEEP.format(seed) for seed in range(4)))
    capsys.readouterr()
    assert main([*words, "--dry-run"]) == 0
    printed = capsys.readouterr().out.splitlines()
    place = printed[0].index("state")
    states = ["done: skipped", "unfinished: resumed", "refused", "new"]
    assert [line[place : place + 20].strip() for line in printed[1:5]] == states
    assert printed[5] == f"refused: {by_seed[2]} was started by other code; --other-code resumes it anyway, another --name starts a new run"
    assert not any(line.startswith("refused: ") for line in printed[6:])
    assert main(words) == 2 and not (by_seed[1] / "DONE").exists()  # the sweep itself starts none of them


def test_own_controls_are_added_for_chains_without_a_free_one() -> None:
    shifting = {"benchmark": "continual-cartpole:tasks=2,frames=3200"}
    said = [
        shifting | {"chain": ["l2-init"]},
        shifting,
        shifting | {"chain": ["reset"]},  # that of none, and a control itself
        {"benchmark": "random-labels:tasks=3,updates=100", "chain": ["nap"]},  # its first visit serves
        {"benchmark": "growing-data:tasks=1", "chain": ["nap"]},  # one visit
        {"benchmark": "growing-data"},
    ]
    added = own_controls(said)
    assert added == [shifting | {"chain": ["l2-init", "reset"]}, {"benchmark": "growing-data", "chain": ["reset"]}]
    assert own_controls([*said, *added]) == []
    assert [each.label for each in build(added)] == ["l2-init + reset", "fresh"]


def test_a_dry_run_counts_own_controls(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "calibrate", lambda *_: None)
    sweep = tmp_path / "one.toml"
    sweep.write_text('[[experiments]]\nbenchmark = "growing-data"\nchain = ["nap"]\n')
    words = ["sweep", str(sweep), "--runs", str(tmp_path / "runs"), "--device", "cpu", "--eager", "--dry-run"]
    assert main(words) == 0
    assert capsys.readouterr().out.endswith("own controls: --own-control would add 1 run\n")
    assert main([*words, "--own-control"]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("own controls: 1 run of these, which --own-control adds\n") and "nap + reset" in printed


def test_a_run_trains_its_own_control_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--name", "own", "--runs", str(tmp_path), "--network", "mlp:width=4,depth=1", "--members", "1", "--device", "cpu"]
    words += ["--eager", "--own-control"]
    assert main([*words, "--benchmark", "drifting-inputs:images=40,tasks=2,updates=10", "--chain", "l2-init"]) == 0
    assert {RunFolder(path).read_spec().label for path in run_paths(tmp_path)} == {"l2-init", "l2-init + reset"}
    assert capsys.readouterr().out.count("done: ") == 2
    assert main([*words, "--benchmark", "random-labels:images=40,tasks=2,updates=10", "--chain", "l2-init"]) == 0
    assert capsys.readouterr().out.startswith("no run is added: ")
