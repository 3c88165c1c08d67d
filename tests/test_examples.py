"""The user's own figure, of runs with known scores. The other examples run where their subject is tested."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launch.__main__ import main
from tests.fake_runs import evaluation_rows, online_rows, spec, write_run

EXAMPLES = Path(__file__).parents[1] / "examples"
EXAMPLE = EXAMPLES / "own_figure.py"


def test_a_figure_of_ones_own(tmp_path):
    scores = {"float32": [[[3.0]], [[5.0]], [[7.0]]], "bfloat16": [[[2.0]], [[4.0]], [[9.0]]]}
    for precision, of_members in scores.items():
        words = {"agent": ["ppo", {}], "network": ["mlp", {"precision": precision}]}
        described = spec(tasks=("CartPole-0",), benchmark="CartPole", key=precision, setting=precision, unit="frames")
        described = described._replace(experiment=described.experiment | words)
        write_run(tmp_path / "runs", described, evaluation_rows(described, np.array(of_members)))
    example = runpy.run_path(str(EXAMPLE))
    table = example["curves"](tmp_path / "runs")
    assert set(table.panel) == {"PPO, CartPole, CartPole-0"} and set(table["count"]) == {100}
    scores = {name: rows.score.tolist() for name, rows in table.groupby("line")}
    assert scores == {"none, bfloat16": [2, 4, 9], "none, float32": [3, 5, 7]}
    example["draw"](table, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_of_runs_without_evaluations(tmp_path, capsys):
    """Training scores, chains side by side: each visit's rows average to its known mean."""
    for label, areas in (("none", [[0.5, 0.25]] * 3), ("nap", [[0.75, 0.5]] * 3)):
        described = spec(label, tasks=("a", "b"), setting=label)
        write_run(tmp_path, described, online_rows(described, np.array(areas)))
    example = runpy.run_path(str(EXAMPLE))
    assert example["main"]([str(tmp_path), str(tmp_path / "figure.pdf")]) == 0
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    table = example["curves"](tmp_path)
    assert set(table.panel) == {"random-labels"} and len(table) == 2 * 3 * 4
    assert {name: rows.score.mean() for name, rows in table.groupby("line")} == {"nap": 0.625, "none": 0.375}
    assert "0.62" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        "run --benchmark random-labels:images=60,tasks=2,updates=20 --network mlp:width=8,depth=1 --checkpoint-every 20",
        "run --benchmark cartpole:tasks=2,frames=2000 --network mlp:width=8,depth=1 --agent dqn:min_replay=200,replay=1000",
        "run --benchmark cartpole:tasks=1,frames=2000 --network mlp:width=8,depth=1 --agent ppo:num_envs=2 --evaluate 1",
    ],
)
def test_a_figure_of_any_real_run(line, tmp_path):
    assert main([*line.split(), "--members", "2", "--eager", "--name", "one", "--runs", str(tmp_path)]) == 0
    example = runpy.run_path(str(EXAMPLE))
    assert example["main"]([str(tmp_path / "one"), str(tmp_path / "figure.png")]) == 0
    assert (tmp_path / "figure.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["own_figure.py"], "usage: python examples/own_figure.py RUNS FIGURE"),
        (["own_figure.py", "nowhere", "figure.png"], "error: no such folder: nowhere"),
        (["attach_supervised.py", "many"], "usage: python examples/attach_supervised.py [TASKS UPDATES]"),
        (["attach_ppo.py", "many"], "usage: python examples/attach_ppo.py [TASKS ROLLOUTS]"),
        (["attach_stable_baselines3.py", "many"], ("usage: python examples/attach_stable_baselines3.py [STEPS]", "error: ")),
        (["check_and_retrain.py"], ("usage: python examples/check_and_retrain.py OUT", "error: ")),
    ],
)
@pytest.mark.process
def test_a_mistake_is_one_line_and_exit_code_2(words, said, tmp_path):
    done = subprocess.run([sys.executable, str(EXAMPLES / words[0]), *words[1:]], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith(said)


@pytest.mark.long
def test_the_notebook_tells_the_two_policies_apart() -> None:
    cells = json.loads((EXAMPLES / "check.ipynb").read_text())["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            exec("".join(cell["source"]), names)
    assert str(names["found"]["usual"]).count("fits as well as fresh") == 1
    assert str(names["found"]["high"]).count("cannot fit") == 1
