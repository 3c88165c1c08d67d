"""Results of one arm of a claim: learning curves of its members and, per visit, metrics of their networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.data.load import load
from analysis.scores.setting import score
from analysis.scores.verdict import FIRST_AND_LAST
from plasticity_rl.checks import UsageError

MEASURES = ("dead_fraction", "weight_norm", "effective_learning_rate", "rate_over_norm")
"""metrics of hidden layers that verdicts and figures use besides scores"""
CENSUS = "dead_on_all"
"""share of dead units on all images at the end of the run, which its checkpoint gives"""


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
        """(members, visits): mean of the curve over the visit, without windows in which no episode had ended yet."""
        there = np.isfinite(self.curve)
        return np.where(there, self.curve, 0.0).sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)


def read(run: Path) -> Result:
    """The result of one finished run. Raises UsageError if a score is missing."""
    loaded = load([run])
    setting = score(loaded, loaded.runs[0].spec.setting)
    curve = setting.chains[0].curve
    if not np.isfinite(setting.chains[0].area).all():
        raise UsageError(f"{run} lacks scores: {'; '.join(setting.missing) or 'non-finite scores'}")
    metrics = _with_rates(loaded.metrics)
    hidden = {name: metrics.loc[metrics.name.str.startswith(f"{name}/hidden")] for name in MEASURES}
    measures = {name: _by_visit(rows, curve.shape[:2]) for name, rows in hidden.items()}
    series = {name: _over_updates(rows) for name, rows in hidden.items()}
    return Result(curve, measures, series, tuple(setting.tasks), int(setting.edges[-1]))


def joined(results: Sequence[Result]) -> Result:
    """The members of several runs of one arm, which differ in their seed, as one result."""
    first = results[0]
    measures = {name: np.concatenate([each.measures[name] for each in results]) for name in first.measures}
    series = {name: (at, np.concatenate([each.series[name][1] for each in results])) for name, (at, _) in first.series.items()}
    return Result(np.concatenate([each.curve for each in results]), measures, series, first.tasks, first.updates)


def first(scores: np.ndarray) -> np.ndarray:
    """The first visits' columns: (members, visits) -> (members, up to three)."""
    return scores[:, : min(FIRST_AND_LAST, max(1, scores.shape[1] // 2))]


def last(scores: np.ndarray) -> np.ndarray:
    """The last visits' columns: (members, visits) -> (members, up to three)."""
    return scores[:, -min(FIRST_AND_LAST, max(1, scores.shape[1] // 2)) :]


def _with_rates(metrics: pd.DataFrame) -> pd.DataFrame:
    """The metrics with `rate_over_norm/LAYER`: learning rate over weight norm, by layer.

    It is the effective learning rate of an optimizer whose step has a fixed length, as Adam's and sign descent's nearly has.
    """
    norms = metrics.loc[metrics.name.str.startswith("weight_norm/hidden")]
    keys = ["seed", "member", "updates"]
    rates = metrics.loc[metrics.name == "learning_rate"].set_index(keys).value
    if not len(norms) or not len(rates):
        return metrics
    at = pd.MultiIndex.from_frame(norms[keys])
    ratios = norms.assign(name=norms.name.str.replace("weight_norm", "rate_over_norm"), value=rates.loc[at].to_numpy() / norms.value)
    return pd.concat([metrics, ratios], ignore_index=True)


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
