"""Costs of each chain: updates per second and memory, measured during training."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.data.comparable import Run

SPEED, MEMORY = "updates_per_second", "memory_mb"
"""names in metrics.csv"""


class Cost(NamedTuple):
    """Cost of one chain; NaN if its runs recorded nothing."""

    label: str
    speed: float
    """updates of a member per second: median over all diagnostics, so that compilation does not count"""
    relative: float
    """speed of the chain without intervention over this chain's: slowdown factor"""
    memory: float
    """peak memory in MB, of the process or of the GPU that trained"""


def costs(runs: Sequence[Run], metrics: pd.DataFrame) -> tuple[Cost, ...]:
    """The cost of each chain: `none` first, the fresh control last. `metrics` holds the runs' diagnostics."""
    order = sorted({(run.spec.fresh_control, run.spec.label != "none", run.spec.label) for run in runs})
    labels = [label for *_, label in order]
    there = metrics.loc[metrics.name.isin((SPEED, MEMORY)).to_numpy() & metrics.setting.isin({run.spec.setting for run in runs}).to_numpy()]
    values = {(name, label): rows.to_numpy() for (name, label), rows in there.groupby(["name", "label"]).value}

    def of(name: str, label: str) -> np.ndarray:
        return values.get((name, label), np.array([np.nan]))

    speeds = {label: float(np.median(of(SPEED, label))) for label in labels}
    plain = speeds.get("none", np.nan)
    return tuple(
        Cost(label, speed, plain / speed if speed > 0 else np.nan, float(np.max(of(MEMORY, label)))) for label, speed in speeds.items()
    )
