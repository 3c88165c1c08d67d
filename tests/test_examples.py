"""The figure of one's own, of runs whose scores are known. The other examples are run where what they show is tested."""

import runpy
from pathlib import Path

import numpy as np

from tests.fake_runs import evaluation_rows, spec, write_run

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_figure.py"


def test_a_figure_of_ones_own(tmp_path):
    scores = {"float32": [[[3.0]], [[5.0]], [[7.0]]], "bfloat16": [[[2.0]], [[4.0]], [[9.0]]]}
    for precision, of_members in scores.items():
        words = {"agent": ["ppo.PPO", {}], "network": ["networks.MLP", {"precision": precision}]}
        described = spec(tasks=("CartPole-0",), benchmark="CartPole", key=precision, setting=precision, unit="frames")
        described = described._replace(experiment=described.experiment | words)
        write_run(tmp_path / "runs", described, evaluation_rows(described, np.array(of_members)))
    example = runpy.run_path(str(EXAMPLE))
    table = example["curves"](tmp_path / "runs")
    assert set(table.panel) == {"PPO, CartPole"} and set(table.frames) == {100}
    assert {name: rows.score.tolist() for name, rows in table.groupby("precision")} == {"bfloat16": [2, 4, 9], "float32": [3, 5, 7]}
    example["draw"](table, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
