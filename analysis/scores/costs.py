"""Costs of each chain: time of an update and memory, measured during training."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.data.comparable import Run

SPEED, MEMORY, PROCESSOR = "updates_per_second", "memory_mb", "processor_ms"
"""names in metrics.csv"""


class Cost(NamedTuple):
    """Cost of one chain; NaN if its runs recorded nothing."""

    label: str
    milliseconds: float
    """time of a member's update: median over all diagnostics, so that compilation does not count"""
    relative: float
    """that time over that without intervention, both by the same measure"""
    clocked: bool
    """True if it is by the clock, which also counts what else the machine did: on a GPU, and in folders without processor times"""
    speed: float
    """updates of a member per second, by the clock"""
    memory: float
    """peak memory in MB, of the process or of the GPU that trained"""


def costs(runs: Sequence[Run], metrics: pd.DataFrame) -> tuple[Cost, ...]:
    """The cost of each chain: `none` first, controls last. `metrics` holds the runs' diagnostics."""
    order = sorted({(run.spec.fresh_control, run.spec.label != "none", run.spec.label) for run in runs})
    labels = [label for *_, label in order]
    settings = {run.spec.setting for run in runs}
    there = metrics.loc[metrics.name.isin((SPEED, MEMORY, PROCESSOR)).to_numpy() & metrics.setting.isin(settings).to_numpy()]
    values = {(name, label): rows.to_numpy() for (name, label), rows in there.groupby(["name", "label"]).value}

    def median(name: str, label: str) -> float:
        return float(np.median(values.get((name, label), np.array([np.nan]))))

    def times(label: str, clocked: bool) -> float:
        if not clocked:
            return median(PROCESSOR, label)
        speed = median(SPEED, label)
        return 1e3 / speed if speed > 0 else np.nan

    found: list[Cost] = []
    for label in labels:
        clocked = not np.isfinite([median(PROCESSOR, each) for each in {label, "none"} & {*labels}]).all()
        took = times(label, clocked)
        memory = float(np.max(values.get((MEMORY, label), np.array([np.nan]))))
        found.append(Cost(label, took, took / times("none", clocked), clocked, median(SPEED, label), memory))
    return tuple(found)
