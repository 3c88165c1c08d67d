"""Experiments trained as a group: each reports the same as alone."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from agents.diagnostics.rows import COSTS
from agents.loops.grouping import group_key
from launch.config.parse import experiment
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.events import Event, Media, Metric, Score, Snapshot
from plasticity_rl.training.learner import Learner
from tests.training import CARTPOLE, LABELS, comparable, copied, events

LONG = LABELS | {"benchmark": "random-labels:images=60,tasks=3,updates=70", "checkpoint_every": 80, "diagnose_every": 70}
CELLS = [
    experiment(LONG | {"chain": ["l2-init", "redo:tau=0.1,every=50"], "schedule": "constant:rate=3e-3"}),
    experiment(LONG | {"chain": ["l2-init:strength=0.01", "redo:tau=0.2,every=50"], "seed": 3, "members": 1}),
    experiment(
        LONG | {"chain": ["l2-init", "redo:tau=0.1,every=50"], "optimizer": "adam:beta1=0.8", "schedule": "linear:rate=1e-2,clock=visit"}
    ),
]


def together(cells: list[Experiment], resumes: list[Snapshot] | None = None) -> list[list[Event | FloatingPointError]]:
    """Reports of each experiment; snapshots are copied on arrival."""
    kept: list[list[Event | FloatingPointError]] = [[] for _ in cells]
    for place, event in cells[0].agent.train_group(cells, "cpu", False, resumes):
        kept[place].append(copied(event) if isinstance(event, Snapshot) else event)
    return kept


def assert_close(found: list[Event | FloatingPointError], expected: list[Event]) -> None:
    """The same events, equal up to summation order after some hundred updates."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, Score | Metric):
            assert isinstance(one, Score | Metric) and one[:-1] == other[:-1]
            assert one[-1] == pytest.approx(other[-1], rel=1e-3, abs=1e-4) or getattr(other, "name", "") in COSTS
        elif isinstance(other, Snapshot):
            assert isinstance(one, Snapshot) and one.counters == other.counters
            torch.testing.assert_close(one.tensors, other.tensors, rtol=1e-3, atol=1e-4)
        elif isinstance(other, Media):
            assert isinstance(one, Media) and one[:-1] == other[:-1]
            np.testing.assert_allclose(one.values, other.values, rtol=1e-3, atol=1e-4)
        else:
            assert one == other


@pytest.fixture(scope="module")
def apart() -> list[list[Event]]:
    return [events(each) for each in CELLS]


@pytest.fixture(scope="module")
def as_one() -> list[list[Event | FloatingPointError]]:
    return together(CELLS)


def test_each_reports_what_it_reports_alone(apart: list[list[Event]], as_one: list[list[Event | FloatingPointError]]) -> None:
    assert len({group_key(each) for each in CELLS}) == 1
    for found, expected in zip(as_one, apart, strict=True):
        assert_close(found, expected)
    assert len({score.score for mine in as_one for score in mine if isinstance(score, Score)}) > 20


def test_data_and_first_weights_are_the_same_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[tuple[Learner, list[torch.Tensor]]] = []
    updates = Learner.updates

    def watched(self: Learner, rates: Any, batches: list[dict[str, torch.Tensor]], measure: bool) -> list[dict[str, torch.Tensor]]:
        if self.ticks["update"] == 0:
            met.append((self, [param.clone() for param in self.net.params.values()]))
        met[-1][1].extend(tensor for batch in batches for tensor in batch.values())
        return updates(self, rates, batches, measure=measure)

    monkeypatch.setattr(Learner, "updates", watched)
    cells = [dataclasses.replace(each, benchmark=dataclasses.replace(each.benchmark, updates=10)) for each in CELLS]
    together(cells)
    for each in cells:
        events(each)
    (joint, all_seen), *alone = met
    for place, (_, seen) in enumerate(alone):
        assert len(seen) == len(all_seen) == 6 + 2 * 30
        assert all(torch.equal(one[joint.rows(place)], other) for one, other in zip(all_seen, seen, strict=True))


def test_a_resumed_population_is_one_that_was_never_stopped(as_one: list[list[Event | FloatingPointError]]) -> None:
    firsts = [next(event for event in mine if isinstance(event, Snapshot)) for mine in as_one]
    assert [first.counters["number"] for first in firsts] == [80] * 3
    for mine, rest in zip(as_one, together(CELLS, firsts), strict=True):
        after = next(place for place, event in enumerate(mine) if isinstance(event, Snapshot)) + 1
        assert comparable(rest) == comparable(mine[after:])


def test_a_run_goes_on_alone_from_a_snapshot_of_a_population(as_one: list[list[Event | FloatingPointError]]) -> None:
    mine = as_one[2]
    after, first = next((place, event) for place, event in enumerate(mine) if isinstance(event, Snapshot))
    assert_close(events(CELLS[2], copied(first)), [event for event in mine[after + 1 :] if not isinstance(event, FloatingPointError)])


def test_numbers_that_fail_end_their_run_alone() -> None:
    said = LABELS | {"optimizer": "sgd"}
    cells = [experiment(said | {"schedule": f"constant:rate={rate}", "seed": seed}) for seed, rate in enumerate(("1e-2", "1e30", "1e-1"))]
    first, failed, last = together(cells)
    assert str(failed[-1]) == "the loss of member 0 is nan after 15 updates" and len(failed) == 1
    for found, each in ((first, cells[0]), (last, cells[2])):
        assert_close(found, events(each))
        assert all(math.isfinite(row[-1]) for row in found if isinstance(row, Score | Metric))
    alone = [event for _, event in cells[1].agent.train_group(cells[1:2], "cpu", False, None)]
    assert [str(event) for event in alone] == ["the loss of member 0 is nan after 15 updates"]


def test_a_kind_is_all_but_seeds_schedules_and_numbers() -> None:
    one = experiment(LABELS | {"chain": ["weight-decay"]})
    for same in (
        {"chain": ["weight-decay:strength=0.5"], "seed": 4, "members": 7},
        {"chain": ["weight-decay"], "schedule": "warmup-cosine", "optimizer": "adam:epsilon=1e-3"},
    ):
        assert group_key(experiment(LABELS | same)) == group_key(one)
    for other in (
        {"chain": []},
        {"chain": ["weight-decay:decayed=all"]},
        {"chain": ["weight-decay"], "optimizer": "radam"},
        {"chain": ["weight-decay"], "network": "mlp:width=12,depth=1"},
        {"chain": ["weight-decay"], "benchmark": "random-labels:images=60,tasks=3,updates=41"},
        {"chain": ["weight-decay"], "agent": "supervised:batch_size=9,record_every=15"},
        {"chain": ["weight-decay"], "diagnose_every": 21},
        {"chain": ["weight-decay"], "checkpoint_every": 26},
    ):
        assert group_key(experiment(LABELS | other)) != group_key(one)
    slopes = [experiment(LABELS | {"chain": [f"leaky-relu:slope={slope}"]}) for slope in (0.1, 0.2)]
    assert group_key(slopes[0]) != group_key(slopes[1])  # another network
    assert group_key(experiment(CARTPOLE)) is None
