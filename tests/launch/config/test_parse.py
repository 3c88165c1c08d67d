"""Experiments in words, and what stands beside the words in a file."""

import json
from pathlib import Path
from typing import Any

import pytest

from launch.config import parse
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment


def test_kwargs_of_environments_as_tables(tmp_path: Path) -> None:
    file = tmp_path / "tables.toml"
    file.write_text(
        'benchmark = "gymnasium:ids=CartPole-v1+CartPole-v1"\n[[kwargs]]\nmax_episode_steps = 30\n'
        '[[kwargs]]\nnote = "a,b;c=d"\nnested = { list = [1, 2.5], on = true }\nmax_episode_steps = 60\n'
    )
    tables = parse.read_experiment(file)["kwargs"]
    with pytest.raises(UsageError, match=r"CartPole-v1 cannot be made: .*nested"):  # it reached the constructor
        parse.experiment(parse.read_experiment(file))
    made: Any = parse.experiment({"benchmark": "gymnasium:ids=CartPole-v1+CartPole-v1", "kwargs": [tables[0], {"max_episode_steps": 60}]})
    assert [made.benchmark.arguments(index) for index in range(2)] == [{"max_episode_steps": 30}, {"max_episode_steps": 60}]
    one: Any = parse.experiment({"benchmark": "gymnasium:ids=CartPole-v1", "kwargs": {"sutton_barto_reward": True}})
    assert one.benchmark.arguments(0) == {"sutton_barto_reward": True}
    assert Experiment.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    ("benchmark", "tables", "message"),
    [
        ("cartpole", {"length": 1}, "of which cartpole has none: they are for gymnasium and envpool"),
        ("gymnasium:kwargs=length=1", {"length": 1}, "stand both in the words gymnasium:... and in a table"),
        ("gymnasium", "length=1", "must be a table"),
        ("gymnasium", {"length": float("nan")}, "may hold texts, finite numbers"),
        ("gymnasium", [{}, {}], "kwargs must have one entry, or one for each of 1 ids, not 2"),
    ],
)
def test_tables_of_kwargs_that_make_no_sense_are_refused(benchmark: str, tables: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse.experiment({"benchmark": benchmark, "kwargs": tables})
