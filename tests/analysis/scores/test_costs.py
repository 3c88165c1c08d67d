"""Costs of chains by hand."""

from pathlib import Path

import numpy as np
import pytest

from analysis.data.load import load
from analysis.scores.costs import costs
from plasticity_rl.records.events import Metric
from tests.fake_runs import online_rows, spec, write_run


def run(root: Path, label: str, speed: float, processor: float | None) -> None:
    """A run whose first row is slow, as it compiled."""
    described = spec(label, members=2)
    rows = [Metric(0, 0, "a", 0, 0, 50 + at, 50 + at, "updates_per_second", value) for at, value in enumerate((1.0, speed, speed))]
    if processor is not None:
        rows += [Metric(0, 0, "a", 0, 0, 50 + at, 50 + at, "processor_ms", value) for at, value in enumerate((900.0, processor, processor))]
    write_run(root, described, online_rows(described, np.full((2, 3), 0.5)), rows)


def test_a_chain_costs_processor_time_and_not_what_the_machine_did_beside(tmp_path: Path) -> None:
    run(tmp_path, "none", 1000.0, 0.5)
    run(tmp_path, "l2-init", 250.0, 0.55)  # four times slower by the clock: the neighbours
    loaded = load([tmp_path])
    none, l2 = costs(loaded.runs, loaded.metrics)
    assert (none.label, none.milliseconds, none.relative, none.clocked) == ("none", 0.5, 1.0, False)
    assert (l2.milliseconds, l2.clocked, l2.speed) == (0.55, False, 250.0) and l2.relative == pytest.approx(1.1)


def test_without_processor_times_of_both_it_is_by_the_clock(tmp_path: Path) -> None:
    run(tmp_path, "none", 1000.0, None)
    run(tmp_path, "redo", 500.0, 0.6)
    loaded = load([tmp_path])
    none, redo = costs(loaded.runs, loaded.metrics)
    assert none.clocked and redo.clocked and redo.milliseconds == pytest.approx(2.0) and redo.relative == pytest.approx(2.0)
