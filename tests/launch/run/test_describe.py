"""The description of a run's tasks and controls in spec.json."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from launch.config import parse
from launch.run.runner import describe
from plasticity_rl.records.folder import RunFolder, write_json
from tests.fake_runs import spec


@pytest.mark.parametrize(
    ("words", "alike"),
    [
        ({"benchmark": "random-labels"}, True),
        ({"benchmark": "random-labels:fraction=0.5"}, False),
        ({"benchmark": "random-labels:cycles=2"}, False),
        ({"benchmark": "random-labels", "schedule": "linear"}, False),
        ({"benchmark": "random-labels", "schedule": "linear:clock=visit"}, True),
        ({"benchmark": "permuted-inputs"}, True),
        ({"benchmark": "permuted-labels:gradual=0.5"}, False),
        ({"benchmark": "permuted-labels:told=false"}, False),
        ({"benchmark": "noisy-labels"}, True),
        ({"benchmark": "noisy-labels:final=0"}, False),
        ({"benchmark": "teachers"}, True),
        ({"benchmark": "drifting-inputs"}, False),
        ({"benchmark": "growing-data"}, False),
        ({"benchmark": "class-incremental"}, False),
        ({"benchmark": "recurring"}, False),
        ({"benchmark": "large-mean"}, False),
        ({"benchmark": "slow-bits"}, False),
        ({"benchmark": "composite"}, False),
        ({"benchmark": "bandit"}, True),
        ({"benchmark": "bandit:cycles=2"}, False),
        ({"benchmark": "cartpole"}, True),
        ({"benchmark": "cartpole:shifts=permute+offset"}, False),
        ({"benchmark": "continual-cartpole"}, False),
        ({"benchmark": "gymnasium:ids=CartPole-v1,tasks=2,shifts=relabel"}, True),
        ({"benchmark": "gymnasium:ids=CartPole-v1+Acrobot-v1,pad=true"}, False),
        ({"benchmark": "atari:games=Pong"}, False),
    ],
    ids=lambda words: " ".join(words.values()) if isinstance(words, dict) else None,
)
def test_tasks_are_alike_where_each_is_a_draw_of_one_distribution(words: dict[str, str], alike: bool) -> None:
    assert parse.experiment(words).tasks_alike is alike


def test_tasks_that_are_alike_have_labels_of_the_same_kind_from_the_first_on() -> None:
    """Each class stands for about a tenth of the images in the first task and in the last."""
    benchmark = parse.experiment({"benchmark": "random-labels"}).benchmark
    for index in (0, benchmark.tasks - 1):
        counts = np.bincount(benchmark.task(0, 0, index).labels, minlength=10)
        assert counts.sum() == 1200 and np.abs(counts / 1200 - 0.1).max() < 0.03


def test_a_controls_spec_names_its_chain() -> None:
    found = {words: describe(parse.experiment({"chain": list(words)})) for words in ((), ("nap",), ("nap", "reset"), ("reset",))}
    assert [(each.fresh_control, each.control_of) for each in found.values()] == [(False, ""), (False, ""), (True, "nap"), (True, "none")]
    assert all(each.tasks_alike for each in found.values()) and len({each.setting for each in found.values()}) == 1


def test_older_folders_are_read_as_they_would_be_written_now(tmp_path: Path) -> None:
    """Before, a chain that ends in a reset was no control, and nothing said whether tasks are alike."""
    described = describe(parse.experiment({"chain": ["nap", "reset"]}))
    older = {name: value for name, value in described._asdict().items() if name != "tasks_alike"} | {"fresh_control": False}
    write_json(tmp_path / "spec.json", older)
    read = RunFolder(tmp_path).read_spec()
    assert read.fresh_control and read.control_of == "nap" and not read.tasks_alike
    for chain in (["reset:every=2"], ["reset:part=network"], ["reset", "nap"], []):
        other = describe(parse.experiment({"chain": chain}))
        write_json(tmp_path / "spec.json", json.loads(json.dumps(other._asdict())))
        assert not RunFolder(tmp_path).read_spec().fresh_control
    assert spec("fresh").control_of == "none" and spec("l2 + nap + reset").control_of == "l2 + nap"
    assert dataclasses.asdict(parse.experiment({"chain": ["reset"]}).chain[0])["part"] == "everything"
