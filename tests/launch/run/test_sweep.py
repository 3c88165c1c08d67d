"""The list of a sweep's runs before it starts."""

import json
from pathlib import Path

import pytest

from launch.__main__ import main
from launch.run import estimate
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
