"""Results of one arm of a claim: learning curves of its members and, per visit, metrics of their networks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.data.load import load
from analysis.scores.setting import score
from plasticity_rl.checks import UsageError

MEASURES = ("dead_fraction", "dead_fraction_fresh", "weight_norm", "effective_learning_rate")
"""metrics of hidden layers that verdicts and figures use besides scores"""


@dataclass(frozen=True, eq=False)
class Result:
    """The run of one arm. Row i of all arms of a claim is the same (seed, member)."""

    curve: np.ndarray
    """(members, visits, windows): scores"""
    measures: dict[str, np.ndarray]
    """name -> (members, visits): mean over hidden layers and over the visit's rows, NaN without rows"""
    series: dict[str, tuple[np.ndarray, np.ndarray]]
    """name -> updates of the measurements, and (members, updates): mean over hidden layers"""
    tasks: tuple[str, ...]
    """task of each visit"""
    updates: int
    """total updates per member"""

    @property
    def area(self) -> np.ndarray:
        """(members, visits): mean of the curve over the visit."""
        return self.curve.mean(axis=-1)


def read(run: Path) -> Result:
    """The result of one finished run. Raises UsageError if a score is missing."""
    loaded = load([run])
    setting = score(loaded, loaded.runs[0].spec.setting)
    curve = setting.chains[0].curve
    if not np.isfinite(curve).all():
        raise UsageError(f"{run} lacks scores: {'; '.join(setting.missing) or 'non-finite scores'}")
    hidden = {name: loaded.metrics.loc[loaded.metrics.name.str.startswith(f"{name}/hidden")] for name in MEASURES}
    measures = {name: _by_visit(rows, curve.shape[:2]) for name, rows in hidden.items()}
    series = {name: _over_updates(rows) for name, rows in hidden.items()}
    return Result(curve, measures, series, tuple(setting.tasks), int(setting.edges[-1]))


def record(run: Path) -> tuple[list[int], dict[str, list[float]]]:
    """Weight norms of the hidden layers: the updates of the rows of metrics.csv, and per layer the mean over members."""
    metrics = load([run]).metrics
    rows = metrics.loc[metrics.name.str.startswith("weight_norm/hidden")]
    if not len(rows):
        raise UsageError(f"{run} has no weight norms in metrics.csv")
    table = rows.groupby(["updates", "name"]).value.mean().unstack()
    return [int(updates) for updates in table.index], {name.partition("/")[2]: table[name].tolist() for name in table.columns}


def _by_visit(rows: pd.DataFrame, shape: tuple[int, ...]) -> np.ndarray:
    found = np.full(shape, np.nan)
    means = rows.groupby(["member", "visit"], as_index=False).value.mean()
    found[means.member, means.visit] = means.value
    return found


def _over_updates(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    table = rows.groupby(["member", "updates"]).value.mean().unstack()
    return np.array(table.columns), table.to_numpy()
